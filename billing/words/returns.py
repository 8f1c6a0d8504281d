"""Of money and credit that went otherwise than the machine could see: what people found out, and
what came back."""

from django.utils.translation import gettext_lazy as _

from billing.words.figures import Phrasing
from billing.words.figures import told as _told

RETURNS: dict[str, Phrasing] = {
    "settled_credited": _told(
        _("Credit confirmed"),
        _("Our staff has made sure with the carrier that {face} is on the line."),
        _("Our staff has made sure with the carrier that the credit is on the line."),
    ),
    "settled_uncredited": _told(
        _("Not credited, and given back"),
        _(
            "Our staff has made sure that the carrier did not credit {face}. You are given back"
            " what you paid."
        ),
        _("Our staff has made sure that nothing was credited. You are given back what you paid."),
    ),
    "dispute_lost": _told(
        _("Given back by your bank"),
        _("Your bank has given you {amount} back, so nothing of it is credited."),
        _("Your bank has given the money back to you."),
    ),
    "refund_failed": _told(
        _("The refund came back to us"),
        _(
            "{amount} that we gave back to you did not reach you and came back to us. It is still"
            " yours: we find another way to give it to you."
        ),
        _(
            "Money that we gave back to you did not reach you and came back to us. It is still"
            " yours: we find another way to give it to you."
        ),
    ),
    "refund_made": _told(
        _("The refund was made after all"),
        _("A refund that had been given up was made after all."),
    ),
    "late_refund": _told(
        _("Given back after all"),
        _("{rail} gave {price} back although its refund had been given up. A person looks at it."),
        _("Money went back although its refund had been given up. A person looks at it."),
    ),
    "late_reversal": _told(
        _("Taken back by the carrier after all"),
        _(
            "The carrier's statement says that it has taken back a credit though the refund for it"
            " had ended without. A person looks at it."
        ),
    ),
    "loss_returned": _told(
        _("A lost dispute was won after all"),
        _("{rail} gives us disputed money again that is in the books as lost."),
        _("Disputed money that is in the books as lost is given us again."),
    ),
}
