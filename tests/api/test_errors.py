"""Every refusal in one shape, in the caller's language; and of our own faults not a word."""

import json
import logging
from typing import Any

import pytest

from billing import queries
from lines.models import Line
from portal.accounts.models import User
from portal.api import problems
from portal.api.errors import REFUSALS
from portal.api.parsers import MAX_BODY_BYTES
from tests.api.callers import Caller, with_token
from tests.api.conftest import Belongings
from tests.api.test_matrix import by_hand, terms

FIELDS = {"type", "title", "status", "code", "detail", "errors", "request_id"}


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    assert answer["Content-Type"] == "application/problem+json"
    assert set(body) == FIELDS
    assert body["status"] == status
    assert body["type"] == f"urn:keepline:problem:{code}"
    assert body["request_id"] == answer["X-Request-Id"]
    assert body["detail"]
    return body


class TestShape:
    def test_of_a_field_that_will_not_do_names_it(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        answer = as_alice.post("recharges", by_hand(alice) | {"face_minor": "5000"})
        body = problem(answer, 400, "invalid")
        assert list(body["errors"]) == ["face_minor"]

    def test_of_a_name_that_is_none_names_it(self, as_alice: Caller, alice: Belongings) -> None:
        answer = as_alice.post("recharges", by_hand(alice) | {"face_minr": 1})
        assert list(problem(answer, 400, "invalid")["errors"]) == ["face_minr"]

    def test_names_all_that_is_wrong_at_once(self, as_alice: Caller, alice: Belongings) -> None:
        answer = as_alice.post("lines", {"kind": "fax", "msisdn": 5, "colour": "red"})
        errors = problem(answer, 400, "invalid")["errors"]
        assert set(errors) == {"kind", "carrier", "msisdn", "colour"}

    def test_of_a_choice_names_the_choices(
        self, as_alice: Caller, alice: Belongings, in_english: None
    ) -> None:
        answer = as_alice.call(
            "POST",
            f"lines/{alice.line.public_id}/rule/preview",
            terms(alice) | {"cycle": "weekly", "max_per_day_count": 11},
            Accept_Language="en",
        )
        assert problem(answer, 400, "invalid")["errors"] == {
            "cycle": ["Write one of: none, monthly, quarterly, yearly."],
            "max_per_day_count": ["Write a number of at most 10."],
        }

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("colour=red", "colour"),
            ("state=nowhere", "state"),
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=²", "limit"),
            ("cursor=!", "cursor"),
            ("cursor=YWJj", "cursor"),
            ("cursor=%00", "cursor"),
            ("is_open=perhaps", "is_open"),
            ("created_from=yesterday", "created_from"),
            ("created_from=2026-11-22", "created_from"),
            ("created_before=2026-11-22T09:00:00", "created_before"),
            ("line=%00", "line"),
        ],
    )
    def test_of_a_query_names_the_filter(
        self, query: str, field: str, as_alice: Caller, alice: Belongings
    ) -> None:
        body = problem(as_alice.get(f"recharges?{query}"), 400, "invalid")
        assert list(body["errors"]) == [field]

    def test_of_an_address_that_is_none_is_json_too(self, as_alice: Caller) -> None:
        for path in ("nowhere", "lines/", "lines/short", "lines/%00", "", "lines/" + "U" * 26):
            problem(as_alice.get(path), 404, "not_found")
        problem(as_alice.call("PUT", "nowhere", {}), 404, "not_found")

    def test_of_a_method_says_which_there_are(self, as_alice: Caller) -> None:
        for method in ("PUT", "OPTIONS", "TRACE"):
            answer = as_alice.call(method, "lines")
            problem(answer, 405, "method_not_allowed")
            assert set(answer["Allow"].replace(" ", "").split(",")) >= {"GET", "POST"}

    def test_of_a_format_that_is_not_json(self, as_alice: Caller, alice: Belongings) -> None:
        problem(as_alice.get("lines", Accept="text/html"), 406, "not_acceptable")
        form = as_alice._client.post(
            "/api/v1/recharges",
            by_hand(alice),
            headers=as_alice._headers | {"Idempotency-Key": "f"},
        )
        problem(form, 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "body", [b"{", b"{'a': 1}", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b"9" * 5000]
    )
    def test_of_a_body_that_is_no_json_quotes_none_of_it(
        self, body: bytes, as_alice: Caller
    ) -> None:
        answer = as_alice._client.generic(
            "POST",
            "/api/v1/recharges",
            body,
            content_type="application/json",
            headers=as_alice._headers | {"Idempotency-Key": "k"},
        )
        said = problem(answer, 400, "malformed")["detail"]
        assert body[:20].decode("latin-1") not in said or body == b"{"

    @pytest.mark.parametrize("body", [[], "text", 5, True, [{}]])
    def test_of_a_body_that_is_no_object(self, body: Any, as_alice: Caller) -> None:
        problem(as_alice.post("recharges", body), 400, "invalid")

    def test_of_a_body_that_is_too_large(self, as_alice: Caller, alice: Belongings) -> None:
        fits = {"label": "x" * (MAX_BODY_BYTES - 20)}
        path = f"lines/{alice.line.public_id}"
        problem(as_alice.call("PATCH", path, fits), 400, "invalid")
        problem(as_alice.call("PATCH", path, {"label": "x" * MAX_BODY_BYTES}), 413, "too_large")


