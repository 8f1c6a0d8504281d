"""What became of a recharge, and what a person must look at: `Recharge.reason` and `attention`.

The two share some codes, and the words then serve both a subscriber and an operator.
"""

from django.utils.translation import gettext_lazy as _

from billing.words.figures import Phrasing
from billing.words.figures import told as _told
from billing.words.returns import RETURNS

PROGRESS: dict[str, Phrasing] = {
    "opened": _told(
        _("Recharge started"),
        _("A recharge of {face} has been started."),
        _("The recharge has been started."),
    ),
    "approved": _told(
        _("Checked and released"),
        _("Our staff has checked this recharge; {price} is charged now."),
        _("Our staff has checked this recharge; it is charged now."),
    ),
    "announced": _told(
        _("Announced"),
        _("The charge of {price} through {rail} is announced and will be made on {at}."),
        _("The charge is announced and will be made on {at}."),
        _("The charge is announced, and will be made later."),
    ),
    "announcing": _told(
        _("Being announced"),
        _("The charge of {price} is being announced through {rail}; nothing is taken before."),
        _("The charge is being announced; nothing is taken before."),
    ),
    "notice_not_out": _told(
        _("Waiting until you are told"),
        _(
            "The message that announces the charge of {price} could not be delivered yet; nothing"
            " is taken before it is."
        ),
        _("The message that announces the charge could not be delivered; nothing is taken before."),
    ),
    "binding_busy": _told(
        _("Waiting for its turn"),
        _(
            "{rail} takes one charge of an agreement at a time, and another of yours is under way."
            " This one follows; it is not lost."
        ),
        _("This agreement takes one charge at a time. This one follows; it is not lost."),
    ),
    "fresh_agreement": _told(
        _("Waiting for its day"),
        _(
            "In an agreement's first hours {rail} would take the money at once; this charge is sent"
            " on {until}, so that it is taken on the day planned."
        ),
        _("Sent a little later, so that the money is taken on the day planned and not before."),
    ),
    "rail_deferred": _told(
        _("Waiting for the payment method"),
        _("Payment through {rail} is held back for maintenance. The charge waits, it is not lost."),
        _("This way of paying is held back for maintenance. The charge waits, it is not lost."),
    ),
    "carrier_deferred": _told(
        _("Waiting for the carrier"),
        _("Credits at {carrier} are held back for maintenance. The credit waits, it is not lost."),
        _("The carrier's credits are held back for maintenance. The credit waits, it is not lost."),
    ),
    "outside_hours": _told(
        _("Waiting for the hours of payment"),
        _("Charges are taken at certain hours only; this one will be made on {until}."),
        _("Charges are taken at certain hours only; this one follows when they begin."),
    ),
    "sent": _told(
        _("Charging"),
        _("The charge of {price} has been sent to {rail}."),
        _("The charge has been sent; the answer is awaited."),
    ),
    "not_sent": _told(
        _("Not sent yet"),
        _("The charge of {price} was not sent in time; nothing was taken, and it is sent now."),
        _("The charge was not sent in time; nothing was taken, and it is sent now."),
    ),
    "pending": _told(
        _("Payment pending"),
        _("The charge of {price} through {rail} is accepted, and completes by {until}."),
        _("The charge is accepted, and completes later; nothing is sent twice."),
    ),
    "no_answer": _told(
        _("Confirming the payment"),
        _("There is no answer about {price} yet. It is asked for again, and never charged twice."),
        _("There is no answer about the payment yet. It is asked for, and never charged twice."),
    ),
    "rail_spoke": _told(
        _("Confirming the payment"),
        _("{rail} has spoken of {price} after all. It is asked about before anything else."),
        _("The rail has spoken of the payment after all. It is asked about before anything else."),
    ),
    "confirmed_not_taken": _told(
        _("Confirmed: nothing was taken"),
        _("After asking again it is certain that {price} was not taken; it will be tried again."),
        _("After asking again it is certain that nothing was taken; it will be tried again."),
    ),
    "paid": _told(
        _("Paid"),
        _("{price} has been paid; the credit of the line follows."),
        _("The payment is complete; the credit of the line follows."),
    ),
    "accepted": _told(
        _("Credit pending"),
        _("{carrier} has accepted the credit of {face}; it arrives soon."),
        _("The carrier has accepted the credit; it arrives soon."),
    ),
    "carrier_retry": _told(
        _("Crediting again"),
        _("The carrier could not credit {face} just now; it is tried again on {until}."),
        _("The carrier could not credit the line just now; it is tried again."),
    ),
    "carrier_config": _told(
        _("Waiting for a repair on our side"),
        _("{carrier} refused us, not the line: {face} waits until that is repaired."),
        _("The carrier refused us, not the line: the credit waits until that is repaired."),
    ),
    "carrier_no_answer": _told(
        _("Confirming the credit"),
        _("The carrier has not answered about {face} yet. It is asked, and nothing is sent twice."),
        _("The carrier has not answered about the credit. It is asked, and nothing is sent twice."),
    ),
    "confirmed_not_credited": _told(
        _("Confirmed: not credited"),
        _("After asking the carrier it is certain that {face} has not arrived; it is sent again."),
        _("After asking the carrier it is certain that nothing has arrived; it is sent again."),
    ),
    "credited": _told(
        _("Credited"),
        _("{price} was paid through {rail}; the carrier credited it within {took}."),
        _("{face} has arrived on the line."),
        _("The credit has arrived on the line."),
    ),
}

