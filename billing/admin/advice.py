"""What a person does next about a recharge, by what is wrong with it (docs/operations.md)."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.models import Recharge
from billing.states import RechargeState as S

Text = str | Promise

_UNDELIVERABLE = _(
    "It is paid, and the carrier will not credit it. Credit it again if the carrier is right by"
    " now, or ask for a refund."
)
_CASES: dict[str, Text] = {
    "undeliverable": _UNDELIVERABLE,
    "merchant_limit": _(
        "Our own limit at the rail is used up; the payer did nothing wrong. Have the limit raised:"
        " it is tried again by itself."
    ),
    "payment_overdue": _(
        "The rail still waits, a day beyond its normal, and would not have it called off. Ask the"
        " rail's support; it is asked every hour meanwhile, and goes on by itself."
    ),
    "payment_unknown": _(
        "The rail gave no usable answer for a week. Look the payment up on its own pages by our"
        " reference below; once it answers properly, ask again. If it never does, say what it did:"
        " a second person confirms it. Never charge by another way before."
    ),
    "delivery_unknown": _(
        "The carrier cannot say whether it credited the line. Ask the carrier about our order"
        " number below, then ask again here. If it never says, say here what it did: a second"
        " person confirms it, and the line is credited or the money goes back."
    ),
    "line_suspended": _(
        "It is paid, and the carrier has suspended the line. Ask the carrier whether it comes back;"
        " it is looked at every hour, credited when it is active, and given back by itself after"
        " 30 days or as soon as the line is gone."
    ),
    "crashed": _(
        "Three workers died over it. Read the log and mend the cause first; then let it go on, or"
        " reject it if nothing was sent."
    ),
    "amount_differs": _(
        "The rail took another amount or currency than agreed, and nothing is credited. Give"
        " all of it back on the rail's own pages, then say here what the rail did. A second"
        " person confirms it, and the recharge ends. Of a refund: say how much it gave back;"
        " what is missing follows by itself."
    ),
    "config": _(
        "The refusal is on our side: a key, a product, a token. Mend the setting; it is tried"
        " again by itself every few minutes. A carrier that is gone for good will not credit:"
        " say so here, and once a second person confirms it the money goes back."
    ),
    "action_expired": _(
        "The payer did not confirm within a day. Close the payment at the rail, then ask again. If"
        " the rail never says that it is closed, say here what it did."
    ),
    "late_payment": _(
        "Money was taken after the recharge had ended, and the line gets nothing for it. Give it"
        " back on the rail's own pages, then say here what the rail did. A second person confirms"
        " it, and both movements are booked."
    ),
    "disputed": _(
        "The payer's bank took the money back. Answer the bank in time, with this page as"
        " evidence. Won: this goes away by itself. Lost: say here what the bank keeps; a second"
        " person confirms it. Where the line has its credit, it is booked as a loss; where it"
        " has none, the recharge ends, and a refund that stood still ends with it. The payment"
        " method and its rules stay paused until you let it be charged again; a refund on top"
        " would pay twice. Where the books have none of it, because it was never paid, see to it"
        " at the rail, and say that it is settled elsewhere."
    ),
    "credit_differs": _(
        "The carrier credited another amount than was paid for. Settle the rest with the carrier"
        " and say here that it is settled, or refund the recharge."
    ),
    "refund_refused": _(
        "The rail refused the refund six times. Usually the merchant's balance is empty: fill"
        " it, then ask about the refund again; or give the refund up and credit the line"
        " instead; or pay its payer by another way, and say so here."
    ),
    "refund_unknown": _(
        "Nobody could say for a week whether the money went back. Look the refund up at the"
        " rail by its reference below, then ask about it again. If that never helps, say here"
        " what was done: a second person confirms it."
    ),
    "refund_failed": _(
        "A refund had succeeded and came back to us; its payer was told. Ask about the refund"
        " again, and it is sent anew; or give it up and credit the line instead; or pay its"
        " payer by another way, and say so here."
    ),
    "late_refund": _(
        "The rail gave the money back although its refund had been given up. Look it up at the"
        " rail, then say here whether it was given back; a second person confirms it, and it is"
        " booked."
    ),
    "late_reversal": _(
        "The carrier's statement lists that it took a credit back, though the refund for it had"
        " ended as refused. Look it up at the carrier, then say here whether it did; a second"
        " person confirms it, and the money goes back."
    ),
    "loss_returned": _(
        "A dispute that is in the books as lost was won after all. When the money is on the"
        " rail's statement, say here how much came back; a second person confirms it, and it is"
        " booked."
    ),
}
_STATE: dict[str, Text] = {
    S.REVIEW: _("Approve it, and it is charged once at the amount agreed on; or reject it."),
    S.UNDELIVERABLE: _UNDELIVERABLE,
    S.REVERSED: _("The carrier took the credit back. Credit it again, or ask for a refund."),
    S.PAYMENT_UNKNOWN: _(
        "Nothing to do yet: the rail is asked again by itself, at the time below. Until it answers,"
        " nothing else is charged for this line."
    ),
    S.DELIVERY_UNKNOWN: _(
        "Nothing to do yet: the carrier is asked again by itself, at the time below. The money is"
        " neither sent twice nor given back meanwhile."
    ),
    S.ACTION_REQUIRED: _("The payer has to confirm; they were told. Nothing is taken before."),
    S.DECLINED: _("Nothing to do: it is tried again at the time below, and the payer was told."),
}


def on(code: str) -> Text:
    """What to do about a case of `code`."""
    return _CASES[code]


def of(recharge: Recharge) -> Text:
    """What to do next, where no case says it; "" where nothing is to be done."""
    return "" if recharge.attention else _STATE.get(recharge.state, "")
