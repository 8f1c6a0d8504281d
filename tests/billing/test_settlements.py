"""What a rail did, said by one person and confirmed by another; then the books agree with it."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from billing import four_eyes
from billing.engine import sweeps
from billing.gateways.base import Answer, NotFound, Succeeded, Unknown
from billing.ledger import verification
from billing.ledger.verification import Effect
from billing.models import (
    Case,
    Notice,
    PaymentAttempt,
    Recharge,
    RechargeMove,
    Rule,
    Settlement,
    Transfer,
)
from billing.operators import attestations, found, operations
from billing.operators.found import Found
from billing.recharges import cases, claims
from billing.states import Finding
from tests import world as w
from tests.billing.racers import race
from tests.factories.billing import CaseFactory

pytestmark = pytest.mark.django_db

NOTHING = Found(Finding.NOTHING)
AS_AGREED = Found(Finding.AS_AGREED, "RAIL-1")
GIVEN_BACK = Found(Finding.GIVEN_BACK, "RAIL-1", 6000, "CNY", "BACK-1")
EVERY = [NOTHING, AS_AGREED, GIVEN_BACK]


def only() -> Recharge:
    return Recharge.objects.get()


def attempt() -> PaymentAttempt:
    return PaymentAttempt.objects.get()


@pytest.fixture
def oliver():
    return w.person("oliver", is_staff=True)


@pytest.fixture
def cora():
    return w.person("cora", is_staff=True)


@pytest.fixture
def unknown(world):
    """A payment that the rail would not speak of for a week."""
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.gateway.script = [Unknown("timeout")]
    world.run()
    Recharge.objects.update(act_at=None)
    CaseFactory.create(recharge=only(), code="payment_unknown", since=world.at)
    return only()


@pytest.fixture
def differing(world):
    """A payment of 50.00 of which the rail says that it took 60.00."""
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    world.gateway.script = [Succeeded("RAIL-1", 6000, "CNY")]
    world.run()
    assert (only().state, only().attention) == ("review", "amount_differs")
    return only()


def say(world, found, person) -> Settlement:
    return attestations.request(
        recharge=only(), found=found, reason="on its own pages", requested_by=person, at=world.at
    )


def confirm(world, settlement, person, *, seen=None) -> None:
    attestations.approve(
        settlement=settlement,
        seen=settlement.fingerprint if seen is None else seen,
        approved_by=person,
        at=world.at,
    )


def assert_nothing_moved(settlement, state="payment_unknown", *, still="requested") -> None:
    settlement.refresh_from_db()
    assert (only().state, settlement.state) == (state, still)
    assert attempt().state == "unknown"
    assert not Transfer.objects.exists()
    w.assert_balanced()


class TestSayingWhatTheRailDid:
    @pytest.mark.parametrize("found", EVERY, ids=lambda found: found.finding)
    def test_waits_for_a_second_person_and_moves_nothing(self, world, unknown, oliver, found):
        said = say(world, found, oliver)
        world.run()
        assert (said.state, said.attempt) == ("requested", attempt())
        assert_nothing_moved(said)

    def test_is_for_what_the_machine_has_given_up_asking_about(self, world, unknown, oliver):
        cases.settle(Case.objects.all(), because="answered", at=world.at)
        with pytest.raises(found.NotSettleable):
            say(world, NOTHING, oliver)
        assert not Settlement.objects.exists()

    def test_is_not_for_one_that_has_an_end(self, world, oliver):
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.run()
        CaseFactory.create(recharge=only(), code="credit_differs")
        with pytest.raises(found.NotSettleable):
            say(world, NOTHING, oliver)

    def test_is_done_once_until_somebody_has_decided(self, world, unknown, oliver, cora):
        first = say(world, NOTHING, oliver)
        with pytest.raises(attestations.AlreadyRequested):
            say(world, AS_AGREED, cora)
        attestations.reject(settlement=first, rejected_by=cora, at=world.at)
        assert say(world, AS_AGREED, cora).state == "requested"

    def test_rejected_leaves_everything_as_it_was(self, world, unknown, oliver, cora):
        said = say(world, NOTHING, oliver)
        attestations.reject(settlement=said, rejected_by=cora, at=world.at)
        assert_nothing_moved(said, still="rejected")
        assert only().attention == "payment_unknown"
        with pytest.raises(four_eyes.NotWaiting):
            confirm(world, said, cora)


class TestNothingWasTaken:
    def test_ends_it_without_money_and_frees_the_line(self, world, unknown, oliver, cora):
        confirm(world, say(world, NOTHING, oliver), cora)

        assert (only().state, only().reason, only().attention) == (
            "failed",
            "settled_not_taken",
            "",
        )
        assert attempt().state == "closed"
        assert not Transfer.objects.exists()
        assert world.carrier.credits == {}
        assert Rule.objects.get().is_armed  # a low balance may fire again
        w.assert_balanced()

    def test_is_in_its_history_with_both_people_and_told_to_the_owner(
        self, world, unknown, oliver, cora
    ):
        confirm(world, say(world, NOTHING, oliver), cora)
        move = RechargeMove.objects.latest("pk")
        assert (move.because, move.actor, move.note) == (
            "settled_not_taken",
            cora,
            "on its own pages",
        )
        settled = Settlement.objects.get()
        assert (settled.state, settled.requested_by, settled.decided_by) == (
            "approved",
            oliver,
            cora,
        )
        told = Notice.objects.get(kind="not_recharged")
        assert told.facts["code"] == "settled_not_taken"

    def test_that_was_wrong_is_found_when_the_rail_speaks_of_it(self, world, unknown, oliver, cora):
        confirm(world, say(world, NOTHING, oliver), cora)
        world.gateway.charged[attempt().reference] = 5000
        Recharge.objects.update(act_at=world.at)
        world.run()
        assert (only().state, only().attention) == ("failed", "late_payment")


class TestTakenAsAgreed:
    @pytest.mark.parametrize("case", ["unknown", "differing"])
    def test_is_booked_and_the_line_gets_it(self, world, oliver, cora, request, case):
        request.getfixturevalue(case)
        confirm(world, say(world, AS_AGREED, oliver), cora)
        assert (only().state, only().charged_at) == ("charged", world.at)
        assert (attempt().state, attempt().provider_ref) == ("succeeded", "RAIL-1")
        charge = Transfer.objects.get()
        assert (charge.kind, charge.reference, charge.amount_minor) == (
            "charge",
            attempt().reference,
            5000,
        )
        w.assert_balanced()

        world.run()

        assert only().state == "completed"
        assert [len(times) for times in world.carrier.credits.values()] == [1]
        assert len(world.gateway.calls["charge"]) == 1  # nothing was charged again
        w.assert_balanced()

    def test_agrees_with_the_rails_own_book(self, world, unknown, oliver, cora):
        confirm(world, say(world, AS_AGREED, oliver), cora)
        theirs = [Effect("charge", attempt().reference, 5000)]
        assert verification.compare(mine=verification.ours(), theirs=theirs) == {}


class TestTakenAndGivenBack:
    @pytest.mark.parametrize("case", ["unknown", "differing"])
    def test_books_both_movements_and_ends_it(self, world, oliver, cora, request, case):
        request.getfixturevalue(case)
        confirm(world, say(world, GIVEN_BACK, oliver), cora)

        assert (only().state, only().reason) == ("failed", "settled_given_back")
        assert (attempt().state, attempt().provider_ref) == ("closed", "RAIL-1")
        booked = Transfer.objects.order_by("pk").values_list(
            "kind", "reference", "source", "destination", "amount_minor"
        )
        assert list(booked) == [
            ("stray", attempt().reference, "rail:alipay", "suspense", 6000),
            ("stray_returned", "BACK-1", "suspense", "rail:alipay", 6000),
        ]
        assert world.carrier.credits == {}
        w.assert_balanced()

    def test_may_be_in_another_currency(self, world, differing, oliver, cora):
        found = Found(Finding.GIVEN_BACK, "RAIL-1", 5000, "USD", "BACK-1")
        confirm(world, say(world, found, oliver), cora)
        assert verification.accounts() == {"USD": {"rail:alipay": 0, "suspense": 0}}
        w.assert_balanced()

    def test_agrees_with_the_rails_own_book(self, world, differing, oliver, cora):
        confirm(world, say(world, GIVEN_BACK, oliver), cora)
        theirs = [Effect("charge", attempt().reference, 6000), Effect("refund", "BACK-1", 6000)]
        assert verification.compare(mine=verification.ours(), theirs=theirs) == {}

    def test_raises_no_alarm_when_the_rail_speaks_of_it_again(self, world, differing, oliver, cora):
        confirm(world, say(world, GIVEN_BACK, oliver), cora)
        world.gateway.query = lambda **_: Answer(Succeeded("RAIL-1", 6000, "CNY"))
        Recharge.objects.update(act_at=world.at)
        world.run()
        assert (only().state, only().attention, only().act_at) == ("failed", "", None)

    def test_under_one_reference_counts_once(self, world, differing, oliver, cora):
        confirm(world, say(world, GIVEN_BACK, oliver), cora)
        Rule.objects.update(wake_at=world.at, cooldown_until=None)
        world.gateway.script = [Succeeded("RAIL-2", 6000, "CNY")]
        world.run()
        second = Recharge.objects.get(state="review")
        again = attestations.request(
            recharge=second, found=GIVEN_BACK, reason="the same", requested_by=oliver, at=world.at
        )
        with pytest.raises(found.AlreadyReturned):
            confirm(world, again, cora)
        second.refresh_from_db()
        assert (second.state, Transfer.objects.count()) == ("review", 2)
        w.assert_balanced()


class TestTheSecondPerson:
    def test_is_another_one(self, world, unknown, oliver):
        said = say(world, AS_AGREED, oliver)
        with pytest.raises(four_eyes.SamePerson):
            confirm(world, said, oliver)
        assert_nothing_moved(said)

    @pytest.mark.parametrize("decided_by", ["oliver", None])
    def test_is_another_one_to_the_database_too(self, world, unknown, oliver, decided_by):
        said = say(world, NOTHING, oliver)
        person = oliver if decided_by else None
        with pytest.raises(IntegrityError, match="settlement_two_people"), transaction.atomic():
            Settlement.objects.update(state="approved", decided_by=person)
        assert_nothing_moved(said)

    @pytest.mark.parametrize(
        "changed",
        [
            {"payment_ref": "RAIL-2"},
            {"taken_minor": 600},
            {"taken_currency": "USD"},
            {"returned_ref": "BACK-2"},
            {"reason": "because"},
            {"finding": "as_agreed", "taken_minor": None, "taken_currency": "", "returned_ref": ""},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_confirms_exactly_what_was_asked_for(self, world, unknown, oliver, cora, changed):
        said = say(world, GIVEN_BACK, oliver)
        Settlement.objects.update(**changed)
        with pytest.raises(four_eyes.OperationChanged):
            confirm(world, said, cora)
        assert_nothing_moved(said)

    @pytest.mark.parametrize("seen", ["", "0" * 64])
    def test_confirms_only_what_the_page_showed(self, world, unknown, oliver, cora, seen):
        said = say(world, NOTHING, oliver)
        with pytest.raises(four_eyes.OperationChanged):
            confirm(world, said, cora, seen=seen)
        assert_nothing_moved(said)

    def test_comes_within_a_week(self, world, unknown, oliver, cora):
        said = say(world, AS_AGREED, oliver)
        world.later(timedelta(days=7))
        with pytest.raises(four_eyes.RequestExpired):
            confirm(world, said, cora)
        assert_nothing_moved(said)

    def test_that_never_comes_lets_it_expire(self, world, unknown, oliver, cora):
        said = say(world, AS_AGREED, oliver)
        world.later(timedelta(days=7) - timedelta(seconds=1))
        assert attestations.expire(at=world.at, limit=10) == 0
        world.later(timedelta(seconds=1))
        assert sweeps.slow(at=world.at, outside=world.outside).requests == 1
        assert attestations.expire(at=world.at, limit=10) == 0
        assert_nothing_moved(said, still="expired")
        assert say(world, AS_AGREED, oliver).state == "requested"  # may be said anew

    def test_that_cannot_be_ended_stops_no_other_expiry(self, world, unknown, oliver, monkeypatch):
        said = say(world, AS_AGREED, oliver)
        w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.gateway.script = [Unknown("timeout")]
        world.run()
        second = Recharge.objects.latest("pk")
        Recharge.objects.filter(pk=second.pk).update(act_at=None)
        CaseFactory.create(recharge=second, code="payment_unknown")
        second.refresh_from_db()
        other = attestations.request(
            recharge=second, found=NOTHING, reason="x", requested_by=oliver, at=world.at
        )
        decide = attestations._decide

        def broken(one, *args, **more):
            if one.pk == said.pk:
                raise ValueError("broken")
            decide(one, *args, **more)

        monkeypatch.setattr(attestations, "_decide", broken)
        assert attestations.expire(at=world.at + timedelta(days=7), limit=9) == 1
        other.refresh_from_db()
        said.refresh_from_db()
        assert (said.state, other.state) == ("requested", "expired")
        assert not Transfer.objects.exists()
        w.assert_balanced()

    def test_that_comes_second_finds_it_done(self, world, unknown, oliver, cora):
        said = say(world, AS_AGREED, oliver)
        confirm(world, said, cora)
        with pytest.raises(four_eyes.NotWaiting):
            confirm(world, said, w.person("third"))
        assert Transfer.objects.count() == 1
        w.assert_balanced()


class TestTheRailThatSpeaksAfterAll:
    def test_is_believed_instead(self, world, unknown, oliver, cora):
        said = say(world, NOTHING, oliver)
        world.gateway.charged[attempt().reference] = 5000
        operations.query_again(recharge=only(), at=world.at)
        world.run()
        assert only().state == "completed"
        with pytest.raises(found.NotSettleable):
            confirm(world, said, cora)
        assert only().state == "completed"
        w.assert_balanced()

    def test_is_waited_for_while_it_is_asked(self, world, unknown, oliver, cora):
        said = say(world, NOTHING, oliver)
        Recharge.objects.update(lease_until=timezone.now() + w.HOUR)
        with pytest.raises(claims.BeingAsked):
            confirm(world, said, cora)
        assert_nothing_moved(said)

    def test_comes_too_late_from_a_worker_that_slept(self, world, unknown, oliver, cora):
        fence = only().fence
        confirm(world, say(world, AS_AGREED, oliver), cora)
        assert only().fence == fence + 1

    def test_answers_that_it_never_happened_and_is_sent_once(self, world, unknown, oliver, cora):
        said = say(world, NOTHING, oliver)
        world.later(w.HOUR)
        world.gateway.query = lambda **_: Answer(NotFound())
        operations.query_again(recharge=only(), at=world.at)
        world.run()
        assert only().state == "completed"
        with pytest.raises(found.NotSettleable):
            confirm(world, said, cora)


@pytest.mark.django_db(transaction=True)
@pytest.mark.processes
class TestAtOnce:
    def test_of_eight_who_confirm_it_one_does(self, world, unknown, oliver):
        said = say(world, AS_AGREED, oliver)
        people = [w.person(f"second{number}") for number in range(8)]

        def one(number):
            try:
                confirm(world, said, people[number])
            except four_eyes.NotWaiting:
                return "late"
            return "done"

        assert sorted(race(one, processes=8)) == ["done", *["late"] * 7]
        assert Transfer.objects.count() == 1
        w.assert_balanced()
