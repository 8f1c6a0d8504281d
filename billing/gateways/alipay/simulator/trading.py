"""Charging, closing, refunding: the rules by which the simulator's Alipay moves money.

Chosen where nothing certain is known: a deduction of 周期扣款 is taken from EARLY_DAYS before its
planned date up to that date; a declined synchronous charge leaves no trade unless
`declines_leave_open` is set; an open trade is closed when its `timeout_express` has passed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.gateways.alipay.simulator import consent
from billing.gateways.alipay.simulator.books import (
    CLOSED,
    FINISHED,
    PAID,
    WAITING,
    Agreement,
    Books,
    Trade,
)
from billing.gateways.alipay.simulator.instants import day
from billing.gateways.alipay.simulator.money import fen
from billing.gateways.alipay.simulator.refusals import Refusal

EARLY_DAYS = 3
_NUMBER = re.compile(r"[A-Za-z0-9_]{1,64}")
_FORBIDDEN = frozenset("/=&")
_TIMEOUT = re.compile(r"([0-9]{1,5})([mhdc])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_MOST_FEN = 50_000_00
_CANCELABLE_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Order:
    """One `alipay.trade.pay`, checked."""

    out_trade_no: str
    amount_minor: int
    subject: str
    product_code: str
    agreement_no: str
    notify_url: str
    timeout: timedelta | None
    retry_type: str  # empty: synchronous

    def is_same_as(self, trade: Trade) -> bool:
        return (self.amount_minor, self.subject, self.product_code, self.agreement_no) == (
            trade.amount_minor,
            trade.subject,
            trade.product_code,
            trade.agreement_no,
        )


def read_order(content: dict[str, object], *, notify_url: str) -> Order:
    """Check what was sent. Raises Refusal."""
    amount_minor, subject = fen(content.get("total_amount")), str(content.get("subject", ""))
    number = str(content.get("out_trade_no", ""))
    agreement_no = str(_group(content, "agreement_params").get("agreement_no", ""))
    if not _NUMBER.fullmatch(number) or not amount_minor or not agreement_no:
        raise Refusal("ACQ.INVALID_PARAMETER")
    if not subject or len(subject) > 256 or _FORBIDDEN & set(subject):
        raise Refusal("ACQ.INVALID_PARAMETER")
    if amount_minor > _MOST_FEN:
        raise Refusal("ACQ.TOTAL_FEE_EXCEED")
    return Order(
        out_trade_no=number,
        amount_minor=amount_minor,
        subject=subject,
        product_code=str(content.get("product_code", "")),
        agreement_no=agreement_no,
        notify_url=notify_url,
        timeout=_timeout(content.get("timeout_express")),
        retry_type=_retry_type(content),
    )


def _group(content: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = content.get(name, {})
    if not isinstance(value, dict):
        raise Refusal("ACQ.INVALID_PARAMETER")
    return value


def _timeout(written: object) -> timedelta | None:
    if not written:
        return None
    match = _TIMEOUT.fullmatch(str(written))
    if match is None:
        raise Refusal("ACQ.INVALID_PARAMETER")
    return int(match[1]) * _UNITS.get(match[2], timedelta(days=1))


def _retry_type(content: dict[str, object]) -> str:
    parameters = _group(content, "pay_params")
    if not (content.get("is_async_pay") or parameters.get("async_type")):
        return ""
    return str(parameters.get("retry_type", "RETY"))


def charge(books: Books, order: Order, *, now: datetime, leaves_open: bool) -> Trade:
    """Take the money at once, once per number. Raises Refusal; a paid number is one too."""
    with books.lock:
        trade = _known(books, order, now)
        try:
            agreement = _chargeable(books, order, now)
        except Refusal:
            if leaves_open and trade is None:
                _open(books, order, now)
            raise
        _record_charge(books, order, agreement, now)
        return books.trades[order.out_trade_no]


def apply_for(books: Books, order: Order, *, now: datetime) -> Trade:
    """Accept an asynchronous charge: nothing is taken yet. Raises Refusal."""
    with books.lock:
        trade = _known(books, order, now)
        return trade if trade is not None else _open(books, order, now)


def settle(books: Books, order: Order, *, now: datetime) -> Trade | None:
    """Try an accepted charge now. None if it is over already. Raises Refusal to be retried."""
    with books.lock:
        trade = books.trades[order.out_trade_no]
        if trade.status(now) != WAITING:
            return None
        _record_charge(books, order, _chargeable(books, order, now), now)
        return trade


def _known(books: Books, order: Order, now: datetime) -> Trade | None:
    """An open trade of this number, if there is one. Raises Refusal if its number is spent."""
    trade = books.trades.get(order.out_trade_no)
    if trade is None:
        return None
    if not order.is_same_as(trade):
        raise Refusal("ACQ.CONTEXT_INCONSISTENT")
    status = trade.status(now)
    if status in (PAID, FINISHED):
        raise Refusal("ACQ.TRADE_HAS_SUCCESS")
    if status == CLOSED:
        raise Refusal("ACQ.TRADE_HAS_CLOSE")
    return trade


def _chargeable(books: Books, order: Order, now: datetime) -> Agreement:
    agreement = books.agreements.get(order.agreement_no)
    if agreement is None or agreement.status == "STOP":
        raise Refusal("ACQ.AGREEMENT_NOT_EXIST")
    if agreement.invalid_at is not None and agreement.invalid_at <= now:
        raise Refusal("ACQ.AGREEMENT_INVALID")
    if agreement.status != "NORMAL":
        raise Refusal("ACQ.AGREEMENT_STATUS_NOT_NORMAL")
    if agreement.product_code != order.product_code:
        raise Refusal("ACQ.AGREEMENT_ERROR")
    if agreement.rules:
        _check_rules(agreement, order, now)
    payer = books.payers[agreement.payer_id]
    if payer.is_frozen:
        raise Refusal("ACQ.BUYER_ENABLE_STATUS_FORBID")
    if books.spent_on(payer.payer_id, day(now)) + order.amount_minor > payer.daily_limit_minor:
        raise Refusal("ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR")
    if payer.balance_minor < order.amount_minor:
        raise Refusal("ACQ.BUYER_BALANCE_NOT_ENOUGH")
    return agreement


def _check_rules(agreement: Agreement, order: Order, now: datetime) -> None:
    rules = agreement.rules
    if order.amount_minor > rules["single_minor"]:
        raise Refusal("ACQ.CYCLE_PAY_SINGLE_FEE_EXCEED")
    if rules["total_minor"] and agreement.paid_minor + order.amount_minor > rules["total_minor"]:
        raise Refusal("ACQ.CYCLE_PAY_TOTAL_FEE_EXCEED")
    if rules["total_payments"] and agreement.paid_count >= rules["total_payments"]:
        raise Refusal("ACQ.CYCLE_PAY_TOTAL_TIMES_EXCEED")
    planned = agreement.next_deduct
    if agreement.product_code == consent.CYCLE and planned is not None:
        opens = planned - timedelta(days=EARLY_DAYS)
        if not opens <= day(now) <= planned:
            raise Refusal("ACQ.CYCLE_PAY_DATE_NOT_MATCH")


def _open(books: Books, order: Order, now: datetime) -> Trade:
    books.record("trade_opened", **_facts(books, order, now))
    return books.trades[order.out_trade_no]


def _record_charge(books: Books, order: Order, agreement: Agreement, now: datetime) -> None:
    planned = agreement.next_deduct
    following = consent.date_after(agreement, planned).isoformat() if planned else None
    books.record("charge", **_facts(books, order, now), next_deduct=following)


def _facts(books: Books, order: Order, now: datetime) -> dict[str, object]:
    until = now + order.timeout if order.timeout else None
    known = books.trades.get(order.out_trade_no)
    agreement = books.agreements.get(order.agreement_no)
    return {
        "reference": order.out_trade_no,
        "trade_no": known.trade_no if known else books.next_number(now, 28),
        "amount_minor": order.amount_minor,
        "expires_at": until.isoformat(timespec="seconds") if until else None,
        "terms": {
            "subject": order.subject,
            "product_code": order.product_code,
            "agreement_no": order.agreement_no,
            "payer_id": agreement.payer_id if agreement else "",
            "notify_url": order.notify_url,
            "retry_type": order.retry_type,
        },
    }


def close(books: Books, trade: Trade, *, now: datetime) -> None:
    """End an unpaid trade. Raises Refusal for a paid one."""
    with books.lock:
        if trade.status(now) in (PAID, FINISHED) or trade.paid_at:
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        if trade.closed_at is None:
            books.record("trade_closed", reference=trade.out_trade_no)


def cancel(books: Books, trade: Trade, *, now: datetime) -> str:
    """Close it or give it back: the `action`. Raises Refusal when it is too late."""
    with books.lock:
        if trade.paid_at is None:
            close(books, trade, now=now)
            return "close"
        if now - trade.paid_at > _CANCELABLE_FOR:
            raise Refusal("ACQ.TRADE_CANCEL_TIME_OUT")
        left_minor = trade.amount_minor - trade.refunded_minor
        if left_minor:
            _record_refund(books, trade, AskedRefund(f"cancel_{trade.out_trade_no}", left_minor))
        return "refund"


@dataclass(frozen=True, slots=True)
class AskedRefund:
    """A refund as it is asked for. `is_told`: what the payer's bank does with it is told."""

    number: str
    amount_minor: int
    is_told: bool = False


