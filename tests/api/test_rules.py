"""The contract over the API: previewed, drafted, agreed to word for word, and never by halves."""

from datetime import date, datetime
from typing import Any

import pytest

from billing.models import Consent, Rule
from tests import days, world
from tests.api.callers import Caller
from tests.api.conftest import Belongings
from tests.api.test_matrix import terms


@pytest.fixture
def path(alice: Belongings) -> str:
    """The rule of a line of Alice's that has none yet."""
    return f"lines/{alice.esim.public_id}/rule"


def agree(caller: Caller, path: str, body: dict[str, Any]) -> Any:
    """Draft, preview, confirm: the whole road."""
    drafted = caller.call("PUT", path, body)
    shown = caller.post(f"{path}/preview", body).json()
    return caller.post(
        f"{path}/confirm", {"consent_text": shown["consent_text"]}, If_Match=drafted["ETag"]
    )


class TestPreview:
    def test_shows_dates_prices_and_the_words_and_changes_nothing(
        self, as_alice: Caller, alice: Belongings, path: str
    ) -> None:
        before = (Rule.objects.count(), Consent.objects.count())
        first = days.last_of(12)
        body = terms(alice) | {"cycle": "monthly", "anchor_date": first.isoformat()}
        shown = as_alice.post(f"{path}/preview", body).json()
        charged_on = [date.fromisoformat(one["local_date"]) for one in shown["charges"][:3]]
        following = first.year + 1
        assert charged_on == [first, days.end_of(following, 1), days.end_of(following, 2)]
        assert len(shown["charges"]) == 12
        assert (shown["price_minor"], shown["month_max_minor"]) == (5000, 15000)
        assert shown["consent_text"]
        assert before == (Rule.objects.count(), Consent.objects.count())

    @pytest.mark.parametrize(
        ("more", "field"),
        [
            ({"face_minor": 1234}, "face_minor"),
            ({"max_per_month_minor": 4999}, "max_per_month_minor"),
            ({"topup_mode": "to", "target_minor": 500}, "target_minor"),
            ({"threshold_minor": None}, "cycle"),
            ({"cycle": "monthly"}, "anchor_date"),
            ({"binding": None}, "binding"),
            ({"charge_time": "25:00"}, "charge_time"),
            ({"charge_time": "09:00:00"}, "charge_time"),
            ({"anchor_date": "31.12.2026"}, "anchor_date"),
            ({"is_on": True}, "is_on"),
        ],
    )
    def test_refuses_what_cannot_run_at_its_field(
        self, more: Any, field: str, as_alice: Caller, alice: Belongings, path: str
    ) -> None:
        answer = as_alice.post(f"{path}/preview", terms(alice) | more)
        assert answer.status_code == 400
        assert field in answer.json()["errors"]


class TestDraft:
    def test_stays_off(self, as_alice: Caller, alice: Belongings, path: str) -> None:
        answer = as_alice.call("PUT", path, terms(alice))
        assert (answer.status_code, answer["ETag"]) == (200, '"1"')
        shown = answer.json()
        assert (shown["is_on"], shown["version"], shown["consent"]) == (False, 1, None)

    def test_is_changed_only_by_who_has_seen_it(
        self, as_alice: Caller, alice: Belongings, path: str
    ) -> None:
        as_alice.call("PUT", path, terms(alice))
        changed = terms(alice) | {"threshold_minor": 2000}
        blind = as_alice.call("PUT", path, changed)
        assert (blind.status_code, blind.json()["code"]) == (428, "version_missing")
        stale = as_alice.call("PUT", path, changed, If_Match='"2"')
        assert (stale.status_code, stale.json()["code"]) == (412, "version_stale")
        for none in ('W/"1"', "1", '""', "*", "x", ""):
            answer = as_alice.call("PUT", path, changed, If_Match=none)
            assert (answer.status_code, answer.json()["code"]) == (400, "version_malformed")
        assert alice.esim.rule.threshold_minor == 1000
        seen = as_alice.call("PUT", path, changed, If_Match='"1"')
        assert (seen.status_code, seen["ETag"]) == (200, '"2"')

    def test_never_overwrites_a_plan_that_runs(self, as_alice: Caller, alice: Belongings) -> None:
        running = f"lines/{alice.line.public_id}/rule"
        answer = as_alice.call("PUT", running, terms(alice), If_Match='"1"')
        assert (answer.status_code, answer.json()["code"]) == (409, "rule_is_on")


