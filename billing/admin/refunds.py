from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from billing import four_eyes
from billing.admin import tones, words
from billing.admin.approvals import ApprovalForm, RequestMixin
from billing.models import Refund
from billing.operators import operations
from billing.recharges import claims, machine
from billing.refunds import approvals
from billing.states import RefundState
from lines.admin.acts import Act, ActsMixin
from lines.admin.base import RecordAdmin, money, period, state

_OWN = _("You asked for this refund yourself: another person approves it.")
_NOT_WAITING = _("It is not waiting for approval any more.")

APPROVE = Act(
    verb="approve-refund",
    label=_("Approve the refund"),
    explanation=_("The money goes back to the payer now; it cannot be called back."),
    permission="billing.approve_refund",
    moves_money=True,
    is_legal=lambda refund: refund.state == RefundState.REQUESTED,
    run=lambda refund, *, actor, reason, at, seen: approvals.approve(
        refund=refund, approved_by=actor, at=at, seen=seen
    ),
    refusals={
        four_eyes.SamePerson: _OWN,
        four_eyes.NotWaiting: _NOT_WAITING,
        four_eyes.RequestExpired: _("It was asked for over a week ago: ask anew if it is owed."),
        four_eyes.OperationChanged: _("It is not what this page showed: read it again."),
    },
    form=ApprovalForm,
    unless=lambda refund, actor: _OWN if refund.requested_by_id == actor.pk else "",
    is_grave=True,
)
REJECT = Act(
    verb="reject-refund",
    label=_("Reject the refund"),
    explanation=_("No money moves, and the recharge is as it was before."),
    permission="billing.approve_refund",
    is_legal=lambda refund: refund.state == RefundState.REQUESTED,
    run=lambda refund, *, actor, reason, at: approvals.reject(
        refund=refund, rejected_by=actor, at=at
    ),
    refusals={four_eyes.NotWaiting: _NOT_WAITING},
)
ASK = Act(
    verb="query-refund",
    label=_("Ask about the refund again"),
    explanation=_("The rail or the carrier is asked once more, within seconds."),
    permission="billing.query_recharge",
    is_legal=lambda refund: refund.state in operations.REFUND_ASKABLE_STATES,
    run=lambda refund, *, actor, reason, at: operations.query_refund(refund=refund, at=at),
    refusals={
        operations.NothingToAsk: _("Nothing of it is out there to be asked about."),
        claims.BeingAsked: _("A worker is at it this moment: look again in a minute."),
    },
)
GIVE_UP = Act(
    verb="give-up-refund",
    label=_("Give the refund up"),
    explanation=_(
        "The rail refuses it for good. The recharge goes back to where it was, and the line can be"
        " credited instead."
    ),
    permission="billing.approve_refund",
    is_legal=approvals.may_be_given_up,
    run=lambda refund, *, actor, reason, at: approvals.give_up(
        refund=refund, given_up_by=actor, at=at
    ),
    refusals={
        approvals.NotRefusedByRail: _("The rail may yet give the money back: ask again first."),
        approvals.CreditTakenBack: _(
            "A part of the credit was taken back for it, so the money must follow: ask again."
        ),
        machine.LostRace: _("It has moved on meanwhile."),
    },
    is_grave=True,
)


@admin.register(Refund)
class RefundAdmin(RequestMixin, ActsMixin, RecordAdmin):
    """Refunds, and the second person's approval."""

    acts = (APPROVE, REJECT, ASK, GIVE_UP)
    list_display = ("reference", "created_at", "recharge_link", "amount", "state_label",
                    "requested_by", "approved_by")  # fmt: skip
    list_filter = ("state", period("created_at"))
    list_select_related = ("recharge", "requested_by", "approved_by")
    ordering = ("-pk",)
    fields = ("reference", "recharge_link", "amount", "promotion", "reversal", "state_label",
              "reason", "requested_by", "approved_by", "code", "attention", "created_at",
              "settled_at")  # fmt: skip

    amount = money("amount_minor", description=_("amount"))
    promotion = money("promotion_minor", description=_("promotion's part"))
    reversal = money("reversal_minor", description=_("credit to take back"))
    state_label = state(tones.REFUND)

    def facts(self, subject: Refund) -> list[tuple[Any, Any]]:
        """What the second person answers for; the reason is the first one's."""
        recharge = subject.recharge
        asked = subject.requested_by
        return [
            (_("amount"), words.amount(subject.amount_minor, subject.currency)),
            (_("of a charge of"), words.amount(recharge.price_minor, recharge.currency)),
            (_("line"), recharge.line),
            (_("goes back to"), words.method(recharge.binding)),
            (_("requested by"), asked or _("the system")),
            (_("asked for because"), subject.reason or "-"),
        ]
