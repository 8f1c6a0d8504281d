"""What a rail did, said and confirmed on the pages: by two people, once, after a fresh factor."""

import pytest
from django.utils import timezone

from billing.engine import incoming
from billing.gateways.base import Notification, NotificationKind, Unknown
from billing.models import Recharge, Settlement, Transfer
from lines.models import Operation
from tests import world as w
from tests.admin.conftest import give, open_one, sign_in
from tests.admin.test_acts import do, said
from tests.factories.billing import CaseFactory

VIEW = ("billing.view_recharge", "billing.view_settlement")
BOTH = (*VIEW, "billing.request_settlement", "billing.approve_settlement")


@pytest.fixture
def unknown(world):
    world.at = timezone.now()
    world.gateway.script = [Unknown("timeout")]
    opened = open_one(world, w.rule(max_per_month_minor=100_000), "unknown")
    world.run()
    Recharge.objects.update(act_at=None)
    CaseFactory.create(recharge=opened, code="payment_unknown", since=world.at)
    opened.refresh_from_db()
    return opened


@pytest.fixture
def oliver(operator):
    return sign_in(give(operator, *BOTH))


@pytest.fixture
def cora(colleague):
    return sign_in(give(colleague, *BOTH))


def say(client, recharge, finding="as_agreed", **more):
    given = {"finding": finding, "payment_ref": "RAIL-1", "taken_currency": "CNY"} | more
    return do(client, recharge, "request-settlement", token="s" * 43, **given)


def confirm(client, settlement, *, seen=None):
    seen = settlement.fingerprint if seen is None else seen
    return do(client, settlement, "approve-settlement", token="c" * 43, seen=seen)


def state_of(recharge) -> str:
    recharge.refresh_from_db()
    return recharge.state


class TestSaying:
    def test_asks_for_a_second_person_and_moves_nothing(self, oliver, unknown):
        response = say(oliver, unknown)

        assert said(response) == ["Done: Say what the rail did."]
        assert (Settlement.objects.get().state, state_of(unknown)) == (
            "requested",
            "payment_unknown",
        )
        assert not Transfer.objects.exists()
        w.assert_balanced()

    def test_keeps_what_was_taken_and_given_back_in_minor_units(self, oliver, unknown):
        say(oliver, unknown, "given_back", taken="60.5", returned_ref="BACK-1")

        one = Settlement.objects.get()
        assert (one.taken_minor, one.taken_currency, one.returned_ref) == (6050, "CNY", "BACK-1")

    def test_keeps_nothing_of_what_the_finding_does_not_need(self, oliver, unknown):
        say(oliver, unknown, "nothing", taken="60", returned_ref="BACK-1")

        one = Settlement.objects.get()
        assert (one.payment_ref, one.taken_minor, one.returned_ref) == ("", None, "")

    @pytest.mark.parametrize(
        ("finding", "wrong", "sentence"),
        [
            ("as_agreed", {"payment_ref": ""}, "Copy it from the rail"),
            ("given_back", {"taken": "60"}, "Copy it from the rail"),
            ("given_back", {"returned_ref": "B", "taken": "x"}, "Write the amount in figures"),
            ("given_back", {"returned_ref": "B", "taken": "0"}, "Nothing taken is another answer"),
            ("given_back", {"returned_ref": "B", "taken_currency": "!"}, "as three letters"),
            ("", {}, "This field is required"),
        ],
    )
    def test_is_refused_at_the_field_that_lacks_something(
        self, oliver, unknown, finding, wrong, sentence
    ):
        response = say(oliver, unknown, finding, **wrong)

        assert sentence in response.content.decode()
        assert not Settlement.objects.exists()

    def test_is_not_for_everybody(self, operator, unknown):
        response = say(sign_in(give(operator, *VIEW)), unknown)

        assert response.status_code == 403
        assert not Settlement.objects.exists()

    def test_is_offered_once(self, oliver, unknown):
        address = f"/admin/billing/recharge/{unknown.pk}/change/"

        def offered():
            return [button.act.verb for button in oliver.get(address).context["buttons"]]

        assert "request-settlement" in offered()
        say(oliver, unknown)
        assert "request-settlement" not in offered()
        assert {"approve-settlement", "reject-settlement"} <= set(offered())