SETBACKS: dict[str, Phrasing] = {
    "soft_decline": _told(
        _("Declined, will be tried again"),
        _("{price} was declined: {decline_message}. Nothing was taken; next try on {until}."),
        _("{price} was declined. Nothing was taken; the next try is on {until}."),
        _("{price} was declined: {decline_message}. Nothing was taken; it will be tried again."),
        _("The payment was declined. Nothing was taken; it will be tried again."),
    ),
    "hard_decline": _told(
        _("Declined"),
        _("{price} was declined: {decline_message}. Nothing was taken; check the payment method."),
        _("{price} was declined for good; nothing was taken. Check the payment method."),
        _("The payment was declined for good; nothing was taken. Check the payment method."),
    ),
    "needs_confirmation": _told(
        _("Confirm the payment"),
        _("{price} is taken only once you have confirmed it on the page of {rail}."),
        _("The payment is taken only once you have confirmed it."),
    ),
    "not_confirmed": _told(
        _("Not charged: not confirmed"),
        _("The bank wanted {price} confirmed, and it was not. Nothing was taken."),
        _("The bank wanted the payment confirmed, and it was not. Nothing was taken."),
    ),
    "retries_exhausted": _told(
        _("Not charged: declined each time"),
        _(
            "{price} was declined each time it was tried, in the end because {decline_message};"
            " nothing was taken, and no try follows."
        ),
        _("{price} was declined each time it was tried; nothing was taken, and no try follows."),
        _("The payment was declined each time; nothing was taken, and no try follows."),
    ),
    "asked_to_wait": _told(
        _("The bank or the wallet asks to wait"),
        _("It wants no other try for {price} before {until}. Nothing was taken."),
        _("It wants no other try for a while. Nothing was taken."),
    ),
    "tries_spent": _told(
        _("This payment method was refused too often"),
        _("It was refused so often within {days} that {price} was not tried; nothing was taken."),
        _("It was refused so often that it is left alone for a while; nothing was taken."),
    ),
    "passed_over": _told(
        _("Trying the second payment method"),
        _("The first payment method was refused too often of late; {price} goes by the second."),
        _("The first payment method was refused too often of late; the second one is charged."),
    ),
    "fallback": _told(
        _("Trying the second payment method"),
        _(
            "The first payment method declined {price} because {decline_message}; the second one"
            " you allowed is charged."
        ),
        _("The first payment method declined {price}; the second one you allowed is charged."),
        _("The first payment method declined; the second one you allowed is charged."),
    ),
    "window_over": _told(
        _("Not charged: too late"),
        _("The time for this charge of {face} is over; nothing was taken."),
        _("The time for this charge is over; nothing was taken."),
    ),
    "carrier_rejected": _told(
        _("The carrier refused the credit"),
        _("The carrier refused to credit {face}. You are given back what you paid."),
        _("The carrier refused to credit the line. You are given back what you paid."),
    ),
    "reversed_by_carrier": _told(
        _("Reversed by the carrier"),
        _("The carrier has taken {face} off the line again. This is being put right."),
        _("The carrier has taken the credit off the line again. This is being put right."),
    ),
    "refund_requested": _told(
        _("Refund requested"),
        _("A refund of {amount} has been requested."),
        _("A refund has been requested."),
    ),
    "request_expired": _told(
        _("Refund not approved in time"),
        _("A refund was asked for, and nobody approved it within a week; no money has moved."),
    ),
    "refunded": _told(
        _("Refunded"),
        _("{amount} has been given back to you."),
        _("The payment has been given back to you."),
    ),
    "settled_taken": _told(
        _("Payment confirmed"),
        _("Our staff has made sure with {rail} that {price} was taken; it is credited now."),
        _("Our staff has made sure that the payment was taken; it is credited now."),
    ),
    "settled_not_taken": _told(
        _("Not charged"),
        _("Our staff has made sure with {rail} that nothing was taken for this recharge."),
        _("Our staff has made sure that nothing was taken for this recharge."),
    ),
    "settled_given_back": _told(
        _("Not recharged, and given back"),
        _("What {rail} took for this recharge was not as agreed; all of it was given back to you."),
        _("What was taken for this recharge was not as agreed; all of it was given back to you."),
    ),
    "canceled_by_owner": _told(
        _("Canceled by you"),
        _("You canceled this recharge of {face} before it was charged; nothing was taken."),
        _("You canceled this recharge before it was charged; nothing was taken."),
    ),
    "canceled_by_operator": _told(
        _("Canceled"),
        _("This recharge was canceled by our staff before it was charged; nothing was taken."),
    ),
    "rule_stopped": _told(
        _("Not charged: auto-recharge stopped"),
        _("Auto-recharge was stopped or paused before the charge; nothing was taken."),
    ),
    "method_changed": _told(
        _("Ended: another payment method was agreed to"),
        _(
            "You have agreed to another payment method since, so this charge of {price} is not"
            " made; what is due is charged as agreed now."
        ),
        _("Another payment method was agreed to since; nothing was taken."),
    ),
    "amount_changed": _told(
        _("Ended: another amount was agreed to"),
        _(
            "You have agreed to another amount since, so this charge of {price} is not made; what"
            " is due is charged as agreed now."
        ),
        _("Another amount was agreed to since; nothing was taken."),
    ),
    "trigger_gone": _told(
        _("Ended: no longer part of the plan"),
        _(
            "The plan agreed to since no longer asks for this recharge of {face}; nothing was"
            " taken."
        ),
        _("The plan agreed to since no longer asks for this recharge; nothing was taken."),
    ),
    "no_longer_low": _told(
        _("Ended: the balance is no longer low"),
        _(
            "The line has been topped up in the meantime and is no longer low, so {face} was not"
            " needed; nothing was taken."
        ),
        _("The line is no longer low; nothing was taken."),
    ),
    "validity_renewed": _told(
        _("Ended: the line no longer expires then"),
        _("The line's validity has changed in the meantime; {face} was not needed, nothing taken."),
        _("The line's validity has changed in the meantime; nothing was taken."),
    ),
    "binding_ended": _told(
        _("The payment agreement has ended"),
        _("The agreement with {rail} has ended; nothing more is taken through it."),
        _("The payment agreement has ended; nothing more is taken through it."),
    ),
    "number_moved": _told(
        _("Not charged: the number is someone else's"),
        _("Someone else has verified the number of this line; nothing was taken."),
    ),
    "line_gone": _told(
        _("Not charged: the line is not active"),
        _("The line is no longer active or has another SIM; nothing was taken."),
    ),
    "line_lost": _told(
        _("Paid, but the line is gone"),
        _(
            "The line is no longer yours, no longer active or has another SIM, so {face} is not"
            " credited. You are given back what you paid."
        ),
        _("The line is no longer what was agreed on. You are given back what you paid."),
    ),
    "line_suspended": _told(
        _("Waiting for the line"),
        _(
            "The carrier has suspended the line. {face} is credited when it is active again; if"
            " it does not come back within 30 days, you are given back what you paid."
        ),
        _("The carrier has suspended the line. What was paid is credited when it is back."),
    ),
    "crashed": _told(
        _("Stopped for a check"),
        _("Something went wrong on our side, so this waits until a person has checked it."),
    ),
    "breaker": _told(
        _("Paused after failed payments"),
        _("Three payments in a row were declined, so nothing more is tried until you resume it."),
    ),
}

