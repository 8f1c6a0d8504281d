from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from billing import four_eyes
from billing.admin import tones, words
from billing.admin.approvals import ApprovalForm, RequestMixin
from billing.models import Settlement
from billing.operators import attestations, found
from billing.recharges import claims, machine
from billing.states import SettlementState
from lines.admin.acts import Act, ActsMixin
from lines.admin.base import RecordAdmin, link, money, period, state

_OWN = _("You said so yourself: another person confirms it.")
_NOT_WAITING = _("It is not waiting for approval any more.")


def _is_waiting(settlement: Settlement) -> bool:
    return settlement.state == SettlementState.REQUESTED


APPROVE = Act(
    verb="approve-settlement",
    label=_("Confirm what the rail did"),
    explanation=_(
        "Look it up on their own pages yourself. Then the line is credited, or the money goes back,"
        " or the recharge ends, and the books say so; it cannot be called back."
    ),
    permission="billing.approve_settlement",
    moves_money=True,
    is_legal=lambda one: _is_waiting(one) and attestations.is_confirmable(one),
    run=lambda settlement, *, actor, reason, at, seen: attestations.approve(
        settlement=settlement, seen=seen, approved_by=actor, at=at
    ),
    refusals={
        four_eyes.SamePerson: _OWN,
        four_eyes.NotWaiting: _NOT_WAITING,
        four_eyes.RequestExpired: _("It was said over a week ago: look it up and say it anew."),
        four_eyes.OperationChanged: _("It is not what this page showed: read it again."),
        found.NotSettleable: _("The recharge has moved on meanwhile: reject this one."),
        found.NotWithinCharge: _(
            "More of it has gone back meanwhile than this leaves: reject this one."
        ),
        found.AlreadyReturned: _("Another payment was given back under that reference."),
        claims.BeingAsked: _("A worker is at it this moment: look again in a minute."),
        machine.LostRace: _("It has moved on meanwhile."),
    },
    form=ApprovalForm,
    unless=lambda settlement, actor: _OWN if settlement.requested_by_id == actor.pk else "",
    is_grave=True,
)
REJECT = Act(
    verb="reject-settlement",
    label=_("Not so"),
    explanation=_("Nothing moves; the recharge waits for a person as before."),
    permission="billing.approve_settlement",
    is_legal=_is_waiting,
    run=lambda settlement, *, actor, reason, at: attestations.reject(
        settlement=settlement, rejected_by=actor, at=at
    ),
    refusals={four_eyes.NotWaiting: _NOT_WAITING},
)


@admin.register(Settlement)
class SettlementAdmin(RequestMixin, ActsMixin, RecordAdmin):
    """What people say that rails did, and the second person's word."""

    acts = (APPROVE, REJECT)
    list_display = ("reference", "created_at", "recharge_link", "finding", "state_label",
                    "requested_by", "decided_by")  # fmt: skip
    list_filter = ("state", "finding", period("created_at"))
    list_select_related = ("recharge", "requested_by", "decided_by")
    ordering = ("-pk",)
    fields = ("reference", "recharge_link", "attempt_link", "finding", "payment_ref", "dispute_ref",
              "taken", "returned_ref", "reason", "state_label", "requested_by", "decided_by",
              "created_at", "settled_at")  # fmt: skip

    attempt_link = link("attempt", description=_("payment attempt"))
    taken = money("taken_minor", currency="taken_currency", description=_("taken"))
    state_label = state(tones.SETTLEMENT)

    def facts(self, subject: Settlement) -> list[tuple[Any, Any]]:
        """What the second person looks up and answers for; the reason is the first one's."""
        recharge = subject.recharge
        rows = [
            (_("what the rail did"), subject.get_finding_display()),
            (_("agreed amount"), words.amount(recharge.price_minor, recharge.currency)),
            (_("payment rail"), words.rail(subject.attempt.rail)),
            (_("our reference there"), subject.attempt.reference),
            (_("rail's reference"), subject.payment_ref or "-"),
            (_("line"), recharge.line),
            (_("requested by"), subject.requested_by),
            (_("asked for because"), subject.reason),
        ]
        if subject.refund is not None:
            asked = words.amount(subject.refund.amount_minor, subject.refund.currency)
            rows[2:2] = [(_("refund"), subject.refund.reference), (_("amount to refund"), asked)]
        if subject.dispute_ref:
            rows[-3:-3] = [(_("dispute"), subject.dispute_ref)]
        if subject.taken_minor is not None:
            taken = words.amount(subject.taken_minor, subject.taken_currency)
            rows[-3:-3] = [
                (_("amount that moved"), taken),
                (_("reference it was given back by"), subject.returned_ref or "-"),
            ]
        return rows
