"""The simulated operator itself: its books survive, its usage is exact, its lever is guarded."""

import ast
import json
from fractions import Fraction
from pathlib import Path

import pytest
import requests
from ulid import ULID

from lines.carriers.base import Credited, NotFound, Unknown
from lines.carriers.tmf654.simulator.books import Books
from lines.carriers.tmf654.simulator.faults import FaultPlan
from lines.carriers.tmf654.simulator.journal import Journal
from lines.carriers.tmf654.simulator.server import application
from tests.carriers.adapters import adapter_for, credit_of, wait_until
from tests.carriers.simulators import TOKEN, start_tmf654
from tests.forks import ROOT

SIMULATOR = ROOT / "lines" / "carriers" / "tmf654" / "simulator"


class TestTheBooks:
    def test_are_the_same_after_the_process_was_killed(self, tmp_path):
        with start_tmf654(tmp_path) as carrier:
            adapter = adapter_for(carrier)
            kept, left = carrier.add_line(balance_minor=700), carrier.add_line()
            requests_ = [credit_of(kept), credit_of(kept, 100)]
            orders = [adapter.credit(request=request).outcome for request in requests_]
            carrier.reverse(orders[1].carrier_ref)
            carrier.change_line(left, status="ported_out")
            adapter.send_code(address=kept, text="482913")
            carrier.advance(3600)
            before = carrier.journal()

            carrier.restart()

            assert carrier.journal() == before
            assert carrier.line(kept)["balance_minor"] == 5700
            assert adapter.balance(address=left).outcome == NotFound()
            assert (
                adapter.query(
                    address=requests_[0].address, reference=requests_[0].reference
                ).outcome
                == orders[0]
            )
            assert carrier.texts(kept.msisdn) == ["482913"]

    def test_bring_an_accepted_top_up_to_its_end_after_a_restart(self, tmp_path):
        with start_tmf654(tmp_path) as carrier:
            carrier.end_topups(after_s=1)
            request = credit_of(carrier.add_line())
            adapter_for(carrier).credit(request=request)

            carrier.restart()

            wait_until(lambda: carrier.moved(request.reference) == [("credit", 5000)])

    def test_forget_a_line_that_was_torn_in_writing(self, tmp_path):
        with start_tmf654(tmp_path) as carrier:
            request = credit_of(carrier.add_line())
            adapter_for(carrier).credit(request=request)
            with (tmp_path / "tmf654.jsonl").open("ab") as journal:
                journal.write(b'{"at": "2026-11-22T08:00:00+00:00", "records": [{"ty')

            carrier.restart()

            assert carrier.moved(request.reference) == [("credit", 5000)]

    def test_keep_what_clients_may_send_whatever_it_is(self, tmp_path):
        with start_tmf654(tmp_path) as carrier:
            line = carrier.line(carrier.add_line())
            body = (
                '{"amount": {"amount": 5, "units": "CNY"}, "usageType": "monetary",'
                f'"bucket": {{"id": "{line["id"]}"}},'
                f'"partyAccount": {{"id": "{line["account_id"]}", "name": "\\ud800"}},'
                '"description": "\\ud800\\u0000", "extra": 0.1}'
            )
            url = f"{carrier.url}/tmf-api/prepayBalanceManagement/v4/topupBalance"
            headers = {"Authorization": f"Bearer {TOKEN}"}
            made = requests.post(url, data=body, headers=headers, timeout=5)
            assert made.status_code == 201

            carrier.restart()

            assert [entry["amount_minor"] for entry in carrier.journal()] == [500]


class TestIdempotency:
    def test_by_reference_is_an_option(self, tmp_path):
        with start_tmf654(tmp_path, "--dedupe-by-reference") as carrier:
            adapter, alice = adapter_for(carrier), carrier.add_line()
            request = credit_of(alice)

            first = adapter.credit(request=request).outcome
            again = adapter.credit(request=request).outcome
            other = credit_of(alice, 100)
            clash = adapter.credit(request=type(request)(request.reference, alice, 100, "CNY"))

            assert isinstance(first, Credited)
            assert again == first
            assert clash.outcome == Unknown("conflict: referenceUsed")
            assert carrier.moved(request.reference) == [("credit", 5000)]
            assert isinstance(adapter.credit(request=other).outcome, Credited)


class TestUsage:
    def test_takes_a_balance_down_to_nothing_and_no_further(self, tmp_path):
        with start_tmf654(tmp_path, "--usage-speed", "86400") as carrier:
            address = carrier.add_line(balance_minor=50, usage_minor_per_day=100)

            wait_until(lambda: carrier.line(address)["balance_minor"] == 0)

            credited = adapter_for(carrier).credit(request=credit_of(address)).outcome
            assert isinstance(credited, Credited)
            assert 0 < carrier.line(address)["balance_minor"] <= 5000

    def test_is_the_same_however_often_it_is_looked_at(self, tmp_path):
        with start_tmf654(tmp_path, "--usage-speed", "1") as carrier:
            watched = carrier.add_line(balance_minor=100_000, usage_minor_per_day=8640)
            unwatched = carrier.add_line(balance_minor=100_000, usage_minor_per_day=8640)
            for _ in range(50):
                carrier.advance(3.7)  # 0.37 of a minor unit
                carrier.change_line(watched, extends_days=1)  # writes its balance down

            used = 100_000 - carrier.line(watched)["balance_minor"]

            # 185 s at one in ten seconds, and what the test itself takes.
            assert 18 <= used <= 21
            assert abs(used - (100_000 - carrier.line(unwatched)["balance_minor"])) <= 1

    def test_stands_still_unless_time_runs(self, carrier):
        address = carrier.add_line(balance_minor=100, usage_minor_per_day=10**9)

        assert carrier.line(address)["balance_minor"] == 100


