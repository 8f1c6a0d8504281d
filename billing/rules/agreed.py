"""Whether a recharge that is under way still fits what its owner agreed to last (rule 23). Pure.

What was frozen when it was opened is held against the rule as it is agreed now, and the line as it
is known now. One that no longer fits ends without money, and the rule decides anew.
"""

from datetime import date

from billing.calendar import Cycle, occurrence_date
from billing.recharges.claims import Work
from billing.rules import wakes
from billing.states import Trigger
from lines import zones

METHOD, AMOUNT = "method_changed", "amount_changed"
TRIGGER, NOT_LOW, RENEWED = "trigger_gone", "no_longer_low", "validity_renewed"
# What was due stays due, on the new terms.
REPLACED = frozenset({METHOD, AMOUNT})
CODES = REPLACED | {TRIGGER, NOT_LOW, RENEWED}


def misfit(row: Work) -> str:
    """Why `row` no longer fits, as a code; "": it does, or it is nobody's but its owner's hand."""
    if row.rule_id is None:
        return ""
    return _trigger_misfit(row) or _method_misfit(row) or _amount_misfit(row)


def _trigger_misfit(row: Work) -> str:
    if row.trigger == Trigger.SCHEDULE:
        return "" if _is_on_calendar(row) else TRIGGER
    if row.trigger == Trigger.EXPIRY:
        return _expiry_misfit(row)
    if row.threshold_minor is None:
        return TRIGGER
    return NOT_LOW if is_above(row) and not row.is_early else ""


def _is_on_calendar(row: Work) -> bool:
    """Whether the calendar agreed to now has this very occurrence."""
    cycle = Cycle(row.cycle or Cycle.NONE)
    if cycle is Cycle.NONE or row.anchor_date is None:
        return False
    index, day = row.period_key.split(":", 1)
    planned = occurrence_date(anchor=row.anchor_date, cycle=cycle, index=int(index))
    return planned == date.fromisoformat(day)


def _expiry_misfit(row: Work) -> str:
    if row.expiry_days_before is None:
        return TRIGGER
    if not zones.is_zone(row.timezone):
        return ""  # nobody knows on which day it ends: the rule is held for that
    ends_on = wakes.expiry_date(row.valid_until, row.timezone) if row.valid_until else None
    return "" if ends_on == wakes.expiry_of(row.period_key) else RENEWED


def is_above(row: Work) -> bool:
    """Whether the line is known to have what its threshold asks for: topped up elsewhere."""
    if row.balance_minor is None or row.threshold_minor is None:
        return False
    return row.balance_minor - row.balance_reserved_minor >= row.threshold_minor


def _method_misfit(row: Work) -> str:
    return "" if row.binding_id == row.rule_binding_id or is_second(row) else METHOD


def is_second(row: Work) -> bool:
    """Whether it goes by the second method agreed to, that very first one having refused it, or
    having no try left for it (rule 18)."""
    has_declined = row.rule_binding_id in row.declined_by
    return has_declined and row.binding_id == row.rule_fallback_id


def _amount_misfit(row: Work) -> str:
    if row.max_per_charge_minor is not None and row.face_minor > row.max_per_charge_minor:
        return AMOUNT
    return AMOUNT if row.is_agreed_anew and not _is_same_amount(row) else ""


def _is_same_amount(row: Work) -> bool:
    """Only the terms are compared: what a gap has made of them was right, and still is."""
    agreed = row.face_minor if row.agreed_face_minor is None else row.agreed_face_minor
    if agreed != row.rule_face_minor:
        return False
    if row.trigger != Trigger.LOW_BALANCE or row.agreed_topup_mode == "":
        return True
    now = (row.topup_mode, row.target_minor)
    return now == (row.agreed_topup_mode, row.agreed_target_minor)
