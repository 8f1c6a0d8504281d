"""Stripe's own books of one UTC day: its balance transactions, as statement rows.

A transaction counts in the currency the account settles in; what the payer paid stands on its
source. Rows speak of the latter, because that is what we asked for; a fee in another currency is a
row of its own. Everything is read before the first row is given: half a statement looks like a day
on which payments are missing.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import IO

import stripe
from stripe.params import BalanceTransactionListParams

from billing.gateways.base import StatementKind, StatementNotReady, StatementRow, UnreadableRow
from billing.gateways.stripe.intents import instant, member, text, whole
from billing.gateways.stripe.masking import masked_json
from billing.gateways.stripe.orders import CHARGE_KEY, REFUND_KEY
from billing.gateways.stripe.wire import Wire

_PAGE = 100
_SPOOLED_BYTES = 4 * 1024 * 1024
# The last second's payments may be booked a moment later.
_SETTLES_IN = timedelta(minutes=10)
_LONGEST_TEXT = 500

_KINDS = {
    "charge": StatementKind.PAYMENT,
    "payment": StatementKind.PAYMENT,
    "refund": StatementKind.REFUND,
    "payment_refund": StatementKind.REFUND,
    "refund_failure": StatementKind.REFUND_BACK,
    "payment_failure_refund": StatementKind.REFUND_BACK,
    "stripe_fee": StatementKind.FEE,
    "stripe_fx_fee": StatementKind.FEE,
    "tax_fee": StatementKind.FEE,
}
# What an `adjustment` is says its reporting category.
_ADJUSTMENTS = {
    "dispute": StatementKind.DISPUTE,
    "dispute_reversal": StatementKind.DISPUTE_WON,
    "refund_failure": StatementKind.REFUND_BACK,
    "fee": StatementKind.FEE,
    "network_cost": StatementKind.FEE,
}
_DISPUTES = (StatementKind.DISPUTE, StatementKind.DISPUTE_WON)
# Between Stripe and the merchant: its bank, its reserves, its loans, what it gives away. No
# payer's money.
_OF_THE_MERCHANT = """
payout payout_cancel payout_failure payout_minimum_balance_hold payout_minimum_balance_release
topup topup_reversal transfer transfer_cancel transfer_failure transfer_refund
inbound_transfer inbound_transfer_reversal fee_credit_funding tax_fund
reserve_transaction reserved_funds reserve_hold reserve_release
payment_network_reserve_hold payment_network_reserve_release
advance advance_funding anticipation_repayment contribution
climate_order_purchase climate_order_refund
stripe_balance_payment_debit stripe_balance_payment_debit_reversal
"""
_NOT_OURS = frozenset(_OF_THE_MERCHANT.split())
# By the category, of an `adjustment`: held back from the merchant, and let go again.
_RESERVES = frozenset({"risk_reserved_funds"})


def read(
    wire: Wire, *, day: date, clock: Callable[[], datetime]
) -> Iterator[StatementRow | UnreadableRow]:
    """The rows of one UTC day, latest first. Raises StatementNotReady before the first."""
    opens = datetime.combine(day, time.min, UTC)
    closes = opens + timedelta(days=1)
    if clock() < closes + _SETTLES_IN:
        raise StatementNotReady(f"The UTC day {day} is not over yet.")
    file = tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES)  # noqa: SIM115
    try:
        _download(wire, opens, closes, into=file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return _rows(file)


def _download(wire: Wire, opens: datetime, closes: datetime, *, into: IO[bytes]) -> None:
    """Every transaction of the day, a line of JSON each."""
    params: BalanceTransactionListParams = {
        "created": {"gte": int(opens.timestamp()), "lt": int(closes.timestamp())},
        "limit": _PAGE,
        "expand": ["data.source"],
    }
    try:
        for one in wire.v1.balance_transactions.list(params).auto_paging_iter():
            into.write(json.dumps(one.to_dict(), default=str).encode() + b"\n")
    except stripe.StripeError as error:
        said = f"{type(error).__name__} {error.http_status or ''}".strip()
        raise StatementNotReady(f"The balance transactions did not arrive: {said}.") from None


def _rows(file: IO[bytes]) -> Iterator[StatementRow | UnreadableRow]:
    with file:
        for number, line in enumerate(file, start=1):
            yield from _of_one(number, json.loads(line))


def _of_one(number: int, one: Mapping[str, object]) -> Iterator[StatementRow | UnreadableRow]:
    booked, category = text(one, "type"), text(one, "reporting_category")
    if booked in _NOT_OURS or (booked == "adjustment" and category in _RESERVES):
        return
    kind = _KINDS.get(booked) or _ADJUSTMENTS.get(category)
    if kind is None:
        yield _unreadable(number, one, f"of a kind that is not read here: {booked}")
        return
    amount_minor, fee_minor = whole(one.get("amount")), whole(one.get("fee"))
    if amount_minor is None or fee_minor is None or whole(one.get("created")) is None:
        yield _unreadable(number, one, "its amounts cannot be read")
    elif kind is StatementKind.FEE:
        yield _fee(number, one, fee_minor - amount_minor, "")
    else:
        yield from _about_payment(number, one, kind, fee_minor)


def _about_payment(
    number: int, one: Mapping[str, object], kind: StatementKind, fee_minor: int
) -> Iterator[StatementRow | UnreadableRow]:
    source = member(one, "source")
    amount_minor = whole(source.get("amount"))
    if amount_minor is None:
        yield _unreadable(number, one, "its source is not told")
        return
    settled, paid = text(one, "currency").upper(), text(source, "currency").upper()
    our_ref = text(source, "metadata", CHARGE_KEY)
    yield StatementRow(
        line_number=number,
        kind=kind,
        our_ref=our_ref,
        provider_ref=text(source, "payment_intent") or text(source, "id"),
        amount_minor=amount_minor,
        fee_minor=fee_minor if settled == paid else 0,
        currency=paid,
        at=instant(one["created"]),
        refund_ref=text(source, "metadata", REFUND_KEY),
        dispute_ref=text(source, "id") if kind in _DISPUTES else "",
    )
    if settled != paid and fee_minor:
        yield _fee(number, one, fee_minor, our_ref)


def _fee(number: int, one: Mapping[str, object], amount_minor: int, our_ref: str) -> StatementRow:
    return StatementRow(
        line_number=number,
        kind=StatementKind.FEE,
        our_ref=our_ref,
        provider_ref=text(one, "id"),
        amount_minor=amount_minor,
        fee_minor=0,
        currency=text(one, "currency").upper(),
        at=instant(one["created"]),
    )


def _unreadable(number: int, one: Mapping[str, object], reason: str) -> UnreadableRow:
    source = member(one, "source")
    return UnreadableRow(
        number,
        masked_json(one)[:_LONGEST_TEXT],
        reason,
        our_ref=text(source, "metadata", CHARGE_KEY),
        provider_ref=text(source, "payment_intent") or text(source, "id"),
        refund_ref=text(source, "metadata", REFUND_KEY),
    )
