"""Why a rule did or did not charge: the words for every `Decision.code`."""

from django.utils.translation import gettext_lazy as _

from billing.words.figures import Phrasing
from billing.words.figures import told as _told

DECISIONS: dict[str, Phrasing] = {
    "charge": Phrasing(
        titles=(_("Recharging {face}"), _("Recharging")),
        parts=(
            (
                _(
                    "At the usual pace the balance runs out on {runs_out_at}, and the payment"
                    " method must be told before that, so {face} is on its way."
                ),
                _("The balance of {low_balance} is below {low_threshold}, so {face} is recharged."),
                _("A recharge of {face} was due, and has been started."),
                _("A recharge was due, and has been started."),
            ),
        ),
    ),
    "merged": _told(
        _("Joined with another recharge"),
        _("Due at the same time as {other_trigger}: one recharge serves both."),
        _("Due at the same time as another one: one recharge serves both."),
    ),
    "cooling_down": _told(
        _("No recharge: cooling down"),
        _(
            "The balance of {low_balance} is below {low_threshold}, but the last recharge has just"
            " arrived; none again before {until}."
        ),
        _("The last recharge has just arrived; none again before {until}."),
        _("The last recharge has just arrived; there is a short wait before the next."),
    ),
    "open_recharge": _told(
        _("No recharge: one is under way"),
        _(
            "The balance of {low_balance} is below {low_threshold}, but a recharge of this line is"
            " under way; it is looked at again when that one has ended."
        ),
        _("A recharge of this line is under way; it is looked at again when that one has ended."),
    ),
    "cap_charge": _told(
        _("No recharge: over the limit for one charge"),
        _("A charge of {face} is more than the {cap} you allow at once; nothing was taken."),
        _("The amount is more than you allow at once; nothing was taken."),
    ),
    "cap_day": _told(
        _("No recharge: daily limit reached"),
        _(
            "The balance of {low_balance} is below {low_threshold}, but you allow {cap_count} a"
            " day; it is looked at again tomorrow."
        ),
        _("You allow {cap_count} a day, and today's is used up; nothing was taken."),
        _("Today's limit is used up; nothing was taken."),
    ),
    "cap_month": _told(
        _("No recharge: monthly limit reached"),
        _(
            "The balance of {low_balance} is below {low_threshold}, but {spent} of this month's"
            " {cap} for the line is used, and {face} more would exceed it."
        ),
        _(
            "{spent} of this month's {cap} for the line is used, and {face} more would exceed it;"
            " nothing was taken."
        ),
        _("This month's limit for the line would be exceeded; nothing was taken."),
    ),
    "cap_binding_month": _told(
        _("No recharge: the payment method's monthly limit reached"),
        _(
            "{spent} of this month's {cap} for the payment method is used, and {face} more would"
            " exceed it; nothing was taken."
        ),
        _("This month's limit for the payment method would be exceeded; nothing was taken."),
    ),
    "cap_owner_month": _told(
        _("No recharge: your monthly limit reached"),
        _(
            "{spent} of this month's {cap} for all your lines is used, and {face} more would exceed"
            " it; nothing was taken."
        ),
        _("This month's limit for all your lines would be exceeded; nothing was taken."),
    ),
    "skipped_by_owner": _told(
        _("No recharge: you skipped this one"),
        _("You skipped this charge of {face}; the following ones stay as planned."),
        _("You skipped this charge; the following ones stay as planned."),
    ),
    "paused_by_owner": _told(
        _("No recharge: paused by you"),
        _("You have paused auto-recharge until {until}; nothing was taken."),
        _("You have paused auto-recharge; nothing was taken."),
    ),
    "paused_by_system": _told(
        _("No recharge: auto-recharge is paused"),
        _(
            "The balance of {low_balance} is below {low_threshold}, but auto-recharge is paused"
            " until you have looked at it."
        ),
        _("Auto-recharge is paused until you have looked at it; nothing was taken."),
    ),
    "missed": _told(
        _("Charge missed"),
        _(
            "The charge planned for {at} could not be made in time. It is not made up for; the"
            " following ones stay as planned."
        ),
        _(
            "A planned charge could not be made in time. It is not made up for; the following ones"
            " stay as planned."
        ),
    ),
    "notice_not_sent": _told(
        _("No recharge: you could not be told before"),
        _(
            "A charge of {face} must be announced to you first, and that could not be done; nothing"
            " was taken."
        ),
        _("The charge must be announced first, and that could not be done; nothing was taken."),
    ),
    "reading_stale": _told(
        _("No recharge yet: the balance is too old"),
        _(
            "The balance of {balance} was reported on {observed_at}, too long ago to charge by; the"
            " carrier is asked first."
        ),
        _("The last known balance is too old to charge by; the carrier is asked first."),
    ),
    "no_reading": _told(
        _("No recharge yet: the balance is not known"),
        _("The carrier has not reported a balance yet; it is asked first."),
    ),
    "max_balance": _told(
        _("No recharge: the balance would be too large"),
        _("With {face} more the line would hold over {cap}, the most its carrier allows."),
        _("The line would hold over {cap}, the most its carrier allows; nothing was taken."),
        _("The line would hold more than its carrier allows; nothing was taken."),
    ),
    "falls_short": _told(
        _("One recharge is not enough"),
        _("Even {face}, the most your limits allow at once, leaves the balance below {threshold}."),
        _("Even the most your limits allow at once leaves the balance too low."),
    ),
    "binding_missing": _told(
        _("No recharge: no payment method"),
        _("No payment method is chosen for this line. Choose one to go on."),
    ),
    "binding_not_active": _told(
        _("No recharge: the payment method is not active"),
        _("The agreement with {rail} is not active. Renew it or choose another payment method."),
        _("The payment agreement is not active. Renew it or choose another payment method."),
    ),
    "binding_paused": _told(
        _("No recharge: the payment method is paused"),
        _("Too many payments were declined, so this payment method rests until you resume it."),
    ),
    "rail_disabled": _told(
        _("No recharge: the payment method is switched off"),
        _("Payment through {rail} is switched off at the moment; nothing was taken."),
        _("This way of paying is switched off at the moment; nothing was taken."),
    ),
    "line_not_active": _told(
        _("Auto-recharge paused: the line is not active"),
        _("The carrier says that this line is not active, so nothing is charged for it."),
    ),
    "sim_changed": _told(
        _("Auto-recharge paused: the SIM has changed"),
        _("This line has another SIM now. Confirm the plan again if the line is still yours."),
    ),
    "zone_unknown": _told(
        _("Auto-recharge paused: the line's time zone is not known"),
        _(
            "Nothing is charged until our staff have put the line's time zone right; then look at"
            " the plan's times and confirm it again."
        ),
    ),
    "above_threshold": _told(
        _("No recharge needed"),
        _("The balance of {effective} is not below {threshold}."),
        _("The balance of {balance} is not below {threshold}."),
        _("The balance is not below your limit."),
    ),
}
