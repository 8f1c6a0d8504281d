"""Refunds: accepted once per number, settled a moment later, never above what was paid."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from billing.gateways.wechat.simulator import wording
from billing.gateways.wechat.simulator.notifier import REFUND_WAITS_S, Notice
from billing.gateways.wechat.simulator.records import Order, Refund
from billing.gateways.wechat.simulator.refusals import Refusal
from billing.gateways.wechat.simulator.state import Simulator

MOST_PARTS = 50
_REFUNDABLE_FOR = timedelta(days=365)
_NUMBER = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")
_FEN = re.compile(r"[1-9][0-9]{0,8}")
# How a refund may end that does not succeed: the money lies with the merchant again, or the
# payer's card is gone and somebody has to look.
CLOSED, ABNORMAL = "REFUNDCLOSE", "CHANGE"


def refund(
    simulator: Simulator, order: Order, fields: Mapping[str, str], *, doom: str, now: datetime
) -> Refund:
    """Accept a refund; the same number again is the same refund. Raises Refusal."""
    if not _NUMBER.fullmatch(fields["out_refund_no"]):
        raise Refusal("PARAM_ERROR", "参数错误：out_refund_no")
    if not _FEN.fullmatch(fields["total_fee"]) or not _FEN.fullmatch(fields["refund_fee"]):
        raise Refusal("PARAM_ERROR", "参数错误：refund_fee")
    total, amount = int(fields["total_fee"]), int(fields["refund_fee"])
    books = simulator.books
    with books.lock:
        known = books.refunds.get(fields["out_refund_no"])
        if total != order.amount_minor:
            raise Refusal("REFUND_FEE_MISMATCH")
        if known is not None:
            if known.amount_minor != amount or known.out_trade_no != order.out_trade_no:
                raise Refusal("REFUND_FEE_MISMATCH")
            return known
        _check(simulator, order, amount, now)
        accepted = _accept(simulator, order, fields, amount, doom, now)
    schedule(simulator, accepted)
    return accepted


def _check(simulator: Simulator, order: Order, amount: int, now: datetime) -> None:
    books = simulator.books
    if order.paid_at is None:
        raise Refusal("INVALID_REQUEST", "订单未支付")
    if now - order.paid_at > _REFUNDABLE_FOR:
        raise Refusal("TRADE_OVERDUE")
    if amount > order.amount_minor - books.refunded_minor(order.out_trade_no):
        raise Refusal("INVALID_REQUEST", "累计退款金额超过订单金额")
    if len(books.refunds_of(order.out_trade_no)) >= MOST_PARTS:
        raise Refusal("INVALID_REQUEST", "部分退款次数超过50次")
    if 0 <= simulator.settings.merchant_balance_minor < amount:
        raise Refusal("NOTENOUGH", "基本账户余额不足，请充值后重新发起")


def _accept(
    simulator: Simulator,
    order: Order,
    fields: Mapping[str, str],
    amount: int,
    doom: str,
    now: datetime,
) -> Refund:
    books, settings = simulator.books, simulator.settings
    number = fields["out_refund_no"]
    books.record(
        "refund_accepted",
        reference=number,
        charge_reference=order.out_trade_no,
        refund_id=books.number("50000", 29),
        amount_minor=amount,
        due_at=(now + timedelta(seconds=settings.refund_delay_s)).isoformat(),
        terms={
            "reason": fields.get("refund_desc", ""),
            "notify_url": fields.get("notify_url") or settings.refund_notify_url,
            "doom": doom,
        },
    )
    return books.refunds[number]


def schedule(simulator: Simulator, refund: Refund) -> None:
    """Pay it now or when it is due. Called again for what waited when the process ended."""
    if refund.due_at <= simulator.time.now():
        settle(simulator, refund)
    else:
        simulator.agenda.at(refund.due_at, lambda: settle(simulator, refund))


def settle(simulator: Simulator, refund: Refund) -> None:
    """Give the money back, or fail as ordered. Once, whoever calls."""
    books = simulator.books
    with books.lock:
        if refund.status != "PROCESSING":
            return
        facts = {
            "reference": refund.out_refund_no,
            "charge_reference": refund.out_trade_no,
            "amount_minor": refund.amount_minor,
        }
        if refund.doom:
            books.record("refund_failed", when=refund.due_at, status=refund.doom, **facts)
        else:
            books.record("refund", when=refund.due_at, **facts)
    simulator.notifier.send(
        Notice(
            url=refund.notify_url,
            method="refund",
            reference=refund.out_refund_no,
            fields=wording.refund_notice(simulator),
            sealed=wording.refund_sealed(simulator, refund),
            waits_s=REFUND_WAITS_S,
            sign_type="",
            event="REFUND.SUCCESS" if refund.status == "SUCCESS" else "REFUND.ABNORMAL",
            resource=wording.refund_resource(simulator, refund),
        )
    )