ATTENTION: dict[str, Phrasing] = {
    "payment_unknown": _told(
        _("The payment's outcome is unknown"),
        _("Whether {price} was taken is still not known. A person asks; nothing is charged again."),
        _("Whether money was taken is still not known. A person asks; nothing is charged again."),
    ),
    "delivery_unknown": _told(
        _("The credit's outcome is unknown"),
        _("Whether {face} has arrived is still not known. A person asks; nothing is sent again."),
        _("Whether the credit has arrived is not known. A person asks; nothing is sent again."),
    ),
    "amount_differs": _told(
        _("The amount taken differs"),
        _("Another amount than {price} was taken. A person puts it right before anything goes on."),
        _("Another amount than agreed was taken. A person puts it right before anything goes on."),
    ),
    "config": _told(
        _("The connection needs repair"),
        _("The next step for {price} was refused for reasons on our side. A person repairs it."),
        _("The next step was refused for reasons on our side. A person repairs it."),
    ),
    "refund_unknown": _told(
        _("The refund's outcome is unknown"),
        _("Whether the refund of {amount} has gone through is not known yet. A person asks."),
        _("Whether the refund has gone through is not known yet. A person asks."),
    ),
    "refund_refused": _told(
        _("The refund was refused"),
        _("The refund of {amount} was refused. A person finds another way to give it back."),
        _("The refund was refused. A person finds another way to give it back."),
    ),
    "undeliverable": _told(
        _("Paid, but not credited"),
        _("{price} was paid, but the line cannot be credited. It is credited or given back."),
        _("The payment was made, but the line cannot be credited. It will be given back."),
    ),
    "disputed": _told(
        _("Disputed at the bank"),
        _("A payment through {rail} was disputed at the bank. Nothing more is charged that way."),
        _("A payment was disputed at the bank. Nothing more is charged that way."),
    ),
    "late_payment": _told(
        _("A payment came late"),
        _("{price} was taken after the recharge had ended. A person credits it or gives it back."),
        _("Money was taken after the recharge had ended. A person credits it or gives it back."),
    ),
    "merchant_limit": _told(
        _("Our own limit is reached"),
        _("{rail} declined {price} because we may not take more there for now. It is tried again."),
        _("The rail declined because we may not take more there for now. It is tried again."),
    ),
    "payment_overdue": _told(
        _("The payment is overdue"),
        _("{rail} has accepted {price} and neither takes it nor gives it up. It is asked hourly."),
        _("The rail has accepted the charge and neither takes it nor gives it up."),
    ),
    "action_expired": _told(
        _("The payment was not confirmed in time"),
        _("{price} was never confirmed by the payer. A person closes the payment at the rail."),
        _("The payment was never confirmed by the payer. A person closes it at the rail."),
    ),
    "credit_differs": _told(
        _("The credit differs"),
        _("{credited} was credited instead of {face}. A person settles the difference."),
        _("Another amount than agreed was credited. A person settles the difference."),
    ),
}

OUTCOMES: dict[str, Phrasing] = PROGRESS | SETBACKS | ATTENTION | RETURNS
