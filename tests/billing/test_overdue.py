"""Charges that wait longer than their rail ever takes: called off there, or a person's."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.gateways.base import ActionRequired, Closed, NotFound, Pending, Succeeded, Unknown
from billing.models import Binding, DeclineCode, Notice, PaymentAttempt, RailCall, Recharge, Rule
from tests import world as w
from tests.factories.billing import DeclineCodeFactory

pytestmark = pytest.mark.django_db

CALLED_OFF = Closed("P1", "canceled")
PAGE = ActionRequired("https://rail.example/confirm", "P1")


@pytest.fixture
def low(world: Any) -> Any:
    """A world with one line below its threshold, on a rail that takes an hour at most."""
    w.carrier(), w.rail(retry_ladder_s=[6 * 3600])
    world.gateway.capabilities = replace(
        world.gateway.capabilities, settles_within=timedelta(hours=1)
    )
    DeclineCodeFactory.create(code="canceled", decline_class="auth")
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


def only() -> Recharge:
    return Recharge.objects.get()


def waited(world: Any, span: timedelta, *outcomes: Any) -> None:
    """Asked once more after `span`, and answered so."""
    world.later(span)
    world.gateway.script = list(outcomes)
    world.run(batches=1)


class TestAPendingCharge:
    @pytest.fixture
    def pending(self, low: Any) -> Any:
        low.gateway.script = [Pending("P1")]
        low.run(batches=2)
        assert only().state == "payment_pending"
        return low

    def test_is_left_alone_for_as_long_as_its_rail_takes_and_a_day(self, pending: Any) -> None:
        waited(pending, timedelta(hours=25), Pending("P1"))
        assert (only().state, only().attention) == ("payment_pending", "")
        assert pending.gateway.calls["cancel"] == []

    def test_is_called_off_after_that_and_a_new_number_follows(self, pending: Any) -> None:
        pending.gateway.closings = [CALLED_OFF]
        DeclineCode.objects.filter(code="canceled").delete()
        waited(pending, timedelta(hours=25, minutes=1), Pending("P1"))
        assert (only().state, only().reason) == ("declined", "soft_decline")
        reference = PaymentAttempt.objects.get().reference
        assert pending.gateway.calls["cancel"] == [reference]
        assert RailCall.objects.filter(kind="cancel", reference=reference).count() == 1
        Rule.objects.update(wake_at=None)
        pending.later(timedelta(hours=6))
        pending.run()
        assert only().state == "completed"
        assert len(set(pending.gateway.calls["charge"])) == 2
        w.assert_balanced()

    @pytest.mark.parametrize("said", [Unknown("lost"), NotFound(), Pending("P1")])
    def test_that_cannot_be_called_off_stays_as_it_is_and_is_shown_to_a_person(
        self, pending: Any, said: Any
    ) -> None:
        pending.gateway.closings = [said]
        waited(pending, timedelta(hours=26), Pending("P1"))
        assert (only().state, only().attention) == ("payment_pending", "payment_overdue")
        assert only().act_at is not None  # and is asked about again
        waited(pending, timedelta(hours=1), Succeeded("P1", 5000, "CNY"))
        assert (only().attention, list(pending.gateway.calls["charge"])) == (
            "",
            [PaymentAttempt.objects.get().reference],
        )

    def test_that_is_paid_by_then_is_paid(self, pending: Any) -> None:
        waited(pending, timedelta(hours=26), Succeeded("P1", 5000, "CNY"))
        assert pending.gateway.calls["cancel"] == []
        assert only().charged_at == pending.at

    def test_has_waited_no_less_for_one_question_without_an_answer(self, pending: Any) -> None:
        waited(pending, timedelta(hours=20), Unknown("lost"))
        waited(pending, timedelta(minutes=1), Pending("P1"))
        assert (only().state, pending.gateway.calls["cancel"]) == ("payment_pending", [])
        pending.gateway.closings = [CALLED_OFF]
        waited(pending, timedelta(hours=5), Pending("P1"))
        assert (only().state, only().reason) == ("failed", "not_confirmed")
        assert pending.gateway.calls["cancel"] == [PaymentAttempt.objects.get().reference]
        assert pending.gateway.charged == {}
        w.assert_balanced()

    def test_that_never_was_there_and_is_sent_again_waits_anew(self, pending: Any) -> None:
        waited(pending, timedelta(hours=20), NotFound(), Pending("P1"))
        pending.run(batches=2)
        assert (only().state, len(pending.gateway.calls["charge"])) == ("payment_pending", 2)
        waited(pending, timedelta(hours=6), Pending("P1"))
        assert (only().state, pending.gateway.calls["cancel"]) == ("payment_pending", [])

    def test_of_which_nothing_is_known_is_never_called_off(self, pending: Any) -> None:
        waited(pending, timedelta(hours=26), Unknown("lost"))
        for _ in range(12):
            waited(pending, w.DAY, Unknown("lost"))
        assert (only().state, only().attention) == ("payment_unknown", "payment_unknown")
        assert pending.gateway.calls["cancel"] == []

    def test_given_back_by_calling_it_off_is_a_persons(self, pending: Any) -> None:
        pending.gateway.closings = [Closed("P1", is_given_back=True)]
        waited(pending, timedelta(hours=26), Pending("P1"))
        assert (only().state, only().attention) == ("payment_unknown", "payment_unknown")
        assert len(pending.gateway.calls["charge"]) == 1


class TestAConfirmationNobodyGave:
    @pytest.fixture
    def asked(self, low: Any) -> Any:
        low.gateway.script = [PAGE]
        low.run(batches=2)
        assert only().state == "action_required"
        return low

    def test_is_waited_for_for_a_day(self, asked: Any) -> None:
        waited(asked, timedelta(hours=24), PAGE)
        assert (only().state, only().attention) == ("action_required", "")
        assert asked.gateway.calls["cancel"] == []

    def test_is_called_off_after_that_and_the_card_rests_until_its_payer_is_back(
        self, asked: Any
    ) -> None:
        asked.gateway.closings = [CALLED_OFF]
        waited(asked, timedelta(hours=24, minutes=1), PAGE)
        assert (only().state, only().reason) == ("failed", "not_confirmed")
        assert PaymentAttempt.objects.get().state == "declined"
        assert Binding.objects.get().pause_reason == "needs_confirmation"
        assert Rule.objects.get().pause_reason == "needs_confirmation"
        assert Notice.objects.filter(kind="not_recharged").count() == 1
        assert asked.gateway.charged == {}
        w.assert_balanced()

    def test_that_cannot_be_called_off_is_a_persons(self, asked: Any) -> None:
        waited(asked, timedelta(hours=25), PAGE)
        assert (only().state, only().attention) == ("action_required", "action_expired")
        assert only().act_at is None

    def test_that_was_given_at_last_is_paid(self, asked: Any) -> None:
        waited(asked, timedelta(hours=25), Succeeded("P1", 5000, "CNY"))
        assert asked.gateway.calls["cancel"] == []
        assert only().charged_at == asked.at
