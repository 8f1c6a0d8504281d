"""Alice, Bob and Charlie, and what is theirs: rows made by the ORM, for the portal's tests.

Alice has two lines, a plan and a history; Bob is the stranger; Charlie has just come.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from billing.calendar import day_key, month_key
from billing.gateways.base import Capabilities
from billing.models import (
    Binding,
    BindingState,
    Consent,
    Decision,
    Notice,
    NoticeKind,
    Rail,
    Recharge,
    RechargeMove,
    Rule,
)
from billing.states import RechargeState as S
from billing.states import Trigger
from lines.models import BalanceReading, Carrier, EsimProfile, Line, LineKind, LineStatus
from portal.accounts.models import User
from tests.fakes import FakeGateway

PASSWORD = "correct horse battery"
# Each move a recharge makes on the way to its last state.
WAYS: dict[str, tuple[S, ...]] = {
    S.COMPLETED: (S.CHARGING, S.DELIVERING, S.COMPLETED),
    S.PAYMENT_UNKNOWN: (S.CHARGING, S.PAYMENT_UNKNOWN),
    S.DELIVERY_UNKNOWN: (S.CHARGING, S.DELIVERING, S.DELIVERY_UNKNOWN),
    S.DECLINED: (S.CHARGING, S.DECLINED),
    S.FAILED: (S.CHARGING, S.FAILED),
    S.CANCELED: (S.CANCELED,),
    S.DUE: (),
}
_REASONS = {
    S.CHARGING: "sent",
    S.DELIVERING: "paid",
    S.COMPLETED: "credited",
    S.PAYMENT_UNKNOWN: "no_answer",
    S.DELIVERY_UNKNOWN: "carrier_no_answer",
    S.DECLINED: "soft_decline",
    S.FAILED: "retries_exhausted",
    S.CANCELED: "canceled_by_owner",
}


def gateway(**capabilities: Any) -> FakeGateway:
    """Alipay, there and willing."""
    currencies = frozenset({"CNY"})
    return FakeGateway(Capabilities(rail="alipay", currencies=currencies, **capabilities))


def carrier(code: str = "cmcc", **more: Any) -> Carrier:
    defaults: dict[str, Any] = {
        "name": "中国移动",
        "name_en": "China Mobile",
        "currency": "CNY",
        "denominations_minor": [1000, 2000, 3000, 5000, 10_000, 20_000],
        "base_url": "http://127.0.0.1:9/",
    }
    return Carrier.objects.get_or_create(code=code, defaults=defaults | more)[0]


def alipay() -> Rail:
    return Rail.objects.get_or_create(
        code="alipay", defaults={"name": "支付宝", "name_en": "Alipay"}
    )[0]


def person(name: str, *, language: str = "en", **more: Any) -> User:
    address = {} if "phone" in more else {"email": f"{name.lower()}@example.org"}
    return User.objects.create_user(
        name=name, password=PASSWORD, language=language, **(address | more)
    )


def line(owner: User, number: int = 21, *, at: datetime, **more: Any) -> Line:
    defaults: dict[str, Any] = {
        "kind": LineKind.FM,
        "carrier": carrier(),
        "label": "妈妈的手机",
        "msisdn": f"+861380000{number:04d}",
        "iccid": "8986001234567890" + f"{number:04d}",
        "status": LineStatus.ACTIVE,
        "created_at": at - timedelta(days=400),
        "verified_at": at - timedelta(days=400),
        "balance_minor": 1860,
        "balance_observed_at": at - timedelta(minutes=4),
    }
    return Line.objects.create(owner=owner, **(defaults | more))


def esim(owner: User, *, at: datetime, **more: Any) -> Line:
    defaults: dict[str, Any] = {
        "kind": LineKind.ESIM,
        "label": "旅行 eSIM",
        "msisdn": "",
        "iccid": "8944538532008160222",
        "balance_minor": 6200,
        "valid_until": at + timedelta(days=21, hours=3),
    }
    made = line(owner, at=at, **(defaults | more))
    EsimProfile.objects.create(
        line=made,
        smdp_address="smdp.example.com",
        matching_id="QR-G-5C-1LS-1W1Z9P7",
        state=EsimProfile.State.INSTALLED,
    )
    return made


def readings(of: Line, *, at: datetime, days: int = 12, per_day_minor: int = 340) -> None:
    """A saw-tooth down to the line's balance, with one recharge on the way."""
    balance = of.balance_minor or 0
    rows = []
    for hours in range(4, days * 24, 6):
        then = at - timedelta(hours=hours)
        minor = balance + per_day_minor * hours // 24
        if hours > days * 12:
            minor -= 5000 - per_day_minor * 4
        rows.append((then, max(minor, 150)))
    rows.insert(0, (of.balance_observed_at or at, balance))
    BalanceReading.objects.bulk_create(
        BalanceReading(
            line=of,
            balance_minor=minor,
            observed_at=then,
            received_at=then,
            source=BalanceReading.Source.PUSHED,
            is_applied=True,
        )
        for then, minor in rows
    )


def binding(owner: User, *, at: datetime, **more: Any) -> Binding:
    defaults: dict[str, Any] = {
        "rail": alipay(),
        "label": "li***@163.com",
        "fingerprint": f"print-{owner.pk}",
        "state": BindingState.ACTIVE,
        "is_default": True,
        "created_at": at - timedelta(days=100),
        "signed_at": at - timedelta(days=100),
        "checked_at": at - timedelta(hours=5),
    }
    return Binding.objects.create(owner=owner, **(defaults | more))


