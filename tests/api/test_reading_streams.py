"""Balances in streams: lines of JSON, CSV, packed or not; broken ones keep what came before."""

import gzip
import json
from io import BytesIO
from typing import Any

import pytest
from django.test import Client

from lines.models import BalanceReading, Line
from portal.api import doors, throttles
from portal.api.models import Scope
from portal.api.views import readings as views
from tests import world
from tests.api.callers import token_of
from tests.api.conftest import Belongings
from tests.api.test_readings import item

CARD = "4242 4242 4242 4242"


class Sender:
    """A carrier's system that sends what it likes."""

    def __init__(self, token: str) -> None:
        self._token = token

    def send(self, body: bytes, kind: str = "application/x-ndjson", query: str = "", **more: str):
        headers = {"Authorization": f"Bearer {self._token}"} | {
            name.replace("_", "-"): value for name, value in more.items()
        }
        address = f"/api/v1/readings{query}"
        return Client().generic("POST", address, body, content_type=kind, headers=headers)

    def unmeasured(self, body: bytes, **environ: Any):
        headers = {"Authorization": f"Bearer {self._token}"}
        kind = "application/x-ndjson"
        environ |= {"wsgi.input": BytesIO(body), "CONTENT_TYPE": kind}
        return Client().generic("POST", "/api/v1/readings", headers=headers, **environ)


@pytest.fixture
def sender(as_carrier: Any) -> Sender:
    """Beside `as_carrier`, whose person has the permission."""
    from portal.accounts.models import User

    owner = User.objects.get(api_clients__carrier__isnull=False)
    return Sender(token_of(owner, scopes=(Scope.PUSH_READINGS,), carrier=world.carrier()))


def row(line: Line, minute: int, balance_minor: int = 1500, **more: Any) -> dict[str, Any]:
    observed_at = f"2026-11-22T12:{minute:02}:00+08:00"
    return item(line, balance_minor=balance_minor, observed_at=observed_at, **more)


def in_lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in rows)


def balance_of(line: Line) -> int | None:
    return Line.objects.get(pk=line.pk).balance_minor


