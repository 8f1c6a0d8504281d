"""Due rules become recharges: claimed in a batch, decided one by one, written set-wise.

The occurrence's row is written in the transaction that advances or disarms the rule, so neither
can happen without the other. No network, and nothing to lease: the locks last as long as it does.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from billing import promotions, rowsets
from billing.gateways.base import Capabilities
from billing.models import Recharge, Rule
from billing.promotions import Quote
from billing.recharges import machine
from billing.rowsets import Column
from billing.rules import agreed, caps, deciding, due_rules, gathering, notices
from billing.rules.due_rules import DueRule
from billing.rules.gathering import OnItsWay
from billing.rules.notices import Decided
from billing.rules.verdicts import Opening
from billing.states import RechargeState
from lines.references import new_reference

log = logging.getLogger(__name__)

MAX_CRASHES = 3

# A line that is locked is being given a reading this moment; waiting for it could deadlock, since
# whoever gives it locks the line before the rule.
_ASK = """
UPDATE lines_line SET poll_at = LEAST(poll_at, %s) WHERE id IN (
  SELECT id FROM lines_line WHERE id = ANY(%b) FOR NO KEY UPDATE SKIP LOCKED)"""

_RECHARGE_COLUMNS = (
    Column("ref", "text"),
    Column("line_id", "bigint"),
    Column("owner_id", "bigint"),
    Column("rule_id", "bigint"),
    Column("binding_id", "bigint"),
    Column("fallback_binding_id", "bigint"),
    Column("rail", "text"),
    Column("sim_generation", "integer"),
    Column("trigger", "text"),
    Column("period_key", "text"),
    Column("state", "text"),
    Column("reason", "text"),
    Column("face_minor", "bigint"),
    Column("discount_minor", "bigint"),
    Column("bonus_minor", "bigint"),
    Column("price_minor", "bigint"),
    Column("refund_committed_minor", "bigint"),
    Column("currency", "text"),
    Column("ladder_s", "text", "integer[]"),
    Column("declines", "smallint"),
    Column("attempt_count", "smallint"),
    Column("delivery_count", "smallint"),
    Column("cap_day", "date"),
    Column("cap_month", "date"),
    Column("created_at", "timestamptz"),
    Column("due_at", "timestamptz"),
    Column("expires_at", "timestamptz"),
    Column("act_at", "timestamptz"),
    Column("fence", "bigint"),
    Column("crash_count", "smallint"),
    Column("queries", "smallint"),
    Column("action_url", "text"),
    Column("attention", "text"),
)


class _Inserted(NamedTuple):
    rule_id: int
    id: int


_DECISION_COLUMNS = (
    Column("rule_id", "bigint"),
    Column("trigger", "text"),
    Column("period_key", "text"),
    Column("code", "text"),
    Column("is_charge", "boolean"),
    Column("facts", "jsonb"),
    Column("recharge_id", "bigint"),
    Column("at", "timestamptz"),
)
_STANDING_COLUMNS = (
    Column("id", "bigint"),
    Column("next_index", "integer"),
    Column("next_run_at", "timestamptz"),
    Column("skip_index", "integer"),
    Column("is_armed", "boolean"),
    Column("episode", "integer"),
    Column("expiry_fired_for", "date"),
    Column("expiry_tried_on", "date"),
    Column("rearms_at", "timestamptz"),
    Column("low_episode", "integer"),
    Column("wake_at", "timestamptz"),
    Column("lead_s", "integer"),
    Column("pause", "text"),
    Column("at", "timestamptz"),
)
_STANDING_ASSIGN = """
    next_index = v.next_index, next_run_at = v.next_run_at, skip_index = v.skip_index,
    is_armed = v.is_armed, episode = v.episode, expiry_fired_for = v.expiry_fired_for,
    expiry_tried_on = v.expiry_tried_on, rearms_at = v.rearms_at, low_episode = v.low_episode,
    wake_at = v.wake_at, lead_s = v.lead_s, crash_count = 0,
    paused_at = CASE WHEN v.pause <> '' THEN COALESCE(t.paused_at, v.at) ELSE t.paused_at END,
    pause_reason = CASE WHEN v.pause <> '' THEN v.pause ELSE t.pause_reason END"""


def open_due(
    *,
    at: datetime,
    limit: int,
    capabilities: dict[str, Capabilities],
    is_newest_first: bool = False,
) -> int:
    """Decide up to `limit` due rules; how many there were. May run anywhere, any number at once.

    A batch that fails is tried rule by rule, so a poisoned rule stops only itself; one that failed
    three times is paused and its owner told.
    """
    try:
        return _open(at=at, limit=limit, capabilities=capabilities, is_newest_first=is_newest_first)
    except rowsets.POISON:
        log.exception("a batch of rules failed; trying them one by one")
        return _one_by_one(at=at, limit=limit, capabilities=capabilities)


def _one_by_one(*, at: datetime, limit: int, capabilities: dict[str, Capabilities]) -> int:
    due = Rule.objects.filter(is_on=True, wake_at__lte=at).order_by("wake_at")
    ids = list(due.values_list("pk", flat=True)[:limit])
    for rule_id in ids:
        try:
            _open(at=at, limit=1, capabilities=capabilities, rule_id=rule_id)
        except rowsets.POISON:
            log.exception("rule %s cannot be decided", rule_id)
            _count_crash(rule_id, at=at)
    return len(ids)


def _count_crash(rule_id: int, *, at: datetime) -> None:
    """Back off a minute a time; after the third, stop the rule for a person to look at."""
    with transaction.atomic():
        rule = Rule.objects.select_for_update(no_key=True).select_related("line").get(pk=rule_id)
        rule.crash_count += 1
        rule.wake_at = at + timedelta(minutes=rule.crash_count)
        if rule.crash_count >= MAX_CRASHES:
            rule.wake_at, rule.paused_at, rule.pause_reason = None, at, "crashed"
        rule.save(update_fields=["crash_count", "wake_at", "paused_at", "pause_reason"])


def _open(
    *,
    at: datetime,
    limit: int,
    capabilities: dict[str, Capabilities],
    rule_id: int | None = None,
    is_newest_first: bool = False,
) -> int:
    with transaction.atomic():
        rows = due_rules.claim(at=at, limit=limit, rule_id=rule_id, is_newest_first=is_newest_first)
        if not rows:
            return 0
        decided = _decide(rows, at=at, capabilities=capabilities)
        _write_recharges([one for one in decided if one.verdict.opening], at=at)
        _keep_what_lost(decided, at=at)
        _write_decisions(decided, at=at)
        _write_standings(decided, at=at)
        notices.tell(decided, at=at)
        _ask_for_readings(decided, at=at)
    return len(rows)


# --- deciding -----------------------------------------------------------------------------------


def _decide(
    rows: Sequence[DueRule], *, at: datetime, capabilities: dict[str, Capabilities]
) -> list[Decided]:
    """Decide each, counting what the batch itself has opened against caps it shares."""
    caps.lock_shared_caps(
        binding_ids=_capped_bindings(rows),
        owner_ids=[row.owner_id for row in rows if row.owner_cap_minor is not None],
    )
    counted = [_counted(row, at=at, capabilities=capabilities) for row in rows]
    tally = caps.tally(
        line_ids=[row.line_id for row in rows],
        capped_binding_ids=_capped_bindings(rows),
        capped_owner_ids=[r.owner_id for r in rows if r.owner_cap_minor is not None],
        months=sorted({by.month for by in counted}),
    )
    line_ids = [row.line_id for row in rows]
    flying = gathering.in_flight(line_ids)
    outlooks = gathering.outlooks(due_rules.watched(rows, capabilities=capabilities), at=at)
    book = promotions.Book.load(at=at, line_ids=line_ids)
    decided = []
    for row, by in zip(rows, counted, strict=True):
        found = due_rules.facts_of(
            row,
            at=at,
            spent=tally.spent(by),
            coming=flying.get(row.line_id, OnItsWay()),
            outlook=outlooks.get(row.line_id),
            capabilities=capabilities,
        )
        verdict = deciding.decide(found)
        quote = Quote.none()
        if verdict.opening:
            quote = _quote(row, verdict.opening, book=book, capabilities=capabilities, at=at)
            tally.add(by, minor=verdict.opening.face_minor - quote.discount_minor)
        after = tally.spent(by).line_month_minor
        decided.append(Decided(row, verdict, quote, by, after, lead=found.lead))
    return decided


def _counted(row: DueRule, *, at: datetime, capabilities: dict[str, Capabilities]) -> caps.Counted:
    return caps.Counted.on(
        gathering.moves_at(
            due_rules.rail_of(row, capabilities), at=at, signed_at=row.binding_signed_at
        ),
        line_id=row.line_id,
        binding_id=row.binding_id,
        owner_id=row.owner_id,
        currency=row.currency,
        timezone=row.timezone,
    )


def _capped_bindings(rows: Sequence[DueRule]) -> list[int]:
    return [r.binding_id for r in rows if r.binding_id and r.binding_cap_minor is not None]


def _quote(
    row: DueRule,
    opening: Opening,
    *,
    book: promotions.Book,
    capabilities: dict[str, Capabilities],
    at: datetime,
) -> Quote:
    """The promotion, quoted once; what it says is frozen into the recharge."""
    return book.quote(
        line_id=row.line_id,
        rail=row.rail,
        carrier=row.carrier,
        trigger=opening.trigger,
        face_minor=opening.face_minor,
        currency=row.currency,
        min_price_minor=capabilities[row.rail].min_amount_minor,
        at=at,
    )


# --- writing ------------------------------------------------------------------------------------


def _write_recharges(decided: list[Decided], *, at: datetime) -> None:
    """Insert; an occurrence that exists, or a line with one open, gives no second recharge."""
    rows = [_recharge_row(one, at=at) for one in decided]
    new = rowsets.insert_new("billing_recharge", _RECHARGE_COLUMNS, rows, into=_Inserted)
    inserted = {one.rule_id: one.id for one in new}
    opened = []
    for one in decided:
        one.recharge_id = inserted.get(one.row.id)
        if one.recharge_id is not None:
            opened.append(machine.Move(one.recharge_id, "", RechargeState.DUE.value, "opened", at))
    machine.write_history(opened, at=at)
    promotions.reserve(
        [
            (one.recharge_id, one.row.line_id, one.quote)
            for one in decided
            if one.recharge_id is not None and one.quote.lines
        ]
    )


def _keep_what_lost(decided: list[Decided], *, at: datetime) -> None:
    """A recharge opened by hand in this very moment was first: the rule stands as it stood.

    Where the occurrence itself has its recharge already, the rule does move on.
    """
    lost = [one for one in decided if one.verdict.opening and one.recharge_id is None]
    if not lost:
        return
    rule_ids = [one.row.id for one in lost]
    kept = Recharge.objects.filter(rule__in=rule_ids).exclude(reason__in=agreed.REPLACED)
    known = set(kept.values_list("rule_id", "trigger", "period_key"))
    for one in lost:
        opening = one.verdict.opening
        if opening and (one.row.id, opening.trigger, opening.period_key) not in known:
            as_it_was = due_rules.standing_of(one.row, wake_at=at + timedelta(minutes=1))
            one.verdict = replace(one.verdict, opening=None, reasons=(), standing=as_it_was)


def _recharge_row(one: Decided, *, at: datetime) -> tuple[object, ...]:
    row, opening, quote = one.row, one.verdict.opening, one.quote
    assert opening is not None  # noqa: S101 - the caller keeps only those with an opening
    ladder = "{" + ",".join(map(str, row.retry_ladder_s or ())) + "}"
    face_minor = opening.face_minor
    return (
        new_reference(),
        row.line_id,
        row.owner_id,
        row.id,
        row.binding_id,
        row.fallback_binding_id,
        row.rail,
        row.sim_generation,
        opening.trigger,
        opening.period_key,
        RechargeState.DUE.value,
        "opened",
        face_minor,
        quote.discount_minor,
        quote.bonus_minor,
        face_minor - quote.discount_minor,
        0,
        row.currency,
        ladder,
        0,
        0,
        0,
        one.counted.day,
        one.counted.month,
        at,
        opening.due_at,
        opening.expires_at,
        at,
        0,
        0,
        0,
        "",
        "",
    )


def _write_decisions(decided: list[Decided], *, at: datetime) -> None:
    rows = []
    for one in decided:
        for reason in one.verdict.reasons:
            is_charge = reason.code in ("charge", "merged")
            if is_charge and one.recharge_id is None:
                continue  # another worker, or an open recharge, was first
            facts = json.dumps(reason.facts | {"currency": one.row.currency})
            recharge_id = one.recharge_id if is_charge else None
            rows.append(
                (
                    one.row.id,
                    reason.trigger,
                    reason.period_key,
                    reason.code,
                    is_charge,
                    facts,
                    recharge_id,
                    at,
                )
            )
    rowsets.insert("billing_decision", _DECISION_COLUMNS, rows, suffix="ON CONFLICT DO NOTHING")


def _write_standings(decided: list[Decided], *, at: datetime) -> None:
    rows = []
    for one in decided:
        standing = one.verdict.standing
        rows.append(
            (
                one.row.id,
                standing.next_index,
                standing.next_run_at,
                standing.skip_index,
                standing.is_armed,
                standing.episode,
                standing.expiry_fired_for,
                standing.expiry_tried_on,
                standing.rearms_at,
                standing.low_episode,
                standing.wake_at,
                int(one.lead.total_seconds()),
                one.verdict.pause,
                at,
            )
        )
    rowsets.update(
        "billing_rule", _STANDING_COLUMNS, rows, assign=_STANDING_ASSIGN, where="t.id = v.id"
    )


def _ask_for_readings(decided: list[Decided], *, at: datetime) -> None:
    """A figure too old to trust is asked for; the answer wakes the rule (rule 10)."""
    lines = [one.row.line_id for one in decided if one.verdict.wants_reading]
    if lines:
        rowsets.run(_ASK, [at, lines])
