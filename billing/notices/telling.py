"""What is told to whom and by which channel: once per person, kind and occurrence.

`tell` writes the fact in the transaction that made it true. The words are made when it is read or
sent, in the reader's language. What has to leave the house is `sending`'s, later.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.utils import translation

from billing import rowsets
from billing.models import DEFAULT_CHANNELS, Notice, NoticeDelivery
from billing.rowsets import Column
from billing.words import figures, reasons
from billing.words.figures import Phrasing
from billing.words.notices import IF_OFF, IF_ON, PHRASINGS

_NOTICE_COLUMNS = (
    Column("owner_id", "bigint"),
    Column("kind", "text"),
    Column("occurrence_key", "text"),
    Column("line_id", "bigint"),
    Column("recharge_id", "bigint"),
    Column("facts", "jsonb"),
    Column("created_at", "timestamptz"),
)
_DELIVERY_COLUMNS = (
    Column("notice_id", "bigint"),
    Column("channel", "text"),
    Column("state", "text"),
    Column("tries", "smallint"),
    Column("act_at", "timestamptz"),
    Column("error", "text"),
)


class _Told(NamedTuple):
    id: int
    owner_id: int
    kind: str
    occurrence_key: str


_ANYTHING = Phrasing(titles=("Keepline",), parts=(("{reason}", "Keepline"),))


@dataclass(frozen=True, slots=True)
class Telling:
    """One thing to tell. `facts` are JSON: minor units, currency, ISO instants, never secrets."""

    owner_id: int
    kind: str
    occurrence_key: str  # at most 80 characters: what "once" means
    line_id: int | None
    recharge_id: int | None
    facts: Mapping[str, object]
    channels: Sequence[str] | None  # "inbox" and registered ones; none chosen: the default ones
    at: datetime


@dataclass(frozen=True, slots=True)
class Words:
    """A notice as its reader sees it. The title alone says amount, cause and result."""

    title: str
    body: str


def tell(
    *,
    owner_id: int,
    kind: str,
    occurrence_key: str,
    line_id: int | None = None,
    recharge_id: int | None = None,
    facts: Mapping[str, object],
    channels: Sequence[str] | None = None,
    at: datetime,
) -> bool:
    """Tell `owner_id` once. False: told before, and nothing was written. See `tell_many`."""
    one = Telling(owner_id, kind, occurrence_key, line_id, recharge_id, facts, channels, at)
    return tell_many([one]) == 1


def tell_many(tellings: Sequence[Telling]) -> int:
    """Tell each once, in the caller's transaction; how many were new. May be called again.

    The inbox always gets it. Other channels get a delivery, which `sending.send_due` sends.
    """
    rows = [
        (
            one.owner_id,
            str(one.kind),
            one.occurrence_key,
            one.line_id,
            one.recharge_id,
            json.dumps(dict(one.facts)),
            one.at,
        )
        for one in tellings
    ]
    key = "(owner_id, kind, occurrence_key)"
    told = rowsets.insert_new("billing_notice", _NOTICE_COLUMNS, rows, key=key, into=_Told)
    new = {(one.owner_id, one.kind, one.occurrence_key): one.id for one in told}
    _write_deliveries(tellings, new)
    return len(new)


def _write_deliveries(tellings: Sequence[Telling], new: Mapping[tuple[int, str, str], int]) -> None:
    """One for each channel of a notice that is new; of two alike in a batch, the first counts."""
    deliveries: dict[tuple[int, str], datetime] = {}
    for one in tellings:
        notice_id = new.get((one.owner_id, str(one.kind), one.occurrence_key))
        for channel in one.channels or DEFAULT_CHANNELS if notice_id is not None else ():
            if channel != "inbox" and notice_id is not None:
                deliveries.setdefault((notice_id, channel), one.at)
    rowsets.insert(
        "billing_noticedelivery",
        _DELIVERY_COLUMNS,
        [
            (notice_id, channel, NoticeDelivery.State.WAITING.value, 0, act_at, "")
            for (notice_id, channel), act_at in deliveries.items()
        ],
    )


def words(*, notice: Notice, language: str) -> Words:
    """What `notice` says in `language`. Never raises, whatever its facts hold.

    Reads the notice's line and owner: select_related("line", "owner") where there are many.
    """
    phrasing = PHRASINGS.get(notice.kind, _ANYTHING)
    line = notice.line
    timezone = line.timezone if line else notice.owner.timezone
    facts = dict(notice.facts) | ({"line": line.label or line.masked} if line else {})
    with translation.override(language):
        known = figures.written(facts, timezone=timezone, at=notice.created_at)
        if "is_on" in facts:
            known["outlook"] = str(IF_ON if facts["is_on"] else IF_OFF)
        known |= _reason(facts, language=language, timezone=timezone, at=notice.created_at)
        return Words(figures.title_of(phrasing, known), figures.body_of(phrasing, known))


def _reason(
    facts: Mapping[str, object], *, language: str, timezone: str, at: datetime
) -> dict[str, str]:
    code = str(facts.get("code") or "")
    if not reasons.knows(code):
        return {}
    said = reasons.reason(code=code, facts=facts, language=language, timezone=timezone, at=at)
    return {"reason_title": said.title, "reason": said.sentence}


def mark_read(*, owner_id: int, notice_ids: Sequence[int], at: datetime) -> int:
    """Mark one person's notices as read; how many were unread. Others' are left alone."""
    unread = Notice.objects.filter(owner=owner_id, pk__in=notice_ids, read_at__isnull=True)
    return unread.update(read_at=at)