class TestValidity:
    def test_ends_and_a_top_up_carries_it_on(self, tmp_path):
        with start_tmf654(tmp_path) as carrier:
            adapter = adapter_for(carrier)
            address = carrier.add_line(valid_until="2026-12-01T00:00:00+00:00", extends_days=30)
            carrier.advance(30 * 86_400)
            assert adapter.balance(address=address).outcome.status == "expired"

            adapter.credit(request=credit_of(address))

            balance = adapter.balance(address=address).outcome
            assert balance.status == "active"
            left = balance.valid_until - balance.observed_at
            assert 29 <= left.days <= 30


class TestFaults:
    def test_by_chance_are_the_same_for_the_same_seed(self, tmp_path):
        runs = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            with start_tmf654(folder) as carrier:
                adapter, alice = adapter_for(carrier), carrier.add_line()
                carrier.fault("error_before", "GET /bucket", probability=0.5)
                answers = [adapter.balance(address=alice).outcome for _ in range(40)]
                runs.append([isinstance(answer, Unknown) for answer in answers])

        assert runs[0] == runs[1]
        assert 8 < sum(runs[0]) < 32

    def test_strike_only_what_they_name(self, carrier, adapter, alice):
        struck, spared = credit_of(alice), credit_of(alice)
        carrier.fault("reject", "POST /topupBalance", about=struck.reference, times=2)

        assert isinstance(adapter.credit(request=spared).outcome, Credited)
        assert adapter.credit(request=struck).outcome.code == "notAllowed"
        assert carrier.moved(struck.reference) == []

    def test_of_no_known_kind_are_refused(self, carrier):
        answer = requests.post(
            f"{carrier.url}/_control/faults", json={"kind": "gremlin"}, timeout=5
        )

        assert answer.status_code == 400
        assert "lose_after" in answer.json()["reason"]


class TestTheLever:
    @pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.5", "::ffff:192.0.2.1", ""])
    def test_is_not_reached_from_another_machine(self, tmp_path, address):
        books = Books(Journal(tmp_path / "books.jsonl"), usage_speed=Fraction(0))
        plan = FaultPlan(seed=1)
        app = application(books=books, plan=plan, token="t", hub_secret="s")

        answer = app.test_client().post(
            "/_control/faults",
            json={"kind": "lose_before"},
            environ_base={"REMOTE_ADDR": address},
        )

        assert answer.status_code == 403
        assert plan.all() == []

    def test_takes_json_only_so_no_web_page_can_pull_it(self, carrier):
        answer = requests.post(
            f"{carrier.url}/_control/faults", data='{"kind": "lose_before"}', timeout=5
        )

        assert answer.status_code == 415
        assert carrier.control("GET", "/faults") == []

    def test_tells_its_health_and_seed(self, carrier):
        health = carrier.control("GET", "/health")

        assert (health["status"], health["seed"]) == ("ok", 654)


class TestThePages:
    @pytest.mark.parametrize(
        ("lang", "words"), [("zh", "号码与余额"), ("en", "Lines and balances")]
    )
    def test_show_every_line_and_its_balance(self, carrier, alice, lang, words):
        page = requests.get(carrier.url, params={"lang": lang}, timeout=5).text

        assert words in page
        assert alice.msisdn in page
        assert "12.34 CNY" in page

    def test_follow_the_browser_s_language(self, carrier):
        headers = {"Accept-Language": "en-GB,en;q=0.9"}

        assert (
            "Texts sent to a number"
            in requests.get(f"{carrier.url}/sms", headers=headers, timeout=5).text
        )

    def test_escape_what_others_sent(self, carrier, adapter, alice):
        adapter.send_code(address=alice, text="<script>alert(1)</script>")
        number = '"><script>alert(2)</script>'

        pages = [
            requests.get(f"{carrier.url}/sms", params={"number": each}, timeout=5).text
            for each in (alice.msisdn, number)
        ]

        assert "<script>" not in "".join(pages)


class TestIndependence:
    def test_shares_no_code_with_the_adapter_nor_with_django(self):
        imported = set()
        for path in SIMULATOR.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    imported.add(node.module or "")
                elif isinstance(node, ast.Import):
                    imported |= {alias.name for alias in node.names}

        ours = {name for name in imported if name.split(".")[0] in ("lines", "billing", "portal")}
        assert {name for name in ours if not name.startswith(simulator_package())} == set()
        assert not [name for name in imported if name.startswith("django")]

    def test_logs_no_number(self, tmp_path):
        with start_tmf654(tmp_path) as carrier:
            address = carrier.add_line()
            adapter = adapter_for(carrier)
            adapter.balance(address=address)
            adapter.query(address=address, reference=str(ULID()))
            requests.get(f"{carrier.url}/sms", params={"number": address.msisdn}, timeout=5)

        log = (tmp_path / "tmf654.log").read_text()
        assert log.startswith("TMF654 carrier simulator at http://127.0.0.1:")
        assert address.msisdn[-8:] not in log

    def test_writes_a_journal_a_person_can_read(self, tmp_path):
        with start_tmf654(tmp_path) as carrier:
            adapter_for(carrier).credit(request=credit_of(carrier.add_line()))

        lines = (tmp_path / "tmf654.jsonl").read_text().splitlines()
        kinds = [[record["type"] for record in json.loads(line)["records"]] for line in lines]
        assert kinds == [["line"], ["order", "line", "movement"]]


def simulator_package() -> str:
    return ".".join(Path(SIMULATOR).relative_to(ROOT).parts)
