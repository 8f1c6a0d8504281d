"""What stands in the way of a charge that is due: caps, the carrier's largest balance, a pause.

Pure, as `deciding` is. What is over by itself says when: a stored look, not one a minute.
"""

from datetime import datetime, timedelta

from billing import calendar
from billing.rules.verdicts import Facts, Spent


def is_resting(facts: Facts, falls_due_at: datetime) -> bool:
    """Whether its owner's pause covers a charge, by the moment it falls due (rule 12a).

    Not by the moment somebody comes to look: what fell due in a pause is not made good after it.
    """
    return facts.paused_until is not None and facts.paused_until > falls_due_at


def cap_in_the_way(
    facts: Facts, amount_minor: int
) -> tuple[str, datetime | None, dict[str, int]] | None:
    """The first cap this amount would break, when a low balance may try again, and figures."""
    caps = facts.caps
    if amount_minor > caps.charge_minor:
        return "cap_charge", None, {"cap_minor": caps.charge_minor, "face_minor": amount_minor}
    reached = cap_reached(
        amount_minor=amount_minor,
        spent=facts.spent,
        day_count=caps.day_count,
        line_month_minor=caps.line_month_minor,
        binding_month_minor=caps.binding_month_minor,
        owner_month_minor=caps.owner_month_minor,
    )
    if reached:
        code, figures = reached
        return code, next_day(facts) if code == "cap_day" else next_month(facts), figures
    effective = facts.effective_minor
    most = facts.max_balance_minor
    if most is not None and effective is not None and effective + amount_minor > most:
        return "max_balance", next_day(facts), {"cap_minor": most}
    return None


def cap_reached(
    *,
    amount_minor: int,
    spent: Spent,
    day_count: int | None,
    line_month_minor: int | None,
    binding_month_minor: int | None,
    owner_month_minor: int | None,
) -> tuple[str, dict[str, int]] | None:
    """The first cap of a day or month that one more charge would break, with its figures; None as
    a cap: there is none. For the owner's hand as for the robot (rule 25)."""
    if day_count is not None and spent.day_count + 1 > day_count:
        return "cap_day", {"cap_count": day_count, "spent_count": spent.day_count}
    months = (
        ("cap_month", line_month_minor, spent.line_month_minor),
        ("cap_binding_month", binding_month_minor, spent.binding_month_minor),
        ("cap_owner_month", owner_month_minor, spent.owner_month_minor),
    )
    for code, cap_minor, spent_minor in months:
        if cap_minor is not None and spent_minor + amount_minor > cap_minor:
            figures = {"cap_minor": cap_minor, "spent_minor": spent_minor}
            return code, figures | {"face_minor": amount_minor}
    return None


def next_day(facts: Facts) -> datetime:
    day = calendar.day_key(facts.at, facts.timezone) + timedelta(days=1)
    return calendar.midnight(day, facts.timezone)


def next_month(facts: Facts) -> datetime:
    month = calendar.month_key(facts.at, facts.timezone)
    following = (month + timedelta(days=32)).replace(day=1)
    return calendar.midnight(following, facts.timezone)
