"""A difference in words: what our books say, what theirs say, and what to do about it."""

from typing import NamedTuple

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import money
from billing.admin import words
from billing.models import Difference, DifferenceKind
from billing.states import AttemptState, RefundState
from lines.models import DeliveryState

Text = str | Promise
K = DifferenceKind

WHAT: dict[str, Text] = {
    "payment": gettext_lazy("a payment"),
    "refund": gettext_lazy("a refund"),
    "credit": gettext_lazy("a credit to the line"),
    "reversal": gettext_lazy("a credit taken back"),
    "dispute": gettext_lazy("money taken back for the payer"),
    "dispute_won": gettext_lazy("disputed money given us again"),
    "refund_fail": gettext_lazy("a refund that came back"),
    "fee": gettext_lazy("a fee"),
}
_STATES = {
    "payment": AttemptState,
    "refund": RefundState,
    "credit": DeliveryState,
    "reversal": DeliveryState,
}
_ADVICE: dict[str, Text] = {
    K.MISSING_OURS: gettext_lazy(
        "Look the reference up at their side. If it is not one of ours, another system uses the"
        " same account there; if it is, tell engineering at once: every reference of ours is kept"
        " before it is sent."
    ),
    K.MISSING_THEIRS: gettext_lazy(
        "Ask them about this reference. While they cannot show it, the money or the credit may"
        " never have moved."
    ),
    K.AMOUNT: gettext_lazy(
        "Compare the two figures with the evidence of the recharge; settle the rest with them, or"
        " by a refund."
    ),
    K.CURRENCY: gettext_lazy("No fee was booked. Settle with them which currency really moved."),
    K.FEE: gettext_lazy(
        "What they kept is booked. Compare the rate on file with the contract, then ask them for"
        " the difference."
    ),
    K.STATUS: gettext_lazy(
        "They have been asked again, and what they answer decides; this closes by itself when"
        " both agree. If it stays, look at the recharge."
    ),
    K.DUPLICATE: gettext_lazy(
        "With two numbers of theirs it was done twice: have one of them given back. With the same"
        " number it is only written twice."
    ),
    K.ANOTHER_LINE: gettext_lazy(
        "Ask the carrier whose balance it is on. What went to another number is taken back there"
        " and credited anew; give the payer the money back where that cannot be."
    ),
    K.REFUND_UNMATCHED: gettext_lazy(
        "If it was made by hand at their side, say who made it and why. If it is ours alone, the"
        " payer may not have the money yet: ask them."
    ),
    K.DISPUTE: gettext_lazy(
        "Answer it at the rail in time. The payment method should not be charged again until it is"
        " settled."
    ),
    K.UNREADABLE: gettext_lazy(
        "Look at this line of the statement at their side; the other lines are compared. Fetch the"
        " statement again when they have mended it."
    ),
}


class Told(NamedTuple):
    """The two sides and the advice, in the reader's language."""

    ours: str
    theirs: str
    advice: str


def told(one: Difference) -> Told:
    """With its statement selected."""
    return Told(_ours(one), _theirs(one), str(_ADVICE[one.kind]))


def amount(amount_minor: int | None, currency: str) -> str:
    """An amount; a statement may name a currency that there is not."""
    if amount_minor is None:
        return "-"
    try:
        return words.amount(amount_minor, currency)
    except money.UnknownCurrency:
        return f"{amount_minor} {currency}"


def _ours(one: Difference) -> str:
    if one.kind == K.UNREADABLE:
        return _of_a_row_unread(one)
    facts = {
        "what": WHAT.get(one.line_kind, one.line_kind),
        "amount": amount(one.our_amount_minor, one.our_currency),
    }
    if one.kind == K.FEE and one.our_amount_minor is None:
        return _on_the_right_side(one)
    if one.kind == K.FEE:
        return _("By the rate on file they would keep %(amount)s.") % facts
    if one.our_state == "booked":
        return _("Our books have %(what)s of %(amount)s.") % facts
    if one.kind == K.DISPUTE:
        return _("No message of theirs has told of it.")
    if not one.our_state:
        return _("We have nothing under this reference.")
    return _("We have it as “%(state)s”, and nothing of it in our books.") % {"state": _state(one)}


def _of_a_row_unread(one: Difference) -> str:
    if one.our_ref:
        return _("It names a reference of ours.")
    return _("We do not know whether it is about anything of ours.")


def _on_the_right_side(one: Difference) -> str:
    if one.line_kind == "refund":
        return _("With a refund they would give a fee back, not take one.")
    return _("With a payment they would take a fee, not give one back.")


def _state(one: Difference) -> str:
    states = _STATES.get(one.line_kind)
    known = dict(states.choices) if states else {}
    return str(known.get(one.our_state, one.our_state))


def _theirs(one: Difference) -> str:
    if one.is_ours_alone:
        day = date_format(one.statement.day, "DATE_FORMAT")
        return _("Neither their statement of %(day)s nor those around it have it.") % {"day": day}
    facts = {
        "line": one.line_number,
        "what": WHAT.get(one.line_kind, one.line_kind),
        "amount": amount(one.their_amount_minor, one.their_currency),
    }
    if one.kind == K.UNREADABLE:
        return _("Line %(line)s cannot be read.") % facts
    if one.kind == K.FEE:
        return _("Line %(line)s: they kept %(amount)s.") % facts
    if one.kind == K.ANOTHER_LINE:
        told = _("Line %(line)s: %(what)s of %(amount)s, for another number than the line's.")
        return told % facts
    return _("Line %(line)s: %(what)s of %(amount)s.") % facts
