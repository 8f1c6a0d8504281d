"""The most a month can cost, held against the executor's own decisions, by hand included."""

from collections import Counter
from contextlib import contextmanager, suppress
from datetime import time

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.calendar import month_key
from billing.models import Recharge, Rule
from billing.plans import contract, drafts
from billing.recharges.machine import OpenRecharge
from billing.rules import by_hand
from billing.rules.caps import CapReached
from lines.models import Line
from tests import world as w
from tests.billing.plans_world import ALIPAY
from tests.factories.billing import SpendingCapFactory
from tests.world import DAY, HOUR, MINUTE, NOON

STEPS = st.lists(
    st.tuples(st.sampled_from(["low", "hand", "other hand", "outage", "wait"]), st.integers(1, 96)),
    min_size=5,
    max_size=25,
)


def plan(*, is_low: bool, of: Line, first_at=NOON + DAY, cap_minor=9000) -> Rule:
    kind = {} if is_low else {"threshold_minor": None}
    return w.rule(
        of,
        binding=w.binding(of.owner, max_per_month_minor=cap_minor),
        cycle="monthly",
        anchor_date=first_at.date(),
        charge_time=time(12, 0),
        next_run_at=first_at,
        wake_at=NOON,
        max_per_day_count=3,
        **kind,
    )


def by_owner(line, binding, *, at, key) -> None:
    with suppress(CapReached, OpenRecharge):
        by_hand.recharge(
            line=line,
            binding=binding,
            face_minor=3000,
            owner=line.owner,
            idempotency_key=key,
            at=at,
        )


def live(world, rule, steps) -> None:
    """Each step, and as many hours; a rail that is away lets what was due slip."""
    other = w.binding(rule.line.owner)
    for number, (act, hours) in enumerate(steps):
        w.rail(deferred_since=world.at if act == "outage" else None)
        reading = {"balance_minor": 500 if act == "low" else 9000, "balance_observed_at": world.at}
        Line.objects.filter(pk=rule.line_id).update(**reading)
        if act == "low":
            Rule.objects.filter(pk=rule.pk).update(
                is_armed=True, wake_at=world.at, cooldown_until=None
            )
        if act in ("hand", "other hand"):
            binding = rule.binding if act == "hand" else other
            by_owner(rule.line, binding, at=world.at, key=str(number))
        for _quarter in range(2):
            world.run()
            world.later(hours * HOUR / 2 + MINUTE)


def costs(zone: str, **only) -> Counter[object]:
    found: Counter[object] = Counter()
    for one in Recharge.objects.filter(charged_at__isnull=False, **only):
        found[month_key(one.charged_at, zone)] += one.price_minor
    return found


@pytest.mark.django_db
@given(steps=STEPS, is_low=st.booleans(), has_owner_cap=st.booleans())
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_is_never_passed(rewound, steps, is_low, has_owner_cap):
    with rewound() as world:
        line = w.line(balance_minor=9000)
        if has_owner_cap:
            SpendingCapFactory.create(owner=line.owner, max_per_month_minor=11_000)
        rule = plan(is_low=is_low, of=line, first_at=NOON + 8 * DAY)
        shown = contract.preview(draft=drafts.of(rule), capabilities=ALIPAY, at=world.at)

        live(world, rule, steps)

        assert max(costs(line.timezone).values(), default=0) <= shown.month_max_minor
        by_plan = costs(line.timezone, rule=rule)
        assert max(by_plan.values(), default=0) <= shown.plan_max_minor
        w.assert_balanced()


@pytest.mark.django_db
def test_is_reached_by_a_date_that_slips_into_the_next_month(rewound):
    last_day = NOON + 8 * DAY
    with rewound() as world:
        rule = plan(is_low=False, of=w.line(balance_minor=9000), first_at=last_day, cap_minor=None)
        shown = contract.preview(draft=drafts.of(rule), capabilities=ALIPAY, at=world.at)
        world.later(8 * DAY)
        w.rail(deferred_since=world.at)
        world.run()
        world.later(14 * HOUR)
        w.rail(deferred_since=None)
        world.run()
        world.later(29 * DAY - 14 * HOUR + DAY)
        world.run()

        assert list(costs(rule.line.timezone).values()) == [10_000]
        assert (shown.plan_max_minor, shown.month_max_minor) == (10_000, 15_000)
        w.assert_balanced()


@pytest.fixture
def rewound():
    """A world of its own for each example, gone with it."""

    @contextmanager
    def make():
        with transaction.atomic():
            w.carrier(), w.rail()
            yield w.World()
            transaction.set_rollback(True)

    return make
