"""Notices of Alice's."""

from datetime import UTC, datetime
from typing import Any

from billing.models import NoticeDelivery, NoticeKind
from billing.notices import telling
from tests import world as w
from tests.world import NOON

RUN_AT = datetime(2026, 12, 2, 1, 0, tzinfo=UTC)
FACTS = {
    "balance_minor": 840,
    "effective_minor": 840,
    "threshold_minor": 1000,
    "face_minor": 5000,
    "price_minor": 4925,
    "amount_minor": 4925,
    "bonus_minor": 100,
    "cap_minor": 15000,
    "spent_minor": 12000,
    "currency": "CNY",
    "rail": "alipay",
    "trigger": "low_balance",
    "at": "2026-12-01T01:00:00+00:00",
    "until": "2026-11-29T01:00:00+00:00",
    "observed_at": "2026-11-22T03:56:00+00:00",
    "days": 7,
    "code": "cap_month",
    "is_on": True,
}


def tell(owner=None, **more) -> bool:
    owner = owner or w.person()
    given: dict[str, Any] = {
        "owner_id": owner.pk,
        "kind": NoticeKind.RECHARGED,
        "occurrence_key": "R1:credited",
        "facts": FACTS,
        "channels": ["inbox", "email"],
        "at": NOON,
    }
    return telling.tell(**(given | more))


def deliveries() -> list[tuple[str, str, int]]:
    found = NoticeDelivery.objects.order_by("pk")
    return [(one.channel, one.state, one.tries) for one in found]
