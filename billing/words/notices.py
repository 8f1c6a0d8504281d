"""The words of every notice: a title that says amount, cause and result, and what follows."""

from django.utils.translation import gettext_lazy as _

from billing.models import NoticeKind
from billing.words.figures import Phrasing

_STOP_ANY_TIME = (_("You can change, skip, pause or stop it in Keepline at any time."),)
_SAVED = (_("An offer saved you {discount}."),)
_BONUS = (_("An offer brought {bonus} on top."),)
# Both are set by `billing.notices.telling`, from the facts' code and from whether the rule is on.
_OUTLOOK = ("{outlook}",)
_REASON = ("{reason}",)

IF_ON = _("Auto-recharge is on and acts by its plan.")
IF_OFF = _("Auto-recharge is not on for this line, so nothing is recharged by itself.")

PHRASINGS: dict[str, Phrasing] = {
    NoticeKind.LOW_BALANCE: Phrasing(
        titles=(
            _("Balance {balance}, below {threshold}: {line}"),
            _("Balance low: {line}"),
            _("Balance low"),
        ),
        parts=(
            (
                _("The balance of {line} was {balance} on {observed_at}, below {threshold}."),
                _("The balance of {line} is {balance}, below {threshold}."),
                _("The balance of {line} is low."),
                _("The balance of a line is low."),
            ),
            _OUTLOOK,
            _REASON,
        ),
    ),
    NoticeKind.UPCOMING_CHARGE: Phrasing(
        titles=(
            _("{face} will be charged on {at_day}: {line}"),
            _("A charge is coming: {line}"),
            _("A charge is coming"),
        ),
        parts=(
            (
                _("In {days}, on {at}, {face} will be taken through {rail} to recharge {line}."),
                _("On {at}, {price} will be taken through {rail} to recharge {line} with {face}."),
                _("On {at}, {face} will be taken to recharge {line}."),
                _("As your plan says, a line will be recharged soon."),
            ),
            (_("An offer takes {discount} off, if it still holds then."),),
            (_("An offer brings {bonus} on top, if it still holds then."),),
            (
                _(
                    "To cancel it, open the page of this recharge in Keepline before {cancel_until}"
                    " and choose “Cancel this recharge”: nothing is taken then."
                ),
                _("Until then you can skip or change this charge in Keepline."),
            ),
        ),
    ),
    NoticeKind.RECHARGED: Phrasing(
        titles=(_("{face} recharged: {line}"), _("Recharged: {line}"), _("Recharged")),
        parts=(
            (
                _("{price} was taken through {rail}, and {face} has arrived on {line}."),
                _("{price} was taken, and {face} has arrived on {line}."),
                _("{face} has arrived on {line}."),
                _("A line has been recharged."),
            ),
            (
                _("The cause was a balance of {low_balance}, below {low_threshold}."),
                _("It was planned for {local_date}."),
            ),
            _SAVED,
            _BONUS,
        ),
    ),
    NoticeKind.NOT_RECHARGED: Phrasing(
        titles=(_("{reason_title}: {line}"), _("No recharge: {line}"), _("No recharge")),
        parts=(
            (
                "{reason}",
                _("{line} was not recharged; nothing was taken."),
                _("A line was not recharged; nothing was taken."),
            ),
        ),
    ),
    NoticeKind.RETRYING: Phrasing(
        titles=(
            _("{price} declined, will be tried again: {line}"),
            _("Payment declined, will be tried again: {line}"),
            _("Payment declined, will be tried again"),
        ),
        parts=(
            (
                _(
                    "{price} for {line} was declined through {rail}, because {decline_message};"
                    " nothing was taken."
                ),
                _("{price} for {line} was declined through {rail}, and nothing was taken."),
                _("{price} for {line} was declined, and nothing was taken."),
                _("A payment was declined, and nothing was taken."),
            ),
            (_("It will be tried again on {until}."), _("It will be tried again.")),
            (
                _(
                    "See that the account has enough money, or choose another payment method in"
                    " Keepline."
                ),
            ),
        ),
    ),
    NoticeKind.CONFIRMING: Phrasing(
        titles=(
            _("Confirming a payment of {price}: {line}"),
            _("Confirming a payment: {line}"),
            _("Confirming a payment"),
        ),
        parts=(
            (
                _("There is no answer yet about {price} for {line} through {rail}."),
                _("There is no answer yet about a payment for {line}."),
                _("There is no answer yet about a payment."),
            ),
            (_("It is asked for until it is certain, and nothing is charged twice."),),
        ),
    ),
    NoticeKind.ACTION_REQUIRED: Phrasing(
        titles=(
            _("Confirm the payment of {price}: {line}"),
            _("Confirm a payment: {line}"),
            _("Confirm a payment"),
        ),
        parts=(
            (
                _("{price} for {line} is taken only once you have confirmed it."),
                _("A payment is taken only once you have confirmed it."),
            ),
            (_("Open Keepline and follow the link of this recharge."),),
        ),
    ),
    NoticeKind.REFUNDED: Phrasing(
        titles=(
            _("{amount} refunded: {line}"),
            _("{price} refunded: {line}"),
            _("Refunded: {line}"),
            _("Refunded"),
        ),
        parts=(
            (
                _("{amount} for {line} has been given back through {rail}."),
                _("{amount} for {line} has been given back to you."),
                _("{price} for {line} has been given back to you."),
                _("A payment has been given back to you."),
            ),
        ),
    ),
    NoticeKind.REFUND_FAILED: Phrasing(
        titles=(
            _("Your refund of {amount} came back to us: {line}"),
            _("Your refund came back to us: {line}"),
            _("Your refund came back to us"),
        ),
        parts=(
            (
                _("{amount} for {line} that we gave back to you did not reach you."),
                _("What we gave back to you for {line} did not reach you."),
                _("What we gave back to you did not reach you."),
            ),
            (
                _(
                    "The money is with us and is still yours. We find another way to give it to"
                    " you, and you will be told; you need not do anything."
                ),
            ),
        ),
    ),
    NoticeKind.REVERSED: Phrasing(
        titles=(
            _("{face} reversed by the carrier: {line}"),
            _("Reversed by the carrier: {line}"),
            _("Reversed by the carrier"),
        ),
        parts=(
            (
                _("The carrier has taken {face} off {line} again."),
                _("The carrier has taken the credit off {line} again."),
                _("The carrier has taken a credit off a line again."),
            ),
            (_("It is being put right, and you will be told how. You need not pay again."),),
        ),
    ),
    NoticeKind.RULE_ON: Phrasing(
        titles=(_("Auto-recharge on: {line}"), _("Auto-recharge on")),
        parts=(
            (
                _("{line} is now recharged by itself through {rail}, at most {cap} a month."),
                _("{line} is now recharged by itself."),
                _("A line is now recharged by itself."),
            ),
            (_("The next planned charge of {face} is on {at}."),),
            _STOP_ANY_TIME,
        ),
    ),
    NoticeKind.RULE_OFF: Phrasing(
        titles=(_("Auto-recharge off: {line}"), _("Auto-recharge off")),
        parts=(
            (
                _("{line} is no longer recharged by itself; nothing more will be taken for it."),
                _("A line is no longer recharged by itself; nothing more will be taken for it."),
            ),
            _REASON,
            (_("Only you can turn it on again, on its confirmation page."),),
        ),
    ),
    NoticeKind.RULE_PAUSED: Phrasing(
        titles=(_("Auto-recharge paused: {line}"), _("Auto-recharge paused")),
        parts=(
            (
                "{reason}",
                _("Auto-recharge of {line} is paused; nothing is taken meanwhile."),
                _("Auto-recharge is paused; nothing is taken meanwhile."),
            ),
            (_("Open Keepline to see what to do."),),
        ),
    ),
    NoticeKind.BINDING_ENDED: Phrasing(
        titles=(_("Payment agreement ended: {rail}"), _("Payment agreement ended")),
        parts=(
            (
                _("The agreement with {rail} has ended; nothing more is taken through it."),
                _("A payment agreement has ended; nothing more is taken through it."),
            ),
            (
                _(
                    "Auto-recharge of {rules} has stopped. Choose another payment method in"
                    " Keepline to go on."
                ),
                _("Choose another payment method in Keepline where one is needed."),
            ),
        ),
    ),
    NoticeKind.BINDING_EXPIRING: Phrasing(
        titles=(
            _("Payment agreement ends in {days}: {rail}"),
            _("Payment agreement ends soon: {rail}"),
            _("Payment agreement ends soon"),
        ),
        parts=(
            (
                _("The agreement with {rail} ends on {until_day}."),
                _("The agreement with {rail} ends soon."),
                _("A payment agreement ends soon."),
            ),
            (
                _(
                    "Auto-recharge that uses it stops then. Renew it in Keepline, or choose"
                    " another payment method."
                ),
            ),
        ),
    ),
    NoticeKind.MISSED: Phrasing(
        titles=(
            _("{face} not charged, the time has passed: {line}"),
            _("Charge missed: {line}"),
            _("Charge missed"),
        ),
        parts=(
            (
                "{reason}",
                _("The charge planned for {at} could not be made in time; nothing was taken."),
                _("A planned charge could not be made in time; nothing was taken."),
            ),
            (_("You can recharge by hand in Keepline."),),
        ),
    ),
    NoticeKind.CAP_NEAR: Phrasing(
        titles=(
            _("{spent} of {cap} used this month: {line}"),
            _("{spent} of {cap} used this month"),
            _("Monthly limit nearly reached"),
        ),
        parts=(
            (
                _("Recharges have used {spent} of this month's limit of {cap}."),
                _("Recharges have used most of this month's limit."),
            ),
            (
                _(
                    "Once it is reached, nothing more is taken until next month. You can change it"
                    " in Keepline."
                ),
            ),
        ),
    ),
    NoticeKind.CAP_REACHED: Phrasing(
        titles=(
            _("{reason_title}: {line}"),
            _("Limit reached, no recharge: {line}"),
            _("Limit reached"),
        ),
        parts=(
            (
                "{reason}",
                _("The limit of {cap} you set is reached; nothing more is taken."),
                _("A limit you set is reached; nothing more is taken."),
            ),
            (_("You can change the limit in Keepline, or recharge by hand."),),
        ),
    ),
    NoticeKind.NUMBER_MOVED: Phrasing(
        titles=(
            _("Number verified by someone else: {line}"),
            _("Number verified by someone else"),
        ),
        parts=(
            (
                _(
                    "Someone else has just verified the number of {line} with a code sent to it,"
                    " so this line has ended for you."
                ),
                _(
                    "Someone else has just verified the number of a line of yours with a code sent"
                    " to it, so this line has ended for you."
                ),
            ),
            (_("Its auto-recharge of {face} is off, and nothing more is taken for it."),),
            (
                _(
                    "If the number is still yours, ask your carrier at once who has it; then add"
                    " the line again and verify it."
                ),
            ),
        ),
    ),
    NoticeKind.FALLS_SHORT: Phrasing(
        titles=(
            _("{face} is not enough: {line}"),
            _("One recharge is not enough: {line}"),
            _("One recharge is not enough"),
        ),
        parts=(
            (
                _("Even {face}, the most your limits allow at once, leaves {line} low."),
                _("Even the most your limits allow at once leaves the balance low."),
            ),
            (_("Raise the limits in Keepline, or recharge by hand."),),
        ),
    ),
}
