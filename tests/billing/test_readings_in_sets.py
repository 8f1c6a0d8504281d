"""A batch of readings leaves the state that they leave one after the other: any batch at all."""

import os
from datetime import timedelta
from typing import Any

from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from billing.models import Notice, NoticeDelivery, Rule
from billing.rules import readings
from billing.rules.balances import Reading
from lines.models import BalanceReading, Line
from lines.validity import UNSAID
from tests import world as w
from tests.billing import one_by_one
from tests.factories.billing import RechargeFactory

NOW = w.NOON
EXAMPLES = int(os.environ.get("KEEPLINE_EXAMPLES", "25"))
# Few values of each, so that they meet: the same instant, the same number, the same threshold.
SHIFTS = [timedelta(seconds=s) for s in (-90_000, -3_700, -60, 0, 1, 240, 400)]
ENDS = [NOW + w.DAY, NOW + 9 * w.DAY, NOW.replace(year=9999), NOW.replace(year=1970)]
UNTIL = [UNSAID, UNSAID, None, *ENDS]
LEVELS = st.sampled_from([-500, 400, 999, 1000, 1499, 1500, 4000])
ODD_INSTANTS = st.sampled_from([None, NOW - w.HOUR, NOW, NOW + w.HOUR])


def reading_of(count: int) -> st.SearchStrategy[tuple[int, dict[str, Any]]]:
    fields = st.fixed_dictionaries(
        {
            "balance_minor": LEVELS,
            "observed_at": st.sampled_from([NOW + shift for shift in SHIFTS]),
            "reserved_minor": st.sampled_from([0, 0, 300]),
            "sequence": st.sampled_from([None, None, 1, 2, 3]),
            "valid_until": st.sampled_from(UNTIL),
            "source": st.sampled_from(["pushed", "pushed", "polled"]),
        }
    )
    return st.tuples(st.integers(0, count - 1), fields)


LINES = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["active", "active", "suspended", "removed"]),
        "balance_minor": st.sampled_from([None, 1000, 4000]),
        "balance_observed_at": st.sampled_from([NOW - w.HOUR, NOW, NOW + w.MINUTE, None]),
        "balance_sequence": st.sampled_from([None, 1, 2]),
        "valid_until": st.sampled_from([None, NOW + w.DAY, NOW + 9 * w.DAY]),
        "poll_at": ODD_INSTANTS,
    }
)
RULES = st.fixed_dictionaries(
    {
        "threshold_minor": st.sampled_from([None, 1000, 1000]),
        "hysteresis_minor": st.sampled_from([0, 500]),
        "is_on": st.booleans(),
        "is_armed": st.booleans(),
        "episode": st.sampled_from([1, 2]),
        "low_episode": st.sampled_from([0, 1, 2]),
        "rearms_at": ODD_INSTANTS,
        "cooldown_until": ODD_INSTANTS,
        "lead_s": st.sampled_from([0, 0, 3600]),
        "expiry_days_before": st.sampled_from([None, 3]),
        "expiry_fired_for": st.sampled_from([None, (NOW + w.DAY).date()]),
        "expiry_tried_on": st.sampled_from([None, NOW.date()]),
        "remind_low_balance": st.booleans(),
        "wake_at": ODD_INSTANTS,
        "paused_at": st.sampled_from([None, None, NOW - w.DAY]),
        "paused_until": st.sampled_from([None, None, NOW + 4 * w.DAY]),
    }
)


def state() -> dict[str, list[Any]]:
    """All that a reading may change, but for the numbers of rows."""
    kept = [
        {name: value for name, value in row.items() if name != "id"}
        for row in BalanceReading.objects.values()
    ]
    told = Notice.objects.values_list("owner_id", "kind", "occurrence_key", "line_id", "facts")
    sent = NoticeDelivery.objects.values_list("notice__occurrence_key", "channel")
    return {
        "lines": list(Line.objects.order_by("pk").values()),
        "rules": list(Rule.objects.order_by("pk").values()),
        "readings": sorted(map(str, kept)),
        "notices": sorted(map(str, told)),
        "deliveries": sorted(sent),
    }


class _Undone(Exception):
    pass


def after(take_in: Any, given_readings: list[Reading]) -> tuple[list[Any], dict[str, list[Any]]]:
    """What it answers and leaves; all undone afterwards."""
    found: Any = None
    try:
        with transaction.atomic():
            found = take_in(readings=given_readings, at=NOW), state()
            raise _Undone
    except _Undone:
        return found


class TestABatch(TestCase):
    def setUp(self) -> None:
        w.carrier(), w.rail()
        owner = w.person()
        self.lines = [w.line(owner) for _ in range(4)]
        tool = w.binding(owner)
        self.rules = [w.rule(line, binding=tool) for line in self.lines[:3]]
        RechargeFactory.create(line=self.lines[0], rule=self.rules[0], binding=tool, face_minor=700)

    @settings(max_examples=EXAMPLES)
    @given(
        lines=st.lists(LINES, min_size=4, max_size=4),
        rules=st.lists(RULES, min_size=3, max_size=3),
        told=st.lists(reading_of(4), max_size=14),
    )
    def test_is_as_one_after_the_other(self, lines: Any, rules: Any, told: Any) -> None:
        for line, fields in zip(self.lines, lines, strict=True):
            Line.objects.filter(pk=line.pk).update(**fields)
        for rule, fields in zip(self.rules, rules, strict=True):
            Rule.objects.filter(pk=rule.pk).update(**fields)
        given_readings = [Reading(self.lines[index].pk, **fields) for index, fields in told]
        assert after(readings.take_in, given_readings) == after(one_by_one.take_in, given_readings)
