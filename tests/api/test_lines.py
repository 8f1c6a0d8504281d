"""Lines over the API: put in, proven, seen, renamed, removed; their numbers and their secrets."""

from typing import Any

import pytest

from billing.models import Notice
from lines import lifecycle
from lines.carriers.tmf654.adapter import Tmf654Carrier
from lines.models import EsimProfile, Line, LineProof
from tests import world
from tests.api.callers import Caller
from tests.api.conftest import Belongings
from tests.api.test_matrix import new_line
from tests.factories.billing import DecisionFactory
from tests.factories.lines import BalanceReadingFactory

CODE = "LPA:1$smdp.example.com$SECRET-ALICE"


class TestPuttingIn:
    def test_a_card_makes_a_claim_that_is_not_yet_a_line(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        answer = as_alice.post("lines", new_line(alice))
        made = Line.objects.get(public_id=answer.json()["id"])
        assert (made.owner, made.status) == (alice.owner, "unverified")
        assert made.timezone == made.carrier.timezone
        shown = answer.json()
        assert (shown["msisdn"], shown["masked"]) == ("+8613800138000", "138 **** 8000")
        assert (shown["carrier"], shown["currency"]) == ("cmcc", "CNY")

    def test_an_esim_keeps_its_code_and_says_nothing_of_it(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        answer = as_alice.post(
            "lines",
            {
                "kind": "esim",
                "carrier": "cmcc",
                "msisdn": "+8613800138000",
                "activation_code": "1$smdp.example.com$ABC-123",
            },
        )
        assert answer.status_code == 201
        assert "ABC-123" not in answer.content.decode()
        made = Line.objects.get(public_id=answer.json()["id"])
        assert made.esim.matching_id == "ABC-123"

    @pytest.mark.parametrize(
        ("more", "field"),
        [
            ({"msisdn": "12345"}, "msisdn"),
            ({"iccid": "8944538532008160223"}, "iccid"),
            ({"iccid": ""}, "iccid"),
            ({"carrier": "nobody"}, "carrier"),
            ({"timezone": "Mars/Olympus"}, "timezone"),
            ({"timezone": "../../etc/passwd"}, "timezone"),
            ({"timezone": "localtime"}, "timezone"),
            ({"timezone": "Factory"}, "timezone"),
            ({"timezone": "posix/Asia/Shanghai"}, "timezone"),
            ({"label": "x" * 41}, "label"),
            ({"kind": "fax"}, "kind"),
            ({"activation_code": "1$a.example$B"}, "activation_code"),
        ],
    )
    def test_what_will_not_do_is_refused_at_its_field(
        self, more: Any, field: str, as_alice: Caller, alice: Belongings
    ) -> None:
        before = Line.objects.count()
        answer = as_alice.post("lines", new_line(alice) | more)
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == [field]
        assert Line.objects.count() == before

    def test_a_number_of_ones_own_is_refused(self, as_alice: Caller, alice: Belongings) -> None:
        answer = as_alice.post("lines", new_line(alice) | {"msisdn": alice.line.msisdn})
        assert (answer.status_code, answer.json()["code"]) == (409, "number_taken")
        assert list(answer.json()["errors"]) == ["msisdn"]

    def test_a_card_that_is_live_elsewhere_is_refused(
        self, as_alice: Caller, alice: Belongings, bob: Belongings
    ) -> None:
        Line.objects.filter(pk=bob.line.pk).update(iccid=new_line(alice)["iccid"])
        answer = as_alice.post("lines", new_line(alice))
        assert (answer.status_code, answer.json()["code"]) == (409, "number_taken")
        assert list(answer.json()["errors"]) == ["iccid"]

    def test_a_number_that_is_live_elsewhere_is_a_claim_like_any(
        self, as_alice: Caller, alice: Belongings, bob: Belongings
    ) -> None:
        """Whether it is known here is nobody's business who does not hold it."""
        answer = as_alice.post("lines", new_line(alice) | {"msisdn": bob.line.msisdn})
        assert (answer.status_code, answer.json()["status"]) == (201, "unverified")
        bob.line.refresh_from_db()
        assert bob.line.status == "active"


class TestProving:
    def test_by_the_right_code_makes_it_live(
        self, as_alice: Caller, alice: Belongings, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("secrets.randbelow", lambda _most: 123456)
        path = f"lines/{alice.unproven.public_id}"
        sent = as_alice.post(f"{path}/proof")
        assert sent.json() == {"is_sent": True, "status": "unverified"}
        answer = as_alice.post(f"{path}/prove", {"code": "123456"})
        assert answer.status_code == 200
        assert answer.json()["status"] == "active"

    def test_ends_somebody_elses_line_of_that_number_and_tells_them(
        self, as_alice: Caller, alice: Belongings, bob: Belongings, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("secrets.randbelow", lambda _most: 123456)
        made = as_alice.post("lines", new_line(alice) | {"msisdn": bob.line.msisdn}).json()
        as_alice.post(f"lines/{made['id']}/proof")
        answer = as_alice.post(f"lines/{made['id']}/prove", {"code": "123456"})
        assert (answer.status_code, answer.json()["status"]) == (200, "active")
        assert answer.json()["balance_minor"] is None
        bob.line.refresh_from_db()
        assert bob.line.status == "terminated"
        told = Notice.objects.get(kind="number_moved")
        assert (told.owner, told.line) == (bob.owner, bob.line)

    def test_by_codes_without_end_is_refused(self, as_alice: Caller, alice: Belongings) -> None:
        path = f"lines/{alice.unproven.public_id}/proof"
        statuses = [as_alice.post(path).status_code for _ in range(4)]
        assert statuses == [201, 201, 201, 429]
        assert LineProof.objects.count() == 3

    def test_by_a_code_that_the_carrier_did_not_take_may_be_tried_again_with_the_same_key(
        self, as_alice: Caller, alice: Belongings, monkeypatch: Any
    ) -> None:
        path = f"lines/{alice.unproven.public_id}/proof"
        with monkeypatch.context() as down:
            down.setattr(Tmf654Carrier, "send_code", lambda _carrier, **_what: False)
            failed = as_alice.post(path, key="code")
        assert (failed.status_code, failed.json()["code"]) == (503, "code_not_sent")
        assert failed["Retry-After"] == "60"
        assert as_alice.post(path, key="code").json()["is_sent"] is True

    def test_where_no_code_was_sent_or_left_says_so(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        path = f"lines/{alice.unproven.public_id}"
        none = as_alice.post(f"{path}/prove", {"code": "123456"})
        assert (none.status_code, none.json()["code"]) == (400, "code_expired")
        again = as_alice.post(f"lines/{alice.line.public_id}/proof")
        assert (again.status_code, again.json()["code"]) == (409, "not_provable")


class TestActivationCode:
    def test_is_shown_at_its_own_address_alone(self, as_alice: Caller, alice: Belongings) -> None:
        path = f"lines/{alice.esim.public_id}"
        shown = as_alice.get(f"{path}/activation-code")
        assert shown.json()["qr_text"] == CODE
        assert shown["Cache-Control"] == "no-store"
        for other in (path, "lines", "recharges", f"{path}/decisions"):
            assert "SECRET-ALICE" not in as_alice.get(other).content.decode()

    def test_of_a_card_is_nowhere(self, as_alice: Caller, alice: Belongings) -> None:
        assert as_alice.get(f"lines/{alice.line.public_id}/activation-code").status_code == 404
        EsimProfile.objects.update(state="deleted")
        assert as_alice.get(f"lines/{alice.esim.public_id}/activation-code").status_code == 404


class TestNumbers:
    def test_are_masked_wherever_a_line_is_inside_something_else(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        for path in ("recharges", f"recharges/{alice.recharge.ref}", "notices", "rules"):
            shown = as_alice.get(path).content.decode()
            for line in (alice.line, alice.esim):
                assert line.msisdn not in shown, path
                assert line.msisdn.removeprefix("+86") not in shown, path
        assert alice.line.msisdn in as_alice.get("lines").content.decode()


class TestRemoving:
    def test_stops_its_rule_first_and_leaves_the_list(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        path = f"lines/{alice.line.public_id}"
        assert as_alice.call("DELETE", path).status_code == 204
        alice.line.refresh_from_db()
        alice.rule.refresh_from_db()
        assert (alice.line.status, alice.rule.is_on) == ("removed", False)
        for gone in (path, f"{path}/rule", f"{path}/decisions"):
            assert as_alice.get(gone).status_code == 404
        assert alice.line.public_id not in as_alice.get("lines").content.decode()

    def test_is_undone_where_it_fails_half_way(
        self, as_alice: Caller, alice: Belongings, monkeypatch: Any
    ) -> None:
        def fails(**_more: Any) -> Any:
            raise RuntimeError("half way")

        monkeypatch.setattr(lifecycle, "remove", fails)
        assert as_alice.call("DELETE", f"lines/{alice.line.public_id}").status_code == 500
        alice.rule.refresh_from_db()
        assert alice.rule.is_on


class TestLists:
    def test_go_on_from_page_to_page_newest_first(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        for number in range(5):
            BalanceReadingFactory.create(line=alice.line, balance_minor=number, is_applied=False)
        path, seen = f"lines/{alice.line.public_id}/readings?limit=2", []
        while path:
            page = as_alice.get(path).json()
            seen += [row["balance_minor"] for row in page["results"]]
            path = (page["next"] or "").partition("/api/v1/")[2]
        assert seen == [4, 3, 2, 1, 0]

    def test_are_filtered(self, as_alice: Caller, alice: Belongings) -> None:
        def ids(query: str) -> list[str]:
            return [row["id"] for row in as_alice.get(f"lines?{query}").json()["results"]]

        assert ids("kind=esim") == [alice.esim.public_id]
        assert ids("status=unverified") == [alice.unproven.public_id]
        assert ids("status=active&kind=fm") == [alice.line.public_id]

    def test_ask_the_database_no_more_for_more_rows(
        self, as_alice: Caller, alice: Belongings, django_assert_max_num_queries: Any
    ) -> None:
        for _ in range(5):
            world.rule(world.line(alice.owner))
        for path in ("lines", "rules", "recharges", "notices", "bindings"):
            with django_assert_max_num_queries(5):
                as_alice.get(path)


class TestDecisions:
    def test_say_why_in_words_with_their_figures(self, as_alice: Caller, alice: Belongings) -> None:
        DecisionFactory.create(
            rule=alice.rule,
            facts={"balance_minor": 980, "threshold_minor": 1000, "until": "2026-11-22T05:00:00Z"},
        )
        path = f"lines/{alice.line.public_id}/decisions"
        [shown] = as_alice.get(path, Accept_Language="en").json()["results"]
        assert (shown["code"], shown["is_charge"], shown["recharge"]) == (
            "cooling_down",
            False,
            None,
        )
        assert shown["facts"]["balance_minor"] == 980
        assert "9.80" in shown["sentence"]
        assert as_alice.get(f"{path}?is_charge=true").json()["results"] == []
        assert len(as_alice.get(f"{path}?code=cooling_down").json()["results"]) == 1