class TestConfirm:
    def test_turns_it_on_with_the_very_words_that_were_shown(
        self, as_alice: Caller, alice: Belongings, path: str
    ) -> None:
        shown = as_alice.post(f"{path}/preview", terms(alice)).json()
        answer = agree(as_alice, path, terms(alice))
        assert answer.status_code == 200
        assert answer.json()["is_on"] is True
        consent = Consent.objects.get(line=alice.esim)
        assert consent.text == shown["consent_text"] == answer.json()["consent"]["text"]
        assert (consent.owner, consent.ip) == (alice.owner, "127.0.0.1")

    @pytest.mark.parametrize(
        ("headers", "words", "status", "code"),
        [
            ({}, None, 428, "version_missing"),
            ({"If_Match": '"9"'}, None, 412, "version_stale"),
            ({"If_Match": '"1"'}, "I agree to anything", 412, "words_stale"),
            ({"If_Match": '"1"'}, "", 400, "invalid"),
        ],
    )
    def test_of_anything_else_leaves_it_off(
        self,
        headers: Any,
        words: str | None,
        status: int,
        code: str,
        as_alice: Caller,
        alice: Belongings,
        path: str,
    ) -> None:
        as_alice.call("PUT", path, terms(alice))
        shown = as_alice.post(f"{path}/preview", terms(alice)).json()["consent_text"]
        body = {"consent_text": shown if words is None else words}
        answer = as_alice.post(f"{path}/confirm", body, **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert not alice.esim.rule.is_on
        assert not Consent.objects.filter(line=alice.esim).exists()

    def test_of_words_for_an_older_amount_is_refused(
        self, as_alice: Caller, alice: Belongings, path: str
    ) -> None:
        old = as_alice.post(f"{path}/preview", terms(alice)).json()["consent_text"]
        dearer = terms(alice) | {"face_minor": 10000, "max_per_charge_minor": 10000}
        as_alice.call("PUT", path, dearer)
        answer = as_alice.post(f"{path}/confirm", {"consent_text": old}, If_Match='"1"')
        assert answer.json()["code"] == "words_stale"
        assert not alice.esim.rule.is_on

    def test_with_new_terms_changes_a_plan_that_runs(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        running = f"lines/{alice.line.public_id}/rule"
        new = terms(alice) | {"threshold_minor": 2000}
        words = as_alice.post(f"{running}/preview", new).json()["consent_text"]
        body = {"consent_text": words, "terms": new}
        answer = as_alice.post(f"{running}/confirm", body, If_Match='"1"')
        assert (answer.status_code, answer["ETag"]) == (200, '"2"')
        alice.rule.refresh_from_db()
        assert (alice.rule.threshold_minor, alice.rule.is_on) == (2000, True)

    def test_sent_twice_agrees_once(self, as_alice: Caller, alice: Belongings, path: str) -> None:
        etag = as_alice.call("PUT", path, terms(alice))["ETag"]
        words = as_alice.post(f"{path}/preview", terms(alice)).json()["consent_text"]
        for key in ("one", "one", "two"):
            last = as_alice.post(f"{path}/confirm", {"consent_text": words}, key=key, If_Match=etag)
        assert last.status_code == 412
        assert Consent.objects.filter(line=alice.esim).count() == 1


class TestAfterwards:
    def test_pauses_and_resumes(self, as_alice: Caller, alice: Belongings) -> None:
        path = f"lines/{alice.line.public_id}/rule"
        until = days.soon()
        paused = as_alice.post(f"{path}/pause", {"until": until.isoformat()}).json()
        assert datetime.fromisoformat(paused["paused_until"]) == until
        assert as_alice.post(f"{path}/resume").json()["paused_until"] is None

    @pytest.mark.parametrize("until", ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "soon"])
    def test_refuses_a_pause_that_is_none(
        self, until: str, as_alice: Caller, alice: Belongings
    ) -> None:
        path = f"lines/{alice.line.public_id}/rule/pause"
        answer = as_alice.post(path, {"until": until})
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == ["until"]
        alice.rule.refresh_from_db()
        assert alice.rule.paused_until is None

    def test_skips_the_charge_that_was_seen_and_no_other(
        self, as_alice: Caller, alice: Belongings, path: str
    ) -> None:
        body = terms(alice) | {"cycle": "monthly", "anchor_date": days.last_of(12).isoformat()}
        index = agree(as_alice, path, body).json()["next_index"]
        other = as_alice.post(f"{path}/skip", {"index": index + 1})
        assert (other.status_code, other.json()["code"]) == (412, "version_stale")
        assert as_alice.post(f"{path}/skip", {"index": index}).json()["skips_next"] is True
        assert as_alice.post(f"{path}/unskip").json()["skips_next"] is False

    def test_stops_at_once_and_once(self, as_alice: Caller, alice: Belongings) -> None:
        path = f"lines/{alice.line.public_id}/rule"
        for _ in range(2):
            assert as_alice.post(f"{path}/stop").json()["is_on"] is False
        again = as_alice.post(f"{path}/resume")
        assert (again.status_code, again.json()["code"]) == (409, "rule_is_off")

    @pytest.mark.parametrize("action", ["pause", "resume", "skip", "unskip", "stop"])
    def test_does_nothing_to_a_rule_that_has_changed_since(
        self, action: str, as_alice: Caller, alice: Belongings
    ) -> None:
        bodies = {"pause": {"until": days.soon().isoformat()}, "skip": {}}
        path = f"lines/{alice.line.public_id}/rule/{action}"
        answer = as_alice.post(path, bodies.get(action), If_Match='"7"')
        assert (answer.status_code, answer.json()["code"]) == (412, "version_stale")
        alice.rule.refresh_from_db()
        assert (alice.rule.is_on, alice.rule.paused_until) == (True, None)

    def test_says_why_the_system_paused_it(self, as_alice: Caller, alice: Belongings) -> None:
        Rule.objects.update(paused_at=world.NOON, pause_reason="binding_ended")
        shown = as_alice.get(f"lines/{alice.line.public_id}/rule").json()
        assert shown["pause"]["code"] == "binding_ended"
        assert shown["pause"]["sentence"]
