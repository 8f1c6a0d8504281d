"""What waits for a person, and what leads on from it: the one table of cases, a row a code.

A case is opened by its cause and settled only by what ends that cause: a state in which it cannot
be, what is heard from outside, or an act. Acts are offered, and accepted, by what is said here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from billing.states import (
    ENDED_REFUND_STATES,
    PAYING_STATES,
    UNPAID_END_STATES,
    RechargeState,
    RefundState,
)

S = RechargeState


class Heard(IntEnum):
    """What one step has heard from outside."""

    NOTHING = 0  # it waited, sent something, or was given back
    SILENCE = 1  # it asked, and was told nothing that decides
    ANSWER = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of case: where its cause can be, and what leads on from it.

    `heard`: what settles it where it stands, from that on. None: nothing that is heard does.
    `is_tried`: it is tried again by itself; without that, an act or a message leads on.
    """

    stands_in: frozenset[str]
    acts: frozenset[str]  # verbs, as the pages of operators have them
    heard: Heard | None = None
    is_tried: bool = False


def _states(*states: str) -> frozenset[str]:
    return frozenset(str(state) for state in states)


def _acts(*verbs: str) -> frozenset[str]:
    return frozenset(verbs)


_ALL = _states(*RechargeState)
_AFTER_CREDIT = _states(S.COMPLETED, S.UNDELIVERABLE, S.REVERSED, S.REFUNDING, S.REFUNDED)
_AT_REST = _AFTER_CREDIT | _states(*UNPAID_END_STATES)
# What is held waits for what a person says: that the rail was asked once more decides nothing.
_HELD = _states(S.REVIEW)

RECHARGE: Mapping[str, Kind] = {
    # Also of one that is pending, where the rail has not let us ask for too long; and of one with
    # an end, where the rail spoke of it again and then told nothing.
    "payment_unknown": Kind(
        _states(S.PAYMENT_PENDING, S.PAYMENT_UNKNOWN, S.ACTION_REQUIRED) | _AT_REST,
        _acts("query-again", "request-settlement"),
        Heard.ANSWER,
    ),
    "amount_differs": Kind(
        _states(S.REVIEW, S.DUE, *PAYING_STATES), _acts("query-again", "request-settlement")
    ),
    "payment_overdue": Kind(
        _states(S.PAYMENT_PENDING, S.PAYMENT_UNKNOWN, S.ACTION_REQUIRED),
        _acts("query-again"),
        Heard.ANSWER,
        is_tried=True,
    ),
    "action_expired": Kind(_states(S.ACTION_REQUIRED), _acts("query-again", "request-settlement")),
    "merchant_limit": Kind(
        _states(S.WAITING, S.DUE, S.DECLINED, S.REVIEW, *PAYING_STATES),
        _acts("cancel"),
        Heard.ANSWER,
        is_tried=True,
    ),
    "config": Kind(
        _ALL,
        _acts("approve-review", "reject-review", "cancel", "query-again", "request-settlement"),
        Heard.SILENCE,
        is_tried=True,
    ),
    "crashed": Kind(
        _ALL,
        _acts("query-again", "request-settlement", "approve-review", "reject-review"),
        Heard.SILENCE,
    ),
    # Money that its recharge has no use for, and what a bank has to decide: whatever becomes of
    # the recharge, only what settles these does.
    "late_payment": Kind(_ALL, _acts("request-settlement")),
    "disputed": Kind(_ALL, _acts("request-settlement", "settle-elsewhere")),
    "loss_returned": Kind(_ALL, _acts("request-settlement")),
    "line_suspended": Kind(_states(S.CHARGED), _acts(), is_tried=True),
    "delivery_unknown": Kind(
        _states(S.DELIVERY_PENDING, S.DELIVERY_UNKNOWN, *_AFTER_CREDIT),
        _acts("query-again", "request-settlement"),
        Heard.ANSWER,
    ),
    "credit_differs": Kind(
        _states(S.COMPLETED, S.REFUNDING), _acts("settle-elsewhere", "request-refund")
    ),
    "undeliverable": Kind(
        _states(S.UNDELIVERABLE, S.REVERSED), _acts("redeliver", "request-refund")
    ),
}

_UNDER_WAY = _states(RefundState.REVERSING, RefundState.INTENDED, RefundState.UNKNOWN)
# One that has its end is asked about too, where somebody speaks of it.
_HEARD_OF = _UNDER_WAY | _states(*ENDED_REFUND_STATES)
_ASK_OR_SAY = _acts("query-refund", "request-settlement")
_GIVE_UP_TOO = _ASK_OR_SAY | _acts("give-up-refund")

REFUND: Mapping[str, Kind] = {
    "refund_refused": Kind(_UNDER_WAY, _GIVE_UP_TOO, Heard.ANSWER),
    "refund_failed": Kind(_UNDER_WAY, _GIVE_UP_TOO, Heard.ANSWER),
    "refund_unknown": Kind(_HEARD_OF, _ASK_OR_SAY, Heard.ANSWER),
    # What went back otherwise than was asked, only two people end.
    "amount_differs": Kind(_UNDER_WAY, _ASK_OR_SAY),
    "late_refund": Kind(_states(RefundState.REFUSED), _acts("request-settlement")),
    "late_reversal": Kind(_states(RefundState.REFUSED), _acts("request-settlement")),
    "crashed": Kind(_HEARD_OF, _ASK_OR_SAY, Heard.SILENCE),
    "config": Kind(_HEARD_OF, _ASK_OR_SAY, Heard.SILENCE, is_tried=True),
    "disputed": Kind(_UNDER_WAY, _acts("request-settlement")),
}


def over(kinds: Mapping[str, Kind], *, state: str, heard: Heard) -> tuple[str, ...]:
    """The codes whose cause is over for what is in `state` now, having heard `heard`."""
    return tuple(code for code, kind in kinds.items() if _is_over(kind, state, heard))


def _is_over(kind: Kind, state: str, heard: Heard) -> bool:
    if state not in kind.stands_in:
        return True
    return kind.heard is not None and heard >= kind.heard and state not in _HELD


def lead_to(act: str, kinds: Mapping[str, Kind]) -> frozenset[str]:
    """The codes from which `act` leads on."""
    return frozenset(code for code, kind in kinds.items() if act in kind.acts)


def bars(act: str, kinds: Mapping[str, Kind]) -> frozenset[str]:
    """The codes that stand in the way of `act`."""
    return frozenset(kinds) - lead_to(act, kinds)
