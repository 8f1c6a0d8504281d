"""Drafts and rules of Alice's, for the tests of the owner's contract."""

from dataclasses import replace
from datetime import date, time, timedelta
from typing import Any

from django.utils import translation

from billing.calendar import Hours
from billing.gateways.base import Capabilities
from billing.models import Consent, Promotion, Rule
from billing.plans import contract
from billing.plans.contract import Draft, InvalidDraft
from tests import world as w
from tests.factories.billing import PromotionFactory
from tests.world import DAY, NOON

ALIPAY = Capabilities(rail="alipay", currencies=frozenset({"CNY"}))
FUSSY = replace(ALIPAY, last_day_of_month=28)
DAYTIME = Hours(time(7), time(22), "Asia/Shanghai")
ANNOUNCING = replace(ALIPAY, hours=DAYTIME, notice=timedelta(hours=24))
# 22 November 2026, a Sunday, midday in Shanghai.
TODAY = date(2026, 11, 22)


def draft(**more) -> Draft:
    """50.00 on the last day of each month, on Alice's line."""
    line = more.pop("line", None) or w.line()
    given: dict[str, Any] = {
        "line": line,
        "binding": more.pop("binding", None) or w.binding(line.owner),
        "face_minor": 5000,
        "cycle": "monthly",
        "anchor_date": date(2026, 12, 31),
        "max_per_charge_minor": 5000,
        "max_per_month_minor": 15_000,
    }
    return Draft(**(given | more))


def low(**more) -> Draft:
    """50.00 whenever the balance is below 10.00, and nothing else."""
    given = {"cycle": "none", "anchor_date": None, "threshold_minor": 1000}
    return draft(**(given | more))


def errors(of: Draft, capabilities=ALIPAY, at=NOON) -> dict[str, str]:
    with translation.override("en"):
        try:
            contract.check(draft=of, capabilities=capabilities, at=at)
        except InvalidDraft as refusal:
            return refusal.errors
    return {}


def preview(of: Draft, capabilities=ALIPAY, at=NOON) -> contract.Preview:
    contract.check(draft=of, capabilities=capabilities, at=at)
    return contract.preview(draft=of, capabilities=capabilities, at=at)


def confirm(of: Draft | None = None, *, rule=None, at=NOON, capabilities=ALIPAY, **more) -> Rule:
    """Save where there is no rule yet, and confirm."""
    if rule is None:
        assert of is not None
        rule = contract.save_draft(draft=of, capabilities=capabilities, at=at)
        of = None
    given: dict[str, Any] = {
        "rule": rule,
        "owner": rule.line.owner,
        "seen_version": rule.version,
        "capabilities": capabilities,
        "language": "en",
        "ip": "192.0.2.7",
        "user_agent": "Firefox",
        "draft": of,
        "at": at,
    }
    return contract.confirm(**(given | more))


def saved(rule: Rule) -> Rule:
    return Rule.objects.select_related("line", "binding").get(pk=rule.pk)


def state(rule: Rule) -> dict[str, Any]:
    return dict(Rule.objects.values().get(pk=rule.pk))


def agreed(rule: Rule) -> Consent:
    assert rule.consent is not None
    return rule.consent


def offer(**more) -> Promotion:
    """0.75 off for more than a year."""
    return PromotionFactory.create(**{"fixed_minor": 75, "ends_at": NOON + 400 * DAY} | more)
