"""A question about something that is in doubt, to learn whether its rail or carrier answers again.

What comes back is kept as evidence; it settles nothing, so that no ladder is climbed by it. No
transaction is open while it is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from billing import outages, rowsets
from billing.engine import doubts
from billing.engine.doubts import Whose
from billing.gateways.base import Answer, BindingAnswer, Gateway
from billing.gateways.base import Unknown as NoWord
from billing.models import Binding, OutageSide
from billing.outages import Heard
from billing.outside import Outside
from billing.recharges import evidence
from lines.carriers.base import (
    BalanceAnswer,
    CarrierAdapter,
    CreditAnswer,
    LineAddress,
    Unknown,
)
from lines.models import Carrier

LONGEST = timedelta(days=7)

_PAYMENT = f"""
SELECT a.reference, a.provider_ref, a.binding_id
FROM billing_recharge g JOIN billing_paymentattempt a ON a.recharge_id = g.id
WHERE g.act_at IS NOT NULL AND {doubts.RECHARGES_AT_RAIL} ORDER BY random() LIMIT 1"""  # noqa: S608 # nosec B608
_REFUND = f"""
SELECT f.reference, a.reference AS charge_ref
FROM billing_refund f JOIN billing_paymentattempt a ON a.id = f.attempt_id
WHERE f.act_at IS NOT NULL AND {doubts.REFUNDS_AT_RAIL} ORDER BY random() LIMIT 1"""  # noqa: S608 # nosec B608
_ANNOUNCED = f"""
SELECT g.binding_id AS id FROM billing_recharge g
WHERE g.act_at IS NOT NULL AND {doubts.RECHARGES_AT_RAIL} ORDER BY random() LIMIT 1"""  # noqa: S608 # nosec B608
_CREDIT = f"""
SELECT d.reference, d.carrier_ref, y.msisdn, y.iccid
FROM billing_recharge g JOIN lines_delivery d ON d.order_ref = g.ref
JOIN lines_line y ON y.id = g.line_id
WHERE g.act_at IS NOT NULL AND {doubts.RECHARGES_AT_CARRIER} ORDER BY random() LIMIT 1"""  # noqa: S608 # nosec B608
_TAKEN_BACK = f"""
SELECT d.reference, d.carrier_ref, y.msisdn, y.iccid
FROM billing_refund f JOIN billing_recharge r ON r.id = f.recharge_id
JOIN lines_delivery d ON d.order_ref = r.ref JOIN lines_line y ON y.id = r.line_id
WHERE f.act_at IS NOT NULL AND {doubts.REFUNDS_AT_CARRIER} ORDER BY random() LIMIT 1"""  # noqa: S608 # nosec B608
_LINE = f"SELECT msisdn, iccid FROM lines_line WHERE id IN ({doubts.LINES})"  # noqa: S608 # nosec B608
_NOTHING = """
UPDATE billing_outage SET is_failing = false, probe_at = NULL, wake_at = NULL
WHERE side = %s AND code = %s AND is_failing"""


class Payment(NamedTuple):
    """One row of `_PAYMENT`."""

    reference: str
    provider_ref: str
    binding_id: int


class Refund(NamedTuple):
    """One row of `_REFUND`."""

    reference: str
    charge_ref: str


class Credit(NamedTuple):
    """One row of `_CREDIT` or `_TAKEN_BACK`."""

    reference: str
    carrier_ref: str
    msisdn: str
    iccid: str


class Number(NamedTuple):
    """One row of `_LINE`."""

    msisdn: str
    iccid: str


Said = Answer | BindingAnswer | CreditAnswer | BalanceAnswer
Question = Callable[[], Said]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that was asked, and what came back; None: it broke in our own code."""

    whose: Whose
    said: Said | None


def question(whose: Whose, *, outside: Outside, at: datetime) -> Question | None:
    """What to ask. An outage that leaves nothing in doubt is over, and so is one that is as old as
    any ladder. What cannot be asked at all, an operator has switched off."""
    found = _question(whose, outside=outside, at=at)
    if found is None or at - whose.since > LONGEST:
        rowsets.run(_NOTHING, [whose.side, whose.code])
        return None
    return found


def record(asked: Sequence[Asked], *, at: datetime) -> None:
    """Note whether each was answered, and keep the evidence."""
    for one in asked:
        is_answer = one.said is not None and not isinstance(one.said.outcome, NoWord | Unknown)
        if one.said is not None:
            with transaction.atomic():
                _keep(one.whose, one.said, at=at)
        whose = one.whose
        outages.note([Heard(OutageSide(whose.side), whose.code, is_answer, True)], at=at)


def _keep(whose: Whose, said: Said, *, at: datetime) -> None:
    if isinstance(said, Answer | BindingAnswer):
        evidence.record_rail_calls([(whose.code, said)], at=at)
    else:
        evidence.record_calls(said.exchanges, at=at)


def _question(whose: Whose, *, outside: Outside, at: datetime) -> Question | None:
    if whose.side == OutageSide.RAIL:
        gateway = outside.gateways.get(whose.code)
        return _to_rail(gateway, whose, at=at) if gateway is not None else None
    carrier = Carrier.objects.filter(code=whose.code).first()
    adapter = outside.adapter_for(carrier) if carrier is not None else None
    return _to_carrier(adapter, whose, at=at) if adapter is not None else None


def _to_rail(gateway: Gateway, whose: Whose, *, at: datetime) -> Question | None:
    facts = doubts.params(whose, at=at)
    for paid in rowsets.read(_PAYMENT, facts, into=Payment):
        agreement = Binding.objects.get(pk=paid.binding_id).provider_ref
        return lambda: gateway.query(
            reference=paid.reference,
            provider_ref=paid.provider_ref,
            provider_binding_ref=agreement,
        )
    for back in rowsets.read(_REFUND, facts, into=Refund):
        return lambda: gateway.query_refund(refund_ref=back.reference, charge_ref=back.charge_ref)
    with transaction.atomic():
        ids = rowsets.column(_ANNOUNCED, facts, of=int) or rowsets.column(
            doubts.BINDINGS, facts, of=int
        )
    for binding in Binding.objects.filter(pk__in=ids):
        return lambda: gateway.get_binding(
            binding_ref=binding.ref, provider_ref=binding.provider_ref
        )
    return None


def _to_carrier(adapter: CarrierAdapter, whose: Whose, *, at: datetime) -> Question | None:
    facts = doubts.params(whose, at=at)
    found = rowsets.read(_CREDIT, facts, into=Credit)
    found = found or rowsets.read(_TAKEN_BACK, facts, into=Credit)
    for one in found:
        address = LineAddress(msisdn=one.msisdn, iccid=one.iccid)
        if not adapter.can_query_by_reference:
            return lambda: adapter.balance(address=address)
        return lambda: adapter.query(
            reference=one.reference, address=address, carrier_ref=one.carrier_ref
        )
    with transaction.atomic():
        numbers = rowsets.read(_LINE, facts, into=Number)
    for number in numbers:
        where = LineAddress(msisdn=number.msisdn, iccid=number.iccid)
        return lambda: adapter.balance(address=where)
    return None