class TestLinesOfJSON:
    def test_are_taken_in_each_on_its_own(self, sender: Sender, alice: Belongings) -> None:
        good, late = row(alice.line, 2), row(alice.line, 1)
        body = in_lines(good) + b"{not json\n\n" + in_lines({"x": 1}, late)
        answer = sender.send(body)
        assert answer.status_code == 207
        found = answer.json()
        assert [one["result"] for one in found.pop("results")] == [
            "applied",
            "refused",
            "refused",
            "kept",
        ]
        assert found == {"applied": 1, "kept": 1, "refused": 2, "next_row": 4, "is_complete": True}
        assert balance_of(alice.line) == 1500

    def test_may_be_packed_in_one_piece_or_several(self, sender: Sender, alice: Belongings) -> None:
        first, second = in_lines(row(alice.line, 1)), in_lines(row(alice.line, 2, 1400))
        packed = gzip.compress(first) + gzip.compress(second)
        assert sender.send(packed, Content_Encoding="gzip").json()["applied"] == 2
        assert balance_of(alice.line) == 1400

    def test_of_none_are_nothing(self, sender: Sender, alice: Belongings) -> None:
        answer = sender.send(b"\n \n")
        assert (answer.status_code, answer.json()["next_row"]) == (207, 0)
        assert not BalanceReading.objects.exists()

    def test_past_ten_thousand_list_only_what_is_refused(
        self, sender: Sender, alice: Belongings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(views, "MAX_READINGS", 2)
        rows = [row(alice.line, minute) for minute in range(4)]
        found = sender.send(in_lines(*rows[:3], {"x": 1}, rows[3])).json()
        assert [one["index"] for one in found["results"]] == [0, 1, 3]
        assert (found["applied"], found["refused"], found["next_row"]) == (4, 1, 5)

    def test_take_no_key(self, sender: Sender, alice: Belongings) -> None:
        answer = sender.send(in_lines(row(alice.line, 1)), Idempotency_Key="k")
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_on_stream")
        assert not BalanceReading.objects.exists()


class TestCSV:
    HEAD = "line,balance_minor,currency,observed_at,sequence,valid_until\r\n"

    def test_is_read_as_json_would_be(self, sender: Sender, alice: Belongings) -> None:
        line, at = alice.line.public_id, "2026-11-22T12:30:00+08:00"
        rows = [
            f"{line},1500,CNY,{at},7,null\r\n",
            f"{line},15.5,CNY,{at},,\r\n",
            f'"{line}","-250","CNY",{at.replace("30", "31")},8,2026-12-31\r\n',
            "too,few\r\n",
        ]
        body = ("\ufeff" + self.HEAD + "".join(rows)).encode()
        found = sender.send(body, "text/csv; charset=utf-8").json()
        assert [one["result"] for one in found["results"]] == [
            "applied",
            "refused",
            "applied",
            "refused",
        ]
        assert list(found["results"][1]["errors"]) == ["balance_minor"]
        kept = BalanceReading.objects.order_by("pk")
        assert list(kept.values_list("balance_minor", "sequence")) == [(1500, 7), (-250, 8)]

    def test_with_columns_that_are_none_is_refused_whole(
        self, sender: Sender, alice: Belongings
    ) -> None:
        for head in ("", "line,balance\n", "line,line\n", '"line\n'):
            body = f"{head}{alice.line.public_id},1500\n".encode()
            assert sender.send(body, "text/csv").json()["code"] == "malformed", head
        assert not BalanceReading.objects.exists()


class TestAStreamThatBreaks:
    """What came before stands; the answer says from which row to go on."""

    def test_is_gone_on_with(self, sender: Sender, alice: Belongings) -> None:
        rows = in_lines(*(row(alice.line, minute, 2000 - minute) for minute in range(30)))
        packed = gzip.compress(rows)
        answer = sender.send(packed[:-9], Content_Encoding="gzip")
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (400, "stream_broken")
        assert answer["Content-Type"] == "application/problem+json"
        assert problem["applied"] == problem["next_row"] == BalanceReading.objects.count()
        again = sender.send(
            packed, query=f"?from_row={problem['next_row']}", Content_Encoding="gzip"
        ).json()
        assert again["next_row"] == 30
        assert BalanceReading.objects.count() == 30
        assert balance_of(alice.line) == 1971

    def test_by_its_size_or_by_what_it_is_not(self, sender: Sender, alice: Belongings) -> None:
        one = in_lines(row(alice.line, 1))
        cases = {
            "a row without an end": (one + b"x" * 5000, "", (413, "too_large", 1)),
            "not packed": (b"no gzip" * 9, "gzip", (400, "stream_broken", 0)),
            "packed, then not": (gzip.compress(one) + b"??", "gzip", (400, "stream_broken", 1)),
            "a bomb": (gzip.compress(one + b" " * 9_000), "gzip", (413, "too_large", 1)),
        }
        found = {}
        for name, (body, encoding, _wanted) in cases.items():
            answer = sender.send(body, Content_Encoding=encoding or "identity")
            problem = answer.json()
            found[name] = (answer.status_code, problem["code"], problem.get("next_row"))
        assert found == {name: wanted for name, (_, _, wanted) in cases.items()}
        assert BalanceReading.objects.count() == 1

    def test_of_a_kind_or_packing_nobody_reads_is_a_415(
        self, sender: Sender, alice: Belongings
    ) -> None:
        body = in_lines(row(alice.line, 1))
        assert sender.send(body, "text/plain").status_code == 415
        assert sender.send(body, Content_Encoding="br").status_code == 415
        assert not BalanceReading.objects.exists()

    def test_by_its_length_says_where_to_go_on(
        self, sender: Sender, alice: Belongings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(views, "CHUNK", 1)
        monkeypatch.setattr(views, "STREAM_S", -1.0)
        found = sender.send(in_lines(row(alice.line, 1))).json()
        assert (found["is_complete"], found["next_row"], found["applied"]) == (False, 0, 0)
        assert not BalanceReading.objects.exists()

    def test_a_row_to_go_on_from_that_is_none_is_refused(
        self, sender: Sender, alice: Belongings
    ) -> None:
        for wrong in ("-1", "one", "1.5", "９", "9" * 20):
            answer = sender.send(in_lines(row(alice.line, 1)), query=f"?from_row={wrong}")
            assert list(answer.json()["errors"]) == ["from_row"], wrong
        assert not BalanceReading.objects.exists()


class TestACardNumber:
    def test_in_a_row_refuses_that_row(self, sender: Sender, alice: Belongings) -> None:
        good, bad = row(alice.line, 1), row(alice.line, 2, valid_until=CARD)
        found = sender.send(in_lines(good, bad, {CARD: 1})).json()
        assert [one.get("code", "") for one in found["results"]] == [
            "",
            "card_number",
            "card_number",
        ]
        assert BalanceReading.objects.count() == 1

    def test_in_a_list_refuses_it_whole(self, sender: Sender, alice: Belongings) -> None:
        rows = [row(alice.line, 1), row(alice.line, 2, valid_until=CARD)]
        answer = sender.send(json.dumps(rows).encode(), "application/json")
        assert (answer.status_code, answer.json()["code"]) == (400, "card_number")
        assert not BalanceReading.objects.exists()


class TestHowMuchIsTakenAtOnce:
    def test_rows_have_an_allowance_of_their_own(
        self, sender: Sender, alice: Belongings, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rates = settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"] | {"rows": 2}
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": rates}
        monkeypatch.setattr(views, "CHUNK", 2)
        rows = [row(alice.line, minute) for minute in range(5)]
        answer = sender.send(in_lines(*rows))
        assert (answer.status_code, answer.json()["next_row"]) == (429, 2)
        assert 1 <= int(answer["Retry-After"]) <= throttles.WINDOW_S
        assert BalanceReading.objects.count() == 2

    def test_who_comes_when_all_places_are_taken_is_asked_to_come_again(
        self, sender: Sender, alice: Belongings
    ) -> None:
        for _ in range(doors.PLACES):
            doors.enter()
        try:
            answer = sender.send(in_lines(row(alice.line, 1)))
        finally:
            for _ in range(doors.PLACES):
                doors.leave()
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert answer["Retry-After"] == "1"
        assert not BalanceReading.objects.exists()

    def test_a_place_is_given_back_whatever_became_of_the_request(
        self, sender: Sender, alice: Belongings
    ) -> None:
        answered = {
            encoding: [
                sender.send(body, Content_Encoding=encoding).status_code
                for body in (b"x", in_lines(row(alice.line, 1)), b"\x00" * 9000, b"x")
            ]
            for encoding in ("gzip", "identity", "br")
        }
        assert 503 not in {status for statuses in answered.values() for status in statuses}
        assert answered["br"] == [415, 415, 415, 415]
        assert sender.send(in_lines(row(alice.line, 2))).status_code == 207

    def test_a_body_of_no_stated_length_is_read_where_its_server_knows_the_end(
        self, sender: Sender, alice: Belongings
    ) -> None:
        sent = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        body = in_lines(row(alice.line, 1, balance_minor=1234), row(alice.line, 2))
        answer = sender.unmeasured(body, **sent)
        assert (answer.status_code, answer.json()["applied"]) == (207, 2)
        assert (answer.json()["next_row"], answer.json()["is_complete"]) == (2, True)
        del sent["wsgi.input_terminated"]  # where it might wait for ever, nothing is read
        answer = sender.unmeasured(in_lines(row(alice.line, 3)), **sent)
        assert (answer.json()["next_row"], BalanceReading.objects.count()) == (0, 2)
