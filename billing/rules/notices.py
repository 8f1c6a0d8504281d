"""What is told about a batch of decisions: a charge that does not happen, above all.

Silence is what people complain of most; the reasons that resolve themselves are shown, not sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.calendar import month_key
from billing.models import NoticeKind
from billing.notices import telling
from billing.notices.telling import Telling
from billing.promotions import Quote
from billing.rules.caps import Counted
from billing.rules.due_rules import DueRule
from billing.rules.verdicts import Verdict

NEAR_CAP_PERCENT = 80
_SILENT = frozenset(
    {"charge", "merged", "cooling_down", "open_recharge", "rail_disabled", "reading_stale"}
)


@dataclass(slots=True)
class Decided:
    """One rule of a batch, with its verdict and, once inserted, its recharge."""

    row: DueRule
    verdict: Verdict
    quote: Quote
    counted: Counted
    month_spent_minor: int = 0  # of the line, this charge counted
    recharge_id: int | None = None
    lead: timedelta = timedelta(0)  # of its rail: money moves so long after it is set to work


def low_key(*, rule_id: int, episode: int) -> str:
    """What "once" means for a low balance: each time it runs low, it is told anew (rule 7)."""
    return f"{rule_id}:e{episode}"


def tell(decided: Sequence[Decided], *, at: datetime) -> None:
    """A charge that does not happen is told: silence is what people complain of most."""
    telling.tell_many([told for one in decided for told in _tellings(one, at=at)])


def _tellings(one: Decided, *, at: datetime) -> Iterator[Telling]:
    row, verdict = one.row, one.verdict
    if verdict.pause:
        key = f"{verdict.pause}:{row.line_generation}"
        yield _telling(one, NoticeKind.RULE_PAUSED, key, {"code": verdict.pause}, at=at)
        return
    if low := _low_again(one, at=at):
        yield low
    for reason in verdict.reasons:
        if reason.code not in _SILENT:
            key = f"{reason.trigger}:{reason.period_key}:{reason.code}"
            facts = reason.facts | {"code": reason.code, "currency": row.currency}
            yield _telling(one, _kind_of(reason.code), key, facts, at=at)
    if one.recharge_id is not None and _is_near_cap(one):
        facts = {
            "cap_minor": row.max_per_month_minor,
            "spent_minor": one.month_spent_minor,
            "currency": row.currency,
        }
        yield _telling(one, NoticeKind.CAP_NEAR, str(month_key(at, row.timezone)), facts, at=at)
    if verdict.opening and verdict.opening.falls_short:
        facts = {"face_minor": verdict.opening.face_minor, "currency": row.currency}
        yield _telling(one, NoticeKind.FALLS_SHORT, verdict.opening.period_key, facts, at=at)


def _telling(
    one: Decided, kind: NoticeKind, key: str, facts: Mapping[str, object], *, at: datetime
) -> Telling:
    row = one.row
    key = f"{row.id}:{key}"
    return Telling(row.owner_id, kind.value, key, row.line_id, None, facts, row.channels, at)


def _low_again(one: Decided, *, at: datetime) -> Telling | None:
    """A low balance that was read before its latch opened, as it did by this very decision: no
    reading has told of it as a new one."""
    row, standing = one.row, one.verdict.standing
    is_new = standing.episode != row.episode and standing.low_episode == standing.episode
    if not (is_new and row.remind_low_balance):
        return None
    facts = {
        "balance_minor": row.balance_minor,
        "threshold_minor": row.threshold_minor,
        "currency": row.currency,
        "is_on": True,
    }
    key = low_key(rule_id=row.id, episode=standing.episode)
    kind = NoticeKind.LOW_BALANCE.value
    return Telling(row.owner_id, kind, key, row.line_id, None, facts, row.channels, at)


def _is_near_cap(one: Decided) -> bool:
    """Told at 80 % of the month (rule 25); at 100 % the refusal itself is told."""
    return one.month_spent_minor * 100 >= one.row.max_per_month_minor * NEAR_CAP_PERCENT


def _kind_of(code: str) -> NoticeKind:
    if code == "missed":
        return NoticeKind.MISSED
    return NoticeKind.CAP_REACHED if code.startswith("cap_") else NoticeKind.NOT_RECHARGED
