"""A write is done once for each key: repeated, raced, interrupted, or sent with something else."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from billing.models import Recharge
from lines.models import Line, LineProof
from portal.api import idempotency
from portal.api.models import IdempotentRequest
from tests import world
from tests.api.callers import Caller, with_token
from tests.api.conftest import Belongings
from tests.api.test_matrix import ROWS, Row, by_hand, named, new_line, path_to

WRITES = [row for row in ROWS if row.method != "GET" and row.own != 403]
KEYED = [row for row in WRITES if not row.address.endswith("preview")]
CREATES = [row for row in KEYED if row.own == 201 or row.address.endswith("confirm")]


def recharges_of(mine: Belongings) -> int:
    return Recharge.objects.filter(line=mine.line).count()


class TestKey:
    @named(CREATES)
    def test_is_required_where_something_comes_into_being(
        self, row: Row, alice: Belongings
    ) -> None:
        before = (Line.objects.count(), Recharge.objects.count(), LineProof.objects.count())
        caller = Caller(user=alice.owner)
        path = path_to(row, alice)
        answer = caller.call(row.method, path, row.body(alice), key=None, **dict(row.headers))
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")
        assert before == (
            Line.objects.count(),
            Recharge.objects.count(),
            LineProof.objects.count(),
        )

    @pytest.mark.parametrize("key", ["", "x" * 256, "with space", "naïve", "tab\there"])
    def test_of_another_shape_is_refused(
        self, key: str, as_alice: Caller, alice: Belongings
    ) -> None:
        for path, body in (
            ("recharges", by_hand(alice)),
            (f"lines/{alice.line.public_id}/rule/stop", None),
        ):
            answer = as_alice.post(path, body, key=None, Idempotency_Key=key)
            assert answer.status_code == 400
            assert answer.json()["code"] == "idempotency_key_malformed"
        assert recharges_of(alice) == 0
        alice.rule.refresh_from_db()
        assert alice.rule.is_on

    def test_of_one_caller_means_nothing_to_another(
        self, alice: Belongings, bob: Belongings
    ) -> None:
        first = with_token(alice.owner).post("recharges", by_hand(alice), key="same")
        second = with_token(bob.owner).post("recharges", by_hand(bob), key="same")
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json()["id"] != second.json()["id"]
        assert "Idempotent-Replayed" not in second


class TestRepeat:
    @named(KEYED)
    def test_gets_the_first_answer_to_the_byte(self, row: Row, alice: Belongings) -> None:
        caller = with_token(alice.owner)
        path, sent = path_to(row, alice), row.body(alice)
        first, again = (
            caller.call(row.method, path, sent, key="once", **dict(row.headers)) for _ in range(2)
        )
        assert first.status_code == row.own
        assert "Idempotent-Replayed" not in first
        assert again["Idempotent-Replayed"] == "true"
        assert (again.status_code, again.content) == (first.status_code, first.content)
        for name in ("Content-Type", "ETag"):
            assert again.get(name) == first.get(name)

    def test_makes_no_second_recharge(self, as_alice: Caller, alice: Belongings) -> None:
        for _ in range(3):
            assert as_alice.post("recharges", by_hand(alice), key="once").status_code == 201
        assert recharges_of(alice) == 1

    def test_makes_no_second_line(self, as_alice: Caller, alice: Belongings) -> None:
        before = Line.objects.count()
        ids = {as_alice.post("lines", new_line(alice), key="once").json()["id"] for _ in range(3)}
        assert len(ids) == 1
        assert Line.objects.count() == before + 1

    def test_with_another_body_is_refused_and_the_first_stands(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        first = as_alice.post("recharges", by_hand(alice), key="once")
        other = as_alice.post("recharges", by_hand(alice) | {"face_minor": 10000}, key="once")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert [r.face_minor for r in alice.line.recharges.all()] == [5000]
        assert first.json()["face_minor"] == 5000

    def test_at_another_address_or_version_is_refused(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        rule = f"lines/{alice.line.public_id}/rule"
        assert as_alice.post(f"{rule}/stop", key="once").status_code == 200
        for path, headers in (
            (f"{rule}/resume", {}),
            (f"{rule}/stop", {"If_Match": '"1"'}),
        ):
            assert as_alice.post(path, key="once", **headers).status_code == 422

    def test_may_order_its_fields_otherwise(self, as_alice: Caller, alice: Belongings) -> None:
        body = by_hand(alice)
        first = as_alice.post("recharges", body, key="once")
        again = as_alice.post("recharges", dict(reversed(body.items())), key="once")
        assert again.content == first.content

    def test_of_a_final_refusal_is_refused_the_same_way(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        as_alice.post("recharges", by_hand(alice))
        refused = as_alice.post("recharges", by_hand(alice), key="second")
        assert (refused.status_code, refused.json()["code"]) == (409, "open_recharge")
        Recharge.objects.filter(line=alice.line).update(state="canceled", act_at=None)
        again = as_alice.post("recharges", by_hand(alice), key="second")
        assert again.content == refused.content
        assert again["Content-Type"] == "application/problem+json"
        assert recharges_of(alice) == 1

    def test_of_what_was_not_understood_may_be_mended(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        wrong = as_alice.post("recharges", by_hand(alice) | {"face_minor": 1234}, key="k")
        assert (wrong.status_code, wrong.json()["code"]) == (400, "not_sold")
        assert as_alice.post("recharges", by_hand(alice), key="k").status_code == 201
        assert recharges_of(alice) == 1


class TestInterruption:
    def test_after_the_work_and_before_its_answer_undoes_both(
        self, as_alice: Caller, alice: Belongings, monkeypatch: Any
    ) -> None:
        """Recharge and answer are one commit: neither is there without the other."""
        with monkeypatch.context() as broken:
            broken.setattr(idempotency, "_keep", _dies)
            answer = as_alice.post("recharges", by_hand(alice), key="once")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert recharges_of(alice) == 0

        again = as_alice.post("recharges", by_hand(alice), key="once")
        assert again.status_code == 201
        assert "Idempotent-Replayed" not in again
        assert recharges_of(alice) == 1

    def test_of_what_cannot_be_undone_is_done_again_and_finds_what_was_done(
        self, as_alice: Caller, alice: Belongings, monkeypatch: Any
    ) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(idempotency, "_keep", _dies)
            assert as_alice.post("bindings", {"rail": "alipay"}, key="b").status_code == 500
        [begun] = alice.owner.bindings.filter(state="pending")
        again = as_alice.post("bindings", {"rail": "alipay"}, key="b")
        assert again.status_code == 201
        assert again.json()["binding"]["id"] == begun.ref
        assert alice.owner.bindings.filter(state="pending").count() == 1

    def test_that_left_a_lease_is_waited_for_and_then_taken_over(
        self, as_alice: Caller, alice: Belongings, monkeypatch: Any
    ) -> None:
        """As after SIGKILL: nobody gave the key back."""
        with monkeypatch.context() as killed:
            killed.setattr(idempotency, "_do_and_keep", _dies)
            killed.setattr(idempotency, "_refuse", _dies)
            as_alice.post("recharges", by_hand(alice), key="once")
        assert IdempotentRequest.objects.get().status is None

        busy = as_alice.post("recharges", by_hand(alice), key="once")
        assert (busy.status_code, busy.json()["code"]) == (409, "idempotency_key_in_use")
        assert busy["Retry-After"] == "1"
        assert recharges_of(alice) == 0

        IdempotentRequest.objects.update(lease_until=Now() - timedelta(seconds=1))
        assert as_alice.post("recharges", by_hand(alice), key="once").status_code == 201
        assert recharges_of(alice) == 1

    def test_by_another_that_took_over_writes_nothing(
        self, as_alice: Caller, alice: Belongings, monkeypatch: Any
    ) -> None:
        """Our lease ran out while we slept: the other one's work counts, ours is rolled back."""
        keep = idempotency._keep

        def taken_over(claim: IdempotentRequest, response: Any) -> bool:
            IdempotentRequest.objects.filter(pk=claim.pk).update(fence=claim.fence + 1)
            return keep(claim, response)

        with monkeypatch.context() as slow:
            slow.setattr(idempotency, "_keep", taken_over)
            answer = as_alice.post("recharges", by_hand(alice), key="once")
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_use")
        assert recharges_of(alice) == 0

    def test_never_gives_back_a_try_at_a_code(self, as_alice: Caller, alice: Belongings) -> None:
        unproven = f"lines/{alice.unproven.public_id}"
        as_alice.post(f"{unproven}/proof")
        answer = as_alice.post(f"{unproven}/prove", {"code": "not it"}, key="guess")
        assert (answer.status_code, answer.json()["code"]) == (400, "wrong_code")
        assert LineProof.objects.get().tries_left == 4


