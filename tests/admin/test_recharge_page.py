"""The page of one recharge: its whole story, its money, and only what may be done now."""

import html
import re
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone

from billing import casebook
from billing.admin import advice
from billing.gateways.base import Refused, Unknown
from billing.models import Notice, RailCall, Recharge, Transfer
from billing.operators import operations
from billing.recharges import machine
from billing.refunds import approvals
from billing.words import reasons
from lines import operations as record
from lines.models import Delivery
from tests import world as w
from tests.admin.conftest import hold, open_one
from tests.factories.billing import (
    CaseFactory,
    DeclineCodeFactory,
    InboundNotificationFactory,
    RailCallFactory,
)
from tests.world import MINUTE


def page_of(recharge) -> str:
    return reverse("admin:billing_recharge_change", args=[recharge.pk])


def texts(response) -> str:
    """The page without its markup, blanks joined."""
    page = re.sub(r"<(script|style).*?</\1>", "", response.content.decode(), flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


def labels(response) -> list[str]:
    """The operations offered, by their buttons."""
    return [str(button.act.label) for button in response.context["buttons"]]


@pytest.fixture
def rule(world):
    return w.rule(max_per_month_minor=100_000, max_per_day_count=9)


@pytest.fixture
def done(world, rule):
    recharge = open_one(world, rule, "done")
    world.run()
    recharge.refresh_from_db()
    return recharge


class TestTheStory:
    def test_tells_every_source_once_and_in_order(self, root, world, done):
        attempt = done.attempts.get()
        InboundNotificationFactory.create(
            our_ref=attempt.reference,
            claims="TRADE_SUCCESS",
            body_masked="notify_id=1",
            received_at=world.at,
        )

        events = root.get(page_of(done)).context["events"]

        kinds = [event.kind for event, _url in events]
        assert kinds == [
            "move",  # opened
            "move",  # charging
            "attempt",
            "call",
            "notification",
            "move",  # crediting
            "money",
            "delivery",
            "move",  # completed
            "money",
            "notice",
        ]
        assert [event.at for event, _url in events] == sorted(event.at for event, _url in events)

    def test_shows_everything_that_is_stored_about_it(self, root, done):
        page = texts(root.get(page_of(done)))

        moves = list(done.moves.values_list("because", flat=True))
        references = [
            done.attempts.get().reference,
            Delivery.objects.get(order_ref=done.ref).reference,
            *Transfer.objects.values_list("reference", flat=True),
            *RailCall.objects.values_list("reference", flat=True),
            *Notice.objects.values_list("kind", flat=True),
        ]
        assert moves == ["opened", "sent", "paid", "credited"]
        assert [one for one in (*moves, *references) if one not in page] == []

    def test_a_decline_is_told_with_the_rails_code(self, root, world, rule):
        DeclineCodeFactory.create(code="POOR", decline_class="soft")
        world.gateway.script = [Refused("POOR")]
        recharge = open_one(world, rule, "poor")
        world.run()

        page = texts(root.get(page_of(recharge)))

        assert "charging → not charged" in page
        assert "rail's code POOR" in page

    def test_raw_evidence_is_in_a_details_element_and_never_markup(self, root, world, done):
        RailCallFactory.create(
            reference=done.attempts.get().reference,
            request='{"a": 1}',
            response="<script>alert(1)</script>",
            error="bad signature",
            at=world.at,
        )

        content = root.get(page_of(done)).content.decode()

        assert "<script>alert(1)</script>" not in content
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in content
        assert re.search(r'<details class="k-doubt">\s*<summary>Evidence: query</summary>', content)

    def test_evidence_that_is_hostile_does_not_break_the_page(self, root, world, done):
        RailCallFactory.create(
            reference=done.attempts.get().reference,
            request="[" * 100_000,
            response="9" * 5000,
            at=world.at,
        )

        assert root.get(page_of(done)).status_code == 200

    def test_operators_are_named_with_their_reasons(self, root, world, rule, operator):
        recharge = hold(world, open_one(world, rule, "held"))
        world.later(MINUTE)
        record.record(
            token="t" * 43,
            verb="approve-review",
            target=f"recharge:{recharge.ref}",
            actor=operator,
            reason="checked with the owner",
            at=world.at,
        )
        operations.approve_review(
            recharge=recharge, actor=operator, reason="checked with the owner", at=world.at
        )

        events = [event for event, _url in root.get(page_of(recharge)).context["events"]]

        told = [(event.kind, event.title, event.who) for event in events[-3:]]
        assert told == [
            ("operation", "Approve", "oliver"),
            ("move", "held for review → due", "oliver"),
            ("case", "Settled: Stopped for a check", "oliver"),
        ]
        assert events[-2].sentence.endswith("“checked with the owner”")

    def test_the_money_is_on_top(self, root, done):
        figures = dict(root.get(page_of(done)).context["figures"])

        assert {str(name): amount for name, amount in figures.items()} == {
            "face value": "¥50.00",
            "price": "¥50.00",
            "owed to the line": "¥50.00",
            "credited, by the carrier's figure": "¥50.00",
        }

    def test_numbers_are_masked_and_secrets_absent(self, root, done):
        content = root.get(page_of(done)).content.decode()

        assert done.line.msisdn.lstrip("+") not in content
        assert done.line.masked in content
        assert done.binding.provider_ref not in content

    def test_costs_a_bounded_number_of_queries(
        self, root, world, done, django_assert_max_num_queries
    ):
        with django_assert_max_num_queries(32):
            root.get(page_of(done))


class TestWhyItWasBegun:
    def test_is_the_rules_own_decision_with_what_its_owner_agreed_to(self, root, world):
        rule = w.rule(w.line(balance_minor=980), wake_at=world.at)
        world.run()
        recharge = Recharge.objects.get(rule=rule)

        response = root.get(page_of(recharge))

        assert "The balance of ¥9.80 is below ¥10, so ¥50 is recharged." in texts(response)
        assert response.context["consent"].pk == rule.consent_id
        assert reverse("admin:billing_consent_change", args=[rule.consent_id]) in (
            response.content.decode()
        )

    def test_is_the_person_who_asked_for_it_by_hand(self, root, done):
        response = root.get(page_of(done))

        assert f"Asked for by hand, by {done.owner}." in texts(response)
        assert response.context["consent"] is None


class TestWhatToDo:
    def test_is_said_beside_what_is_wrong(self, root, world, done):
        CaseFactory.create(recharge=done, code="late_payment", since=world.at)

        assert "Give it back on the rail's own pages, then say here what the rail did." in texts(
            root.get(page_of(done))
        )

    def test_is_said_of_each_cause_with_the_acts_that_lead_on_from_it(self, root, world, done):
        CaseFactory.create(recharge=done, code="disputed", since=world.at)
        CaseFactory.create(recharge=done, code="credit_differs", since=world.at - MINUTE)
        CaseFactory.create(
            recharge=done, code="late_payment", settled_at=world.at, settled_by="settled_given_back"
        )

        page = root.get(page_of(done))

        shown = [
            (one.case.code, [button.act.verb for button in one.buttons])
            for one in page.context["cases"]
        ]
        assert shown == [
            ("credit_differs", ["settle-elsewhere", "request-refund"]),
            ("disputed", []),
        ]
        others = [button.act.verb for button in page.context["other_buttons"]]
        assert others == ["query-again"]
        told = [event.title for event, _url in page.context["events"] if event.kind == "case"]
        assert "Settled: A payment came late" in told

    def test_is_said_where_nothing_is_to_be_done_yet(self, root, world, rule):
        world.gateway.script = [Unknown("timeout")]
        recharge = open_one(world, rule, "unknown")
        world.run()

        assert "Nothing to do yet: the rail is asked again by itself" in texts(
            root.get(page_of(recharge))
        )

    def test_has_words_for_everything_that_can_need_a_person(self):
        documented = Path("docs/operations.md").read_text().split("What needs a person")[1]
        codes = re.findall(r"^\| `([a-z_]+)` \|", documented, re.MULTILINE)

        assert len(codes) >= 11
        assert set(codes) == {*casebook.RECHARGE, *casebook.REFUND}
        assert [one for one in codes if not (advice.on(one) and reasons.knows(one))] == []


class TestADispute:
    def test_is_told_even_where_the_rail_names_only_its_own_number(self, root, world, done):
        for number, claims in (("1", "charge.dispute.created:needs_response"), ("2", "other")):
            InboundNotificationFactory.create(
                kind="dispute",
                amount_minor=None,
                provider_ref=done.attempts.get().provider_ref if number == "1" else "another",
                claims=claims,
                outcome="paused",
                received_at=world.at,
            )

        events = [event for event, _url in root.get(page_of(done)).context["events"]]

        told = [(one.title, one.sentence, one.tone) for one in events if one.tone == "bad"]
        assert told == [
            (
                "Dispute, told by Alipay",
                "charge.dispute.created:needs_response · the payment method was paused",
                "bad",
            )
        ]


class TestWhatMayBeDoneNow:
    """Only the legal operations, by the state."""

    def test_a_due_one_can_be_canceled(self, root, world, rule):
        assert labels(root.get(page_of(open_one(world, rule, "due")))) == ["Cancel"]

    def test_a_held_one_can_be_approved_or_rejected(self, root, world, rule):
        recharge = hold(world, open_one(world, rule, "held"))
        assert labels(root.get(page_of(recharge))) == ["Reject"]  # its time is over

        Recharge.objects.update(expires_at=timezone.now() + MINUTE)
        assert labels(root.get(page_of(recharge))) == ["Approve", "Reject"]

    def test_one_of_unknown_outcome_can_only_be_asked_about(self, root, world, rule):
        world.gateway.script = [Unknown("timeout")]
        recharge = open_one(world, rule, "unknown")
        world.run()

        assert labels(root.get(page_of(recharge))) == ["Ask again"]

    def test_a_completed_one_can_be_refunded(self, root, done):
        assert labels(root.get(page_of(done))) == ["Ask again", "Ask for a refund"]

    def test_while_a_refund_waits_it_can_be_approved_or_rejected(self, root, world, done, operator):
        approvals.request(
            recharge=done, amount_minor=1000, reason="a", requested_by=operator, at=world.at
        )

        assert labels(root.get(page_of(done))) == ["Approve the refund", "Reject the refund"]

    def test_a_canceled_one_offers_nothing(self, root, world, rule, operator):
        recharge = open_one(world, rule, "canceled")
        machine.cancel(recharge=recharge, actor=operator, because="canceled_by_owner", at=world.at)

        assert labels(root.get(page_of(recharge))) == []


class TestTheList:
    @pytest.fixture
    def many(self, root, world, rule):
        for number in range(3):
            open_one(world, w.rule(), f"key-{number}")
        return list(Recharge.objects.order_by("pk"))

    def found(self, root, query: str) -> list[str]:
        response = root.get(reverse("admin:billing_recharge_changelist"), {"q": query})
        return [one.ref for one in response.context["cl"].result_list]

    def test_finds_by_reference_of_the_recharge_its_payment_and_its_order(self, root, done, many):
        attempt = done.attempts.get()
        order = Delivery.objects.get(order_ref=done.ref)

        for term in (done.ref, done.ref.lower(), attempt.reference, order.reference):
            assert self.found(root, term) == [done.ref]

    def test_finds_by_the_rails_own_number(self, root, done, many):
        assert self.found(root, done.attempts.get().provider_ref) == [done.ref]

    def test_finds_by_the_last_four_figures_of_the_number(self, root, done, many):
        assert self.found(root, done.line.msisdn[-4:]) == [done.ref]

    def test_finds_by_the_owners_address_and_the_lines_public_id(self, root, done, many):
        assert done.ref in self.found(root, "ALICE@example.com")
        assert self.found(root, done.line.public_id) == [done.ref]

    def test_finds_nothing_by_a_part_of_anything(self, root, done, many):
        for term in (done.ref[:10], done.line.msisdn[-5:], "alice", "%", "'; --"):
            assert self.found(root, term) == []

    def test_narrows_down_to_what_needs_a_person_and_to_a_time(self, root, world, many):
        held = hold(world, many[0])
        address = reverse("admin:billing_recharge_changelist")

        def shown(**query):
            return [one.ref for one in root.get(address, query).context["cl"].result_list]

        assert shown(needs="yes") == [held.ref]
        assert len(shown(when="2026-11-22")) == 3
        assert shown(when="2026-11-21") == []
        assert len(shown(when="2026-11")) == 3
        assert len(shown(when="nonsense")) == 3
