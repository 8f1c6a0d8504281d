"""What may be done to a recharge from its page, and the sentence for each refusal."""

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from billing import money
from billing.admin import settling, words
from billing.models import Recharge
from billing.operators import operations
from billing.recharges import claims, disputed, machine
from billing.refunds import approvals
from billing.states import CANCELABLE_STATES
from billing.states import RechargeState as S
from lines.admin.acts import Act, ReasonForm

_MOVED = _("It has moved on meanwhile.")
_TOO_LATE = _(
    "A reference of it is at the rail, so money may have moved: ask again, and refund if it was"
    " taken."
)


class RefundForm(ReasonForm):
    """How much goes back: all that is left unless the operator says less."""

    amount_minor = forms.CharField(
        label=_("Amount"), max_length=20, widget=UnfoldAdminTextInputWidget()
    )

    field_order = ("amount_minor", "reason", "token")

    def __init__(self, *args: Any, subject: Recharge, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        left_minor = subject.price_minor - subject.refund_committed_minor
        field = self.fields["amount_minor"]
        field.initial = money.to_decimal_text(left_minor, subject.currency)
        field.widget.attrs["inputmode"] = "decimal"
        most = {"amount": words.amount(left_minor, subject.currency)}
        if subject.state == S.COMPLETED:
            field.help_text = gettext("At most %(amount)s is left to refund.") % most
        else:
            field.help_text = (
                gettext("The line has nothing of it, so all %(amount)s goes back.") % most
            )

    def clean_amount_minor(self) -> int:
        try:
            return money.parse_amount(self.cleaned_data["amount_minor"], self.subject.currency)
        except money.InvalidAmount as refusal:
            raise forms.ValidationError(str(refusal.sentence)) from refusal


def is_cancelable(recharge: Recharge) -> bool:
    """A held one is approved or rejected instead."""
    return (
        recharge.state in CANCELABLE_STATES
        and recharge.state != S.REVIEW
        and not machine.has_live_attempt(recharge_id=recharge.pk)
    )


def is_rejectable(recharge: Recharge) -> bool:
    return recharge.state == S.REVIEW and not machine.has_live_attempt(recharge_id=recharge.pk)


def is_refundable(recharge: Recharge) -> bool:
    left_minor = recharge.price_minor - recharge.refund_committed_minor
    is_possible = recharge.state in approvals.REFUNDABLE_STATES and left_minor > 0
    return is_possible and not disputed.is_open(recharge_id=recharge.pk)


def is_redeliverable(recharge: Recharge) -> bool:
    return operations.against_redelivery(recharge) is None


def _too_much(recharge: Recharge, refusal: Exception) -> str:
    assert isinstance(refusal, approvals.TooMuch | approvals.WholeOnly)  # noqa: S101 - by its key
    left = words.amount(refusal.left_minor, recharge.currency)
    if isinstance(refusal, approvals.WholeOnly):
        return gettext("The line has nothing of it, so all that is left goes back: %(left)s.") % {
            "left": left
        }
    return gettext("That is more than is left to refund: %(left)s.") % {"left": left}


APPROVE = Act(
    verb="approve-review",
    label=_("Approve"),
    explanation=_("It is charged now, at the amount agreed on, once."),
    moves_money=True,
    permission="billing.review_recharge",
    is_legal=lambda recharge: operations.is_approvable(recharge, at=timezone.now()),
    run=lambda recharge, **why: operations.approve_review(recharge=recharge, **why),
    refusals={
        operations.NotHeld: _("It is not held any more."),
        operations.AmountDiffers: _("Another amount was taken: charging again cannot mend that."),
        operations.WindowOver: _("The time for this charge is over: it can only be rejected."),
        machine.LostRace: _MOVED,
    },
)
REJECT = Act(
    verb="reject-review",
    label=_("Reject"),
    explanation=_("It ends here and nothing is charged. The rule goes on with its next occasion."),
    permission="billing.review_recharge",
    is_legal=is_rejectable,
    run=lambda recharge, **why: operations.reject_review(recharge=recharge, **why),
    refusals={
        operations.NotHeld: _("It is not held any more."),
        machine.TooLate: _TOO_LATE,
        machine.LostRace: _MOVED,
    },
    is_grave=True,
)
ASK = Act(
    verb="query-again",
    label=_("Ask again"),
    explanation=_(
        "The rail or the carrier is asked once more what became of it, within seconds. Nothing is"
        " charged or credited by asking."
    ),
    permission="billing.query_recharge",
    is_legal=operations.is_askable,
    run=lambda recharge, *, actor, reason, at: operations.query_again(recharge=recharge, at=at),
    refusals={
        operations.NothingToAsk: _("Nothing of it is out there to be asked about."),
        claims.BeingAsked: _("A worker is at it this moment: look again in a minute."),
    },
)
CANCEL = Act(
    verb="cancel",
    label=_("Cancel"),
    explanation=_("It ends here and nothing is charged. The rule goes on with its next occasion."),
    permission="billing.cancel_recharge",
    is_legal=is_cancelable,
    run=lambda recharge, **why: operations.cancel(recharge=recharge, **why),
    refusals={machine.TooLate: _TOO_LATE, machine.LostRace: _MOVED},
    is_grave=True,
)
REFUND = Act(
    verb="request-refund",
    label=_("Ask for a refund"),
    explanation=_(
        "A second person approves it before any money moves. Credit that has reached the line is"
        " taken back at the carrier first."
    ),
    permission="billing.request_refund",
    is_legal=is_refundable,
    run=lambda recharge, *, actor, reason, at, amount_minor: approvals.request(
        recharge=recharge, amount_minor=amount_minor, reason=reason, requested_by=actor, at=at
    ),
    refusals={
        approvals.NotRefundable: _("There is nothing to refund: it has moved on meanwhile."),
        approvals.TooMuch: _too_much,
        approvals.WholeOnly: _too_much,
        machine.LostRace: _MOVED,
    },
    form=RefundForm,
    is_grave=True,
)
REDELIVER = Act(
    verb="redeliver",
    label=_("Credit again"),
    explanation=_("The line is credited by a new order at the carrier. Nothing more is charged."),
    moves_money=True,
    permission="billing.redeliver_recharge",
    is_legal=is_redeliverable,
    run=lambda recharge, **why: operations.redeliver(recharge=recharge, **why),
    refusals={
        operations.NotUndelivered: _("It is not waiting to be credited any more."),
        operations.Disputed: _(
            "The payer disputes the payment: nothing is credited before its end."
        ),
        operations.PartlyRefunded: _("A part of it was refunded already: refund the rest instead."),
        operations.LineGone: _("The line is gone or has another SIM: refund it instead."),
        machine.OpenRecharge: _("Another recharge of the line is under way: wait for its end."),
        machine.LostRace: _MOVED,
    },
)
SETTLE = Act(
    verb="settle-elsewhere",
    label=_("Settled elsewhere"),
    explanation=_(
        "For what you have put right at the rail or the carrier: it leaves the front page. No"
        " money moves, and the recharge stays as it is."
    ),
    permission="billing.review_recharge",
    is_legal=operations.is_settled_elsewhere,
    run=lambda recharge, *, actor, reason, at: operations.settle_elsewhere(
        recharge=recharge, actor=actor, at=at
    ),
    refusals={operations.NothingToSettle: _("It has been settled already.")},
)
ACTS = (ASK, settling.SAY, APPROVE, REJECT, CANCEL, REDELIVER, SETTLE, REFUND)