class TestLanguage:
    def test_is_what_the_request_asks_for(self, as_alice: Caller) -> None:
        path = "lines/01M82HCSNS8D7SWNTZFD8SAKRP"
        english = as_alice.get(path, Accept_Language="en").json()
        assert english["title"] == "Not found"
        chinese = as_alice.get(path, Accept_Language="zh-CN")
        assert chinese["Content-Language"] == "zh-hans"

    def test_is_its_owners_where_a_program_asks_for_none(self, alice: Belongings) -> None:
        for language in ("en", "zh-hans"):
            User.objects.filter(pk=alice.owner.pk).update(language=language)
            answer = with_token(alice.owner).get("lines")
            assert answer["Content-Language"] == language


class TestFaultOfOurs:
    def test_says_nothing_but_its_number_and_logs_no_value(
        self,
        as_alice: Caller,
        alice: Belongings,
        monkeypatch: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fails(_actor: Any) -> Any:
            raise ValueError(f"duplicate key ({alice.line.msisdn})")

        monkeypatch.setattr(queries, "lines", fails)
        with caplog.at_level(logging.DEBUG):
            answer = as_alice.get("lines")
        body = problem(answer, 500, "internal")
        assert alice.line.msisdn not in json.dumps(body) + caplog.text
        assert "ValueError" not in json.dumps(body)
        assert body["request_id"] in caplog.text
        assert "queries.lines" in caplog.text  # where it happened


class TestTable:
    def test_has_a_sentence_and_a_title_for_every_refusal(self) -> None:
        for kind, told in REFUSALS.items():
            assert told.status in problems.TITLES, kind
            assert callable(told.sentence) or str(told.sentence)[-1] in ".。", kind

    def test_nothing_is_written_where_something_is_refused(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        before = list(Line.objects.order_by("pk").values())
        as_alice.call("PATCH", f"lines/{alice.line.public_id}", {"label": "x" * 41})
        as_alice.call("PATCH", f"lines/{alice.line.public_id}", {"label": 5})
        assert list(Line.objects.order_by("pk").values()) == before


class TestEveryAnswer:
    def test_carries_a_number_and_is_kept_by_no_cache(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        numbers = set()
        for path in ("lines", "nowhere", f"lines/{alice.line.public_id}"):
            answer = as_alice.get(path)
            assert answer["Cache-Control"] == "no-store"
            numbers.add(answer["X-Request-Id"])
        assert len(numbers) == 3

    def test_to_a_session_needs_its_csrf_token_to_write(self, alice: Belongings) -> None:
        from django.test import Client

        browser = Client(enforce_csrf_checks=True)
        browser.force_login(alice.owner)
        answer = browser.post(
            f"/api/v1/lines/{alice.line.public_id}/rule/stop", content_type="application/json"
        )
        problem(answer, 403, "permission_denied")
        alice.rule.refresh_from_db()
        assert alice.rule.is_on
