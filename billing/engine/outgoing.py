"""The executor's calls: what each leg asks of whom, as flights that are yet to be begun.

What a call needs is read here; none reads a row or opens a transaction while it is under way.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from billing.delivery import crediting
from billing.engine import probes
from billing.engine.bulkheads import Whom
from billing.engine.doubts import Whose
from billing.engine.flights import Flight, Leg
from billing.gateways.base import Answer, Gateway
from billing.models import OutageSide
from billing.outside import Outside
from billing.payments import announcements, charging, overdue
from billing.recharges.claims import Work
from billing.refunds import refunding
from billing.refunds.claims import RefundWork
from lines.carriers.base import CarrierAdapter, CreditAnswer
from lines.models import Carrier

Adapters = Mapping[int, CarrierAdapter]


def rail(code: str) -> Whom:
    return Whom(OutageSide.RAIL.value, code)


def carrier(code: str) -> Whom:
    return Whom(OutageSide.CARRIER.value, code)


def adapters_of(
    rows: Sequence[Work] | Sequence[RefundWork], *, outside: Outside
) -> dict[int, CarrierAdapter]:
    """An adapter for each carrier that has one, made before the threads that use it."""
    ids = {row.carrier_id for row in rows}
    found = Carrier.objects.in_bulk(ids) if ids else {}
    made = {pk: outside.adapter_for(carrier) for pk, carrier in found.items()}
    return {pk: adapter for pk, adapter in made.items() if adapter is not None}


def announce(rows: Sequence[Work], *, outside: Outside) -> list[Flight]:
    """Each announced where its rail demands it."""
    secrets = charging.agreements(rows) if rows else {}

    def ask(row: Work) -> announcements.Asked:
        gateway, secret = outside.gateways[row.rail], secrets[row.binding_id]
        prepared = announcements.prepare(row, gateway=gateway, provider_binding_ref=secret)
        return announcements.Asked(row, prepared)

    def unusable(row: Work, error: Exception) -> announcements.Asked:
        return announcements.Asked(row, announcements.unusable(error))

    return [
        Flight(Leg.ANNOUNCE, row, rail(row.rail), partial(ask, row), partial(unusable, row))
        for row in rows
    ]


def charge(rows: Sequence[Work], *, outside: Outside) -> list[Flight]:
    """Each charged under the reference that is committed."""
    secrets = charging.agreements(rows) if rows else {}

    def ask(row: Work) -> charging.Asked:
        answer = charging.charge(
            row,
            gateway=outside.gateways[row.rail],
            notify_url=outside.notify_url(row.rail),
            return_url=outside.return_url(row.ref),
            provider_binding_ref=secrets[row.binding_id],
        )
        return charging.Asked(row, answer)

    return [
        Flight(Leg.CHARGE, row, rail(row.rail), partial(ask, row), partial(_no_payment, row))
        for row in rows
    ]


def query(rows: Sequence[Work], *, at: datetime, outside: Outside) -> list[Flight]:
    """The rail asked about each, and what is overdue called off."""
    secrets = charging.agreements(rows) if rows else {}

    def ask(row: Work) -> charging.Asked:
        gateway = outside.gateways[row.rail]
        answer = charging.query(row, gateway=gateway, provider_binding_ref=secrets[row.binding_id])
        return charging.Asked(row, overdue.ended(row, answer, gateway=gateway, at=at))

    return [
        Flight(Leg.QUERY, row, rail(row.rail), partial(ask, row), partial(_no_payment, row))
        for row in rows
    ]


def _no_payment(row: Work, error: Exception) -> charging.Asked:
    return charging.Asked(row, charging.unusable(error))


def credit(rows: Sequence[Work], *, adapters: Adapters) -> list[Flight]:
    """Each credited under the order that is committed."""

    def ask(row: Work) -> crediting.Asked:
        answer = crediting.credit(row, adapter=adapters[row.carrier_id])
        return crediting.Asked(row, answer)

    return [
        Flight(Leg.CREDIT, row, carrier(row.carrier), partial(ask, row), partial(_no_credit, row))
        for row in rows
    ]


def _no_credit(row: Work, error: Exception) -> crediting.Asked:
    return crediting.Asked(row, crediting.unusable(error))


def query_credit(rows: Sequence[Work], *, adapters: Adapters) -> list[Flight]:
    """The carrier asked about each."""

    def asked(row: Work, answer: CreditAnswer) -> crediting.Asked:
        return crediting.Asked(row, answer, is_question=True)

    def ask(row: Work) -> crediting.Asked:
        return asked(row, crediting.query(row, adapter=adapters[row.carrier_id]))

    def unusable(row: Work, error: Exception) -> crediting.Asked:
        return asked(row, crediting.unusable(error))

    return [
        Flight(
            Leg.QUERY_CREDIT, row, carrier(row.carrier), partial(ask, row), partial(unusable, row)
        )
        for row in rows
    ]


def refund(
    rows: Sequence[RefundWork], *, gateways: Mapping[str, Gateway], adapters: Adapters
) -> list[Flight]:
    """One call each: the carrier takes the credit back, or the rail gives the money back."""

    def ask(row: RefundWork) -> refunding.Asked:
        if refunding.is_about_credit(row):
            adapter = adapters[row.carrier_id]
            return refunding.Asked(row, refunding.take_back(row, adapter=adapter))
        return refunding.Asked(row, refunding.ask(row, gateway=gateways[row.rail]))

    return [
        Flight(Leg.REFUND, row, _asked_by(row), partial(ask, row), partial(_no_refund, row))
        for row in rows
    ]


def _asked_by(row: RefundWork) -> Whom:
    return carrier(row.carrier) if refunding.is_about_credit(row) else rail(row.rail)


def _no_refund(row: RefundWork, error: Exception) -> refunding.Asked:
    said: Answer = charging.unusable(error)
    return refunding.Asked(row, said)


def probe(questions: Mapping[Whose, probes.Question]) -> list[Flight]:
    """One question each to who gives no answer."""

    def ask(whose: Whose) -> probes.Asked:
        return probes.Asked(whose, questions[whose]())

    def unusable(whose: Whose, _error: Exception) -> probes.Asked:
        return probes.Asked(whose, None)

    return [
        Flight(Leg.PROBE, one, Whom(one.side, one.code), partial(ask, one), partial(unusable, one))
        for one in questions
    ]