class TestConfirming:
    @pytest.fixture
    def settlement(self, oliver, unknown):
        say(oliver, unknown)
        return Settlement.objects.get()

    def test_by_another_person_lets_it_go_on(self, cora, colleague, unknown, settlement):
        response = confirm(cora, settlement)

        assert said(response) == ["Done: Confirm what the rail did."]
        settlement.refresh_from_db()
        assert (settlement.state, settlement.decided_by) == ("approved", colleague)
        assert state_of(unknown) == "charged"
        assert [one.verb for one in Operation.objects.order_by("pk")] == [
            "request-settlement",
            "approve-settlement",
        ]
        w.assert_balanced()

    def test_shows_what_is_confirmed_and_by_which_numbers_to_look_it_up(self, cora, settlement):
        page = cora.get(f"/admin/billing/settlement/{settlement.pk}/do/approve-settlement/")

        facts = {str(name): str(what) for name, what in page.context["facts"]}
        assert facts["what the rail did"] == "exactly the agreed amount was taken"
        assert facts["our reference there"] == settlement.attempt.reference
        assert facts["rail's reference"] == "RAIL-1"
        assert facts["asked for because"] == "asked by phone"
        assert page.context["form"]["seen"].value() == settlement.fingerprint

    def test_by_the_same_person_is_refused(self, oliver, unknown, settlement):
        response = confirm(oliver, settlement)

        assert said(response)[0].startswith("You said so yourself: another person confirms it.")
        assert state_of(unknown) == "payment_unknown"
        assert not Transfer.objects.exists()
        w.assert_balanced()

    def test_of_what_was_changed_since_the_page_is_refused(self, cora, unknown, settlement):
        response = confirm(cora, settlement, seen="0" * 64)

        assert said(response)[0].startswith("It is not what this page showed: read it again.")
        assert state_of(unknown) == "payment_unknown"

    def test_asks_for_the_second_factor_again(self, colleague, unknown, settlement):
        stale = sign_in(give(colleague, *BOTH), factor_age_s=601)

        confirm(stale, settlement)

        assert state_of(unknown) == "payment_unknown"

    def test_is_awaited_on_the_front_page_and_told_on_the_recharges(
        self, cora, unknown, settlement
    ):
        front = cora.get("/admin/").content.decode()
        assert "What rails did, to be confirmed by a second person" in front

        confirm(cora, settlement)

        page = cora.get(f"/admin/billing/recharge/{unknown.pk}/change/")
        told = [event.title for event, _url in page.context["events"]]
        assert "At the rail: exactly the agreed amount was taken" in told
        assert "Confirm what the rail did" in told

    def test_may_be_refused_instead(self, cora, unknown, settlement):
        do(cora, settlement, "reject-settlement", token="r" * 43)

        settlement.refresh_from_db()
        assert (settlement.state, state_of(unknown)) == ("rejected", "payment_unknown")


class TestALostDispute:
    @pytest.fixture
    def disputed(self, world):
        world.at = timezone.now()
        recharge = open_one(world, w.rule(max_per_month_minor=100_000), "disputed")
        world.run()
        note = Notification(
            NotificationKind.DISPUTE,
            "evt_1",
            our_ref=recharge.attempts.get().reference,
            claims="charge.dispute.closed:lost",
        )
        incoming.accept(source="rail:alipay", note=note, at=world.at)
        incoming.process(at=world.at, limit=10)
        recharge.refresh_from_db()
        return recharge

    def test_is_the_one_thing_that_can_be_said_of_it(self, oliver, disputed):
        page = oliver.get(f"/admin/billing/recharge/{disputed.pk}/do/request-settlement/")

        assert [value for value, _words in page.context["form"].fields["finding"].choices] == [
            "",
            "lost",
        ]

    def test_is_booked_once_a_second_person_has_confirmed_it(self, oliver, cora, disputed):
        say(oliver, disputed, "lost", taken="49.5")
        confirm(cora, Settlement.objects.get())

        loss = Transfer.objects.get(kind="chargeback")
        assert (loss.source, loss.amount_minor) == ("losses", 4950)
        disputed.refresh_from_db()
        assert (disputed.state, disputed.attention) == ("completed", "")
        w.assert_balanced()

    def test_is_of_no_more_than_was_charged(self, oliver, disputed):
        response = say(oliver, disputed, "lost", taken="50.01")

        assert said(response)[0].startswith("A bank takes back ¥50.00 at most")
        assert not Settlement.objects.exists()