def refund(books: Books, trade: Trade, asked: AskedRefund, *, now: datetime) -> bool:
    """Give back, once per number. True if money moved in this call. Raises Refusal."""
    number, amount_minor = asked.number, asked.amount_minor
    with books.lock:
        repeated = trade.refunds.get(number or trade.out_trade_no)
        if repeated is not None:
            if repeated.amount_minor != amount_minor:
                raise Refusal("ACQ.DISCORDANT_REPEAT_REQUEST")
            return False
        status = trade.status(now)
        if status == FINISHED:
            raise Refusal("ACQ.TRADE_HAS_FINISHED")
        if status == WAITING:
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        if status == CLOSED:
            raise Refusal("ACQ.TRADE_HAS_CLOSE")
        if not number and amount_minor != trade.amount_minor:
            raise Refusal("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL")
        if amount_minor > trade.amount_minor - trade.refunded_minor:
            raise Refusal("ACQ.REASON_TRADE_REFUND_FEE_ERR")
        _record_refund(books, trade, asked)
        return True


def _record_refund(books: Books, trade: Trade, asked: AskedRefund) -> None:
    books.record(
        "refund",
        reference=asked.number or trade.out_trade_no,
        charge_reference=trade.out_trade_no,
        trade_no=trade.trade_no,
        amount_minor=asked.amount_minor,
        is_told=asked.is_told,
    )