def rule(of: Line, pays: Binding, *, at: datetime, **more: Any) -> Rule:
    """A running plan: low balance and the 31st of each month."""
    consent = Consent.objects.create(
        line=of,
        owner=of.owner,
        binding=pays,
        text="I agree that Keepline recharges this line.",
        text_version="2026-11-22",
        language="en",
        plan={"anchor_date": "2026-10-31", "cycle": "monthly"},
        at=at - timedelta(days=60),
    )
    defaults: dict[str, Any] = {
        "face_minor": 5000,
        "cycle": "monthly",
        "anchor_date": date(2026, 10, 31),
        "next_index": 1,
        "next_run_at": at + timedelta(days=9),
        "threshold_minor": 1000,
        "max_per_charge_minor": 5000,
        "max_per_month_minor": 15_000,
        "is_on": True,
        "consent": consent,
        "created_at": at - timedelta(days=60),
    }
    return Rule.objects.create(line=of, binding=pays, **(defaults | more))


def recharge(
    of: Line, pays: Binding, *, at: datetime, state: str = S.COMPLETED, **more: Any
) -> Recharge:
    """One that has come to `state`, by moves the database allows."""
    face_minor = more.pop("face_minor", 5000)
    discount_minor = more.pop("discount_minor", 0)
    is_paid = state in (S.COMPLETED, S.DELIVERY_UNKNOWN)
    made = Recharge.objects.create(
        line=of,
        owner=of.owner,
        binding=pays,
        rail=pays.rail_id,
        sim_generation=of.sim_generation,
        trigger=more.pop("trigger", Trigger.LOW_BALANCE),
        period_key=more.pop("period_key", f"low:{at:%Y%m%d%H%M}"),
        state=S.DUE,
        reason="opened",
        face_minor=face_minor,
        discount_minor=discount_minor,
        price_minor=face_minor - discount_minor,
        currency=of.currency,
        ladder_s=[],
        cap_day=day_key(at, of.timezone),
        cap_month=month_key(at, of.timezone),
        created_at=at,
        due_at=at,
        expires_at=at + timedelta(days=1),
        charged_at=at + timedelta(seconds=2) if is_paid else None,
        completed_at=at + timedelta(seconds=4) if state == S.COMPLETED else None,
        credited_minor=face_minor if state == S.COMPLETED else None,
        **more,
    )
    _move(made, "", S.DUE, "opened", at)
    for number, target in enumerate(WAYS[state], start=1):
        _move(made, made.state, target, _REASONS[target], at + timedelta(seconds=number))
    return made


def _move(made: Recharge, source: str, target: str, because: str, at: datetime) -> None:
    RechargeMove.objects.create(recharge=made, source=source, target=target, because=because, at=at)
    if source:
        Recharge.objects.filter(pk=made.pk).update(state=target, reason=because)
        made.refresh_from_db()


def decision(of: Rule, code: str, *, at: datetime, made: Recharge | None = None, **facts: Any):
    return Decision.objects.create(
        rule=of,
        trigger=Trigger.LOW_BALANCE,
        period_key=f"low:{at:%Y%m%d%H%M}",
        code=code,
        is_charge=made is not None,
        recharge=made,
        facts={"currency": "CNY", **facts},
        at=at,
    )


def notice(to: User, kind: str = NoticeKind.LOW_BALANCE, *, at: datetime, **more: Any) -> Notice:
    defaults: dict[str, Any] = {
        "occurrence_key": f"{kind}:{at:%Y%m%d%H%M}",
        "facts": {"currency": "CNY", "balance_minor": 840, "threshold_minor": 1000},
    }
    return Notice.objects.create(owner=to, kind=kind, created_at=at, **(defaults | more))


def alice_at_home(*, at: datetime | None = None, language: str = "en") -> User:
    """Alice with all she has: two lines, a plan, charges made and not made, notices."""
    at = at or datetime.now(UTC)
    alice = person("Alice", language=language)
    pays = binding(alice, at=at, expires_at=at + timedelta(days=26))
    mum = line(alice, at=at)
    trip = esim(alice, at=at)
    readings(mum, at=at)
    readings(trip, at=at, per_day_minor=120)
    plan = rule(mum, pays, at=at)
    for months in range(1, 12):
        recharge(mum, pays, at=at - timedelta(days=31 * months), discount_minor=75)
    low: dict[str, Any] = {"balance_minor": 840, "threshold_minor": 1000, "face_minor": 5000}
    latest = recharge(mum, pays, at=at - timedelta(hours=3), discount_minor=75, rule=plan)
    decision(plan, "charge", at=at - timedelta(hours=3), made=latest, **low)
    until = (at - timedelta(hours=2)).isoformat()
    close: dict[str, Any] = {"balance_minor": 980, "threshold_minor": 1000, "until": until}
    decision(plan, "cooling_down", at=at - timedelta(hours=2, minutes=30), **close)
    decision(plan, "skipped_by_owner", at=at - timedelta(days=41))
    failed = at - timedelta(days=22)
    recharge(mum, pays, at=failed, state=S.FAILED, trigger=Trigger.SCHEDULE, rule=plan)
    notice(alice, at=at - timedelta(hours=3), line=mum)
    notice(
        alice,
        NoticeKind.RECHARGED,
        at=at - timedelta(hours=2, minutes=59),
        line=mum,
        recharge=latest,
        facts={"currency": "CNY", "face_minor": 5000, "price_minor": 4925, "rail": "alipay"},
    )
    return alice