class TestForgetting:
    def test_begins_after_seven_days(self, as_alice: Caller, alice: Belongings) -> None:
        as_alice.post("recharges", by_hand(alice), key="once")
        made_at = IdempotentRequest.objects.get().created_at
        assert idempotency.purge(at=made_at + timedelta(days=7)) == 0
        assert idempotency.purge(at=made_at + timedelta(days=7, seconds=1)) == 1
        assert idempotency.purge(at=made_at + timedelta(days=7, seconds=1)) == 0

    def test_the_answer_does_not_make_the_recharge_anew(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        first = as_alice.post("recharges", by_hand(alice), key="once").json()
        idempotency.purge(at=timezone.now() + timedelta(days=8))
        again = as_alice.post("recharges", by_hand(alice), key="once").json()
        assert again["id"] == first["id"]
        other = as_alice.post("recharges", by_hand(alice) | {"face_minor": 10000}, key="once")
        idempotency.purge(at=timezone.now() + timedelta(days=8))
        other = as_alice.post("recharges", by_hand(alice) | {"face_minor": 10000}, key="once")
        assert other.status_code == 422
        assert recharges_of(alice) == 1

    def test_what_is_kept_is_sealed(self, as_alice: Caller, alice: Belongings) -> None:
        as_alice.post("lines", new_line(alice), key="once")
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM portal_idempotentrequest")
            assert "13800138000" not in str(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
class TestEightAtOnce:
    def test_with_one_key_make_one_recharge(self, alice: Belongings) -> None:
        answers = _at_once(alice, [("recharges", by_hand(alice), "once")] * 8)
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {201, 409}
        assert 201 in statuses
        assert len({a.content for a in answers if a.status_code == 201}) == 1
        for answer in answers:
            if answer.status_code == 409:
                assert answer.json()["code"] == "idempotency_key_in_use"
                assert answer["Retry-After"] == "1"
        assert recharges_of(alice) == 1
        world.assert_balanced()

    def test_with_a_key_each_make_one_recharge_and_seven_refusals(self, alice: Belongings) -> None:
        asked = [("recharges", by_hand(alice), f"key-{n}") for n in range(8)]
        answers = _at_once(alice, asked)
        codes = sorted(a.json().get("code", "made") for a in answers)
        assert codes == ["made"] + ["open_recharge"] * 7
        assert recharges_of(alice) == 1

    def test_put_in_one_line(self, alice: Belongings) -> None:
        before = Line.objects.count()
        _at_once(alice, [("lines", new_line(alice), "once")] * 8)
        assert Line.objects.count() == before + 1


def _at_once(mine: Belongings, asked: list[tuple[str, Any, str]]) -> list[Any]:
    callers = [with_token(mine.owner)] * len(asked)
    barrier, answers = threading.Barrier(len(asked)), [None] * len(asked)

    def one(index: int) -> None:
        path, body, key = asked[index]
        barrier.wait(timeout=30)
        try:
            answers[index] = callers[index].post(path, body, key=key)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return answers


def _dies(*_args: Any, **_more: Any) -> Any:
    raise RuntimeError("the process ends here")
