"""What is told about a batch of decisions: a charge that does not happen, above all.

Silence is what people complain of most; the reasons that resolve themselves are shown, not sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.calendar import month_key
from billing.models import NoticeKind
from billing.notices import telling
from billing.promotions import Quote
from billing.rules.verdicts import Verdict

NEAR_CAP_PERCENT = 80
_SILENT = frozenset(
    {"charge", "merged", "cooling_down", "open_recharge", "rail_disabled", "reading_stale"}
)


@dataclass(slots=True)
class Decided:
    """One rule of a batch, with its verdict and, once inserted, its recharge."""

    row: Any
    verdict: Verdict
    quote: Quote
    month_spent_minor: int = 0  # of the line, this charge counted
    recharge_id: int | None = None
    lead: timedelta = timedelta(0)  # of its rail: money moves so long after it is set to work


def tell(decided: Sequence[Decided], *, at: datetime) -> None:
    """A charge that does not happen is told: silence is what people complain of most."""
    for one in decided:
        told = {"owner_id": one.row.owner_id, "line_id": one.row.line_id, "at": at}
        if one.verdict.pause:
            key = f"{one.row.id}:{one.verdict.pause}:{one.row.line_generation}"
            facts = {"code": one.verdict.pause}
            telling.tell(
                kind=NoticeKind.RULE_PAUSED,
                occurrence_key=key,
                facts=facts,
                channels=one.row.channels,
                **told,
            )
            continue
        for reason in one.verdict.reasons:
            if reason.code in _SILENT:
                continue
            telling.tell(
                kind=_kind_of(reason.code),
                occurrence_key=f"{one.row.id}:{reason.trigger}:{reason.period_key}:{reason.code}",
                facts=reason.facts | {"code": reason.code, "currency": one.row.currency},
                channels=one.row.channels,
                **told,
            )
        if one.recharge_id is not None and _is_near_cap(one):
            telling.tell(
                kind=NoticeKind.CAP_NEAR,
                occurrence_key=f"{one.row.id}:{month_key(at, one.row.timezone)}",
                facts={
                    "cap_minor": one.row.max_per_month_minor,
                    "spent_minor": one.month_spent_minor,
                    "currency": one.row.currency,
                },
                channels=one.row.channels,
                **told,
            )
        if one.verdict.opening and one.verdict.opening.falls_short:
            telling.tell(
                kind=NoticeKind.FALLS_SHORT,
                occurrence_key=f"{one.row.id}:{one.verdict.opening.period_key}",
                facts={
                    "face_minor": one.verdict.opening.face_minor,
                    "currency": one.row.currency,
                },
                channels=one.row.channels,
                **told,
            )


def _is_near_cap(one: Decided) -> bool:
    """Told at 80 % of the month (rule 25); at 100 % the refusal itself is told."""
    cap_minor: int = one.row.max_per_month_minor
    return one.month_spent_minor * 100 >= cap_minor * NEAR_CAP_PERCENT


def _kind_of(code: str) -> NoticeKind:
    if code == "missed":
        return NoticeKind.MISSED
    return NoticeKind.CAP_REACHED if code.startswith("cap_") else NoticeKind.NOT_RECHARGED
