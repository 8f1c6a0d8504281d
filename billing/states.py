"""The whole life of a recharge: its states, and the one dict of legal moves.

The database refuses any other move too: `billing/guards.py` makes a trigger from this dict.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class RechargeState(models.TextChoices):
    WAITING = "waiting", _("waiting")
    REVIEW = "review", _("held for review")
    DUE = "due", _("due")
    CHARGING = "charging", _("charging")
    PAYMENT_PENDING = "payment_pending", _("payment pending")
    PAYMENT_UNKNOWN = "payment_unknown", _("confirming payment")
    ACTION_REQUIRED = "action_required", _("needs you to confirm")
    DECLINED = "declined", _("declined, will retry")
    FAILED = "failed", _("not charged")
    CHARGED = "charged", _("paid")
    DELIVERING = "delivering", _("crediting")
    DELIVERY_PENDING = "delivery_pending", _("credit pending")
    DELIVERY_UNKNOWN = "delivery_unknown", _("confirming credit")
    UNDELIVERABLE = "undeliverable", _("could not be credited")
    COMPLETED = "completed", _("completed")
    REVERSED = "reversed", _("reversed by the carrier")
    REFUNDING = "refunding", _("refunding")
    REFUNDED = "refunded", _("refunded")
    CANCELED = "canceled", _("canceled")
    MISSED = "missed", _("missed")


S = RechargeState

MOVES: dict[RechargeState, frozenset[RechargeState]] = {
    S.WAITING: frozenset({S.DUE, S.REVIEW, S.CANCELED, S.MISSED}),
    # Failed or charged as two people found out at the rail, which could not say so itself.
    S.REVIEW: frozenset({S.DUE, S.CANCELED, S.MISSED, S.FAILED, S.CHARGED}),
    # Failed before any charge: the rail would not even announce it.
    S.DUE: frozenset({S.CHARGING, S.WAITING, S.REVIEW, S.CANCELED, S.MISSED, S.FAILED}),
    S.CHARGING: frozenset(
        {
            S.CHARGED,
            S.DELIVERING,  # straight on: the payment and the next intent in one transaction
            S.PAYMENT_PENDING,
            S.PAYMENT_UNKNOWN,
            S.ACTION_REQUIRED,
            S.DECLINED,
            S.FAILED,
            S.DUE,  # the rail says it never happened: the same reference is sent again
            S.REVIEW,  # amount or currency differ, or the work crashed three times
        }
    ),
    S.PAYMENT_PENDING: frozenset(
        {
            S.CHARGED,
            S.DELIVERING,
            S.PAYMENT_UNKNOWN,
            S.ACTION_REQUIRED,
            S.DECLINED,
            S.FAILED,
            S.DUE,
            S.REVIEW,
        }
    ),
    S.PAYMENT_UNKNOWN: frozenset(
        {
            S.CHARGED,
            S.DELIVERING,
            S.PAYMENT_PENDING,
            S.ACTION_REQUIRED,
            S.DECLINED,
            S.FAILED,
            S.DUE,
            S.REVIEW,
        }
    ),
    S.ACTION_REQUIRED: frozenset(
        {
            S.CHARGED,
            S.DELIVERING,
            S.PAYMENT_PENDING,
            S.PAYMENT_UNKNOWN,
            S.DECLINED,
            S.FAILED,
            S.CANCELED,
        }
    ),
    S.DECLINED: frozenset({S.DUE, S.FAILED, S.CANCELED}),
    S.CHARGED: frozenset({S.DELIVERING, S.UNDELIVERABLE}),
    S.DELIVERING: frozenset(
        {
            S.COMPLETED,
            S.DELIVERY_PENDING,
            S.DELIVERY_UNKNOWN,
            S.UNDELIVERABLE,
            S.CHARGED,  # rejected for now, or never arrived: to be delivered again
        }
    ),
    S.DELIVERY_PENDING: frozenset({S.COMPLETED, S.DELIVERY_UNKNOWN, S.UNDELIVERABLE, S.CHARGED}),
    S.DELIVERY_UNKNOWN: frozenset({S.COMPLETED, S.DELIVERY_PENDING, S.UNDELIVERABLE, S.CHARGED}),
    S.UNDELIVERABLE: frozenset({S.REFUNDING, S.CHARGED}),
    S.COMPLETED: frozenset({S.REVERSED, S.REFUNDING}),
    S.REVERSED: frozenset({S.REFUNDING, S.CHARGED}),
    S.REFUNDING: frozenset({S.REFUNDED, S.COMPLETED, S.UNDELIVERABLE, S.REVERSED}),
    S.REFUNDED: frozenset({S.REVERSED}),  # what had gone back came back to us
    S.FAILED: frozenset(),
    S.CANCELED: frozenset(),
    S.MISSED: frozenset(),
}

# A new recharge may begin in these; nothing may begin half way through.
FIRST_STATES = (S.WAITING, S.REVIEW, S.DUE)
# One of these at a time on a line: money may yet move, or has moved and is not yet on the line.
OPEN_STATES = (
    S.WAITING,
    S.REVIEW,
    S.DUE,
    S.CHARGING,
    S.PAYMENT_PENDING,
    S.PAYMENT_UNKNOWN,
    S.ACTION_REQUIRED,
    S.DECLINED,
    S.CHARGED,
    S.DELIVERING,
    S.DELIVERY_PENDING,
    S.DELIVERY_UNKNOWN,
    S.UNDELIVERABLE,
)
# Charged, and the line does not have it: what the account `undelivered` must equal.
UNDELIVERED_STATES = (
    S.CHARGED,
    S.DELIVERING,
    S.DELIVERY_PENDING,
    S.DELIVERY_UNKNOWN,
    S.UNDELIVERABLE,
)
# The rail was asked to take it, and how that ended is not settled.
PAYING_STATES = (S.CHARGING, S.PAYMENT_PENDING, S.PAYMENT_UNKNOWN, S.ACTION_REQUIRED)
# The carrier was asked to credit it, and how that ended is not settled.
DELIVERING_STATES = (S.DELIVERING, S.DELIVERY_PENDING, S.DELIVERY_UNKNOWN)
# Nothing was taken and nothing will be.
UNPAID_END_STATES = (S.FAILED, S.CANCELED, S.MISSED)
# Nothing has been sent to a rail yet under the current reference: safe to cancel.
CANCELABLE_STATES = (S.WAITING, S.REVIEW, S.DUE, S.DECLINED)
# What the executor works on; `act_at` says when.
WORKING_STATES = (
    S.WAITING,
    S.DUE,
    S.CHARGING,
    S.PAYMENT_PENDING,
    S.PAYMENT_UNKNOWN,
    S.ACTION_REQUIRED,
    S.DECLINED,
    S.CHARGED,
    S.DELIVERING,
    S.DELIVERY_PENDING,
    S.DELIVERY_UNKNOWN,
)


class Trigger(models.TextChoices):
    SCHEDULE = "schedule", _("schedule")
    LOW_BALANCE = "low_balance", _("low balance")
    EXPIRY = "expiry", _("before expiry")
    MANUAL = "manual", _("by hand")


class AttemptState(models.TextChoices):
    INTENDED = "intended", _("intended")
    PENDING = "pending", _("pending at the rail")
    UNKNOWN = "unknown", _("outcome unknown")
    SUCCEEDED = "succeeded", _("succeeded")
    DECLINED = "declined", _("declined")
    CLOSED = "closed", _("closed without effect")


class RefundState(models.TextChoices):
    REQUESTED = "requested", _("waiting for a second person")
    REVERSING = "reversing", _("taking the credit back")
    INTENDED = "intended", _("intended")
    UNKNOWN = "unknown", _("outcome unknown")
    SUCCEEDED = "succeeded", _("succeeded")
    REFUSED = "refused", _("refused")


# Nothing more is done for it by itself; what its rail says later is heard all the same.
ENDED_REFUND_STATES = (RefundState.SUCCEEDED, RefundState.REFUSED)


class RefundWay(models.TextChoices):
    RAIL = "rail", _("by the payment rail")
    BANK = "bank", _("by the payer's bank, in a dispute")
    ELSEWHERE = "elsewhere", _("by another way, by hand")


class Finding(models.TextChoices):
    """What a person found, on the pages of a rail or carrier, that it had done with one payment,
    refund or credit. What each is about, and where it leads: `billing.operators`."""

    NOTHING = "nothing", _("nothing was taken")
    AS_AGREED = "as_agreed", _("exactly the agreed amount was taken")
    GIVEN_BACK = "given_back", _("something was taken, and all of it was given back")
    LOST = "lost", _("the dispute is lost: the payer's bank keeps what it took back")
    RETURNED = "returned", _("what a lost dispute had cost was given us again")
    UNREFUNDED = "unrefunded", _("nothing of the refund was given back")
    REFUNDED = "refunded", _("exactly the refund's amount was given back")
    OTHERWISE = "otherwise", _("another amount than the refund's was given back")
    PAID_OUT = "paid_out", _("the payer was paid the refund by another way")
    CREDITED = "credited", _("the carrier has credited the line")
    UNCREDITED = "uncredited", _("the carrier has not credited the line, and will not")
    TAKEN_BACK = "taken_back", _("the carrier has taken the credit back")
    NOT_TAKEN = "not_taken", _("the carrier has not taken the credit back, and will not")


class SettlementState(models.TextChoices):
    REQUESTED = "requested", _("waiting for a second person")
    APPROVED = "approved", _("approved")
    REJECTED = "rejected", _("rejected")
    EXPIRED = "expired", _("expired")


class DeclineClass(models.TextChoices):
    SOFT = "soft", _("soft: retry later")
    HARD = "hard", _("hard: stop and ask")
    AUTH = "auth", _("needs the payer's confirmation")
    UNKNOWN = "unknown", _("unknown: ask the rail")
    CONFIG = "config", _("configuration: the operator")
    PENDING = "pending", _("pending")
    DONE = "done", _("done already: ask the rail")
