"""Deductions: what is accepted, when it comes due, and how it ends.

`result_code` SUCCESS means accepted and nothing else. In mode "24h" the money is taken a day later,
in mode "notify" and "none" at once; within hours of signing always at once. Whether the payer can
pay is seen only then: a failure is never told in the answer, the order is closed by itself, and its
number is spent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.gateways.wechat.simulator import announcing, wording
from billing.gateways.wechat.simulator.instants import day, hour
from billing.gateways.wechat.simulator.notifier import ORDER_WAITS_S, Notice
from billing.gateways.wechat.simulator.records import Contract, Order
from billing.gateways.wechat.simulator.refusals import Refusal
from billing.gateways.wechat.simulator.state import Simulator

OPENS_AT, CLOSES_AT = 7, 22
_IN_FLIGHT_FOR = timedelta(hours=24)
_NUMBER = re.compile(r"[0-9A-Za-z_\-|*@]{1,32}")
_FEN = re.compile(r"[1-9][0-9]{0,8}")
_MOST_BODY_BYTES = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a deduction, checked."""

    out_trade_no: str
    amount_minor: int
    body: str
    attach: str
    contract_id: str
    notify_url: str
    sign_type: str
    doom: str = ""

    def is_same_as(self, order: Order) -> bool:
        return (
            self.amount_minor == order.amount_minor
            and self.contract_id == order.contract_id
            and self.body == order.body
        )


def read(fields: Mapping[str, str], *, sign_type: str, doom: str) -> Asked:
    """Raises Refusal PARAM_ERROR for what cannot be an order."""
    if not _NUMBER.fullmatch(fields["out_trade_no"]):
        raise Refusal("PARAM_ERROR", "参数错误：out_trade_no")
    if not _FEN.fullmatch(fields["total_fee"]):
        raise Refusal("PARAM_ERROR", "参数错误：total_fee")
    if fields["trade_type"] != "PAP" or fields.get("fee_type", "CNY") != "CNY":
        raise Refusal("PARAM_ERROR", "参数错误：trade_type或fee_type")
    if len(fields["body"].encode()) > _MOST_BODY_BYTES:
        raise Refusal("PARAM_ERROR", "参数错误：body过长")
    return Asked(
        out_trade_no=fields["out_trade_no"],
        amount_minor=int(fields["total_fee"]),
        body=fields["body"],
        attach=fields.get("attach", ""),
        contract_id=fields["contract_id"],
        notify_url=fields["notify_url"],
        sign_type=sign_type,
        doom=doom,
    )


def check_hours(simulator: Simulator, now: datetime) -> None:
    """Raises Refusal outside 07:00-22:00 Beijing."""
    if simulator.settings.enforce_hours and not OPENS_AT <= hour(now) < CLOSES_AT:
        raise Refusal("INVALID_REQUEST", "请在北京时间7:00-22:00内发起")


def apply(simulator: Simulator, asked: Asked, now: datetime) -> None:
    """Accept a deduction, and take it if it is due at once. Raises Refusal."""
    books = simulator.books
    with books.lock:
        _check_number(books.orders.get(asked.out_trade_no), asked)
        check_hours(simulator, now)
        contract = _contract(simulator, asked.contract_id, now)
        _check_limits(simulator, contract, asked, now)
        due_at = _due_at(simulator, contract, asked, now)
        order = _accept(simulator, contract, asked, due_at)
    schedule(simulator, order)


def schedule(simulator: Simulator, order: Order) -> None:
    """Take it now or when it is due. Called again for what waited when the process ended."""
    if order.due_at <= simulator.time.now():
        settle(simulator, order)
    else:
        simulator.agenda.at(order.due_at, lambda: settle(simulator, order))


def _check_number(known: Order | None, asked: Asked) -> None:
    """A number is good for one order, and its repeat says what became of that one."""
    if known is None:
        return
    if not asked.is_same_as(known):
        raise Refusal("INVALID_REQUEST", "参数与首次请求时不一致，请核实后再试")
    if known.paid_at is not None:
        raise Refusal("ORDERPAID")
    if known.closed_at is not None:
        raise Refusal("ORDERCLOSED")
    raise Refusal("ORDER_ACCEPTED")


def _contract(simulator: Simulator, contract_id: str, now: datetime) -> Contract:
    contract = simulator.books.contract(contract_id=contract_id)
    if contract is None or contract.ended_at is not None:
        raise Refusal("CONTRACT_NOT_EXIST")
    if now >= contract.expires_at:
        raise Refusal("CONTRACTERROR")
    return contract


def _check_limits(simulator: Simulator, contract: Contract, asked: Asked, now: datetime) -> None:
    settings, books, today = simulator.settings, simulator.books, day(now)
    if books.attempts_on(contract.contract_id, today) >= settings.max_attempts_per_day:
        raise Refusal("FREQUENCY_LIMITED")
    books.count_attempt(contract.contract_id, today)
    if asked.amount_minor > settings.max_charge_minor:
        raise Refusal("RULELIMIT", "单笔金额超出限额")
    paid = books.paid_on(contract.openid, today)
    if sum(order.amount_minor for order in paid) + asked.amount_minor > settings.max_day_minor:
        raise Refusal("RULELIMIT", "当日累计金额超出限额")
    by_contract = [order for order in paid if order.contract_id == contract.contract_id]
    if len(by_contract) >= settings.charges_per_day:
        raise Refusal("RULELIMIT", "当日扣款次数超出限额")
    waiting = [one for one in books.orders_of(contract.contract_id) if one.is_waiting]
    if settings.one_in_flight and any(now - one.accepted_at < _IN_FLIGHT_FOR for one in waiting):
        # The vendor's words for it are those of a repeat, though this number is not accepted.
        raise Refusal("ORDER_ACCEPTED")


def _due_at(simulator: Simulator, contract: Contract, asked: Asked, now: datetime) -> datetime:
    settings = simulator.settings
    fresh_for = timedelta(hours=settings.immediate_after_signing_h)
    if settings.mode == "none" or now - contract.signed_at < fresh_for:
        return now
    if settings.mode == "24h":
        return now + timedelta(seconds=settings.deduct_delay_s)
    announcing.check(simulator, contract, asked.amount_minor, now)
    return now


def _accept(simulator: Simulator, contract: Contract, asked: Asked, due_at: datetime) -> Order:
    books = simulator.books
    books.record(
        "order",
        reference=asked.out_trade_no,
        amount_minor=asked.amount_minor,
        contract_id=contract.contract_id,
        transaction_id=books.number("42000", 28),
        due_at=due_at.isoformat(),
        terms={
            "body": asked.body,
            "attach": asked.attach,
            "openid": contract.openid,
            "notify_url": asked.notify_url,
            "sign_type": asked.sign_type,
            "doom": asked.doom,
        },
    )
    return books.orders[asked.out_trade_no]


def settle(simulator: Simulator, order: Order) -> None:
    """An accepted deduction's turn: paid, or closed for a reason. Once, whoever calls."""
    books = simulator.books
    with books.lock:
        if not order.is_waiting:
            return
        code = order.doom or _why_not(simulator, order)
        if code:
            books.record("order_failed", when=order.due_at, reference=order.out_trade_no, code=code)
        else:
            books.record(
                "charge",
                when=order.due_at,
                reference=order.out_trade_no,
                amount_minor=order.amount_minor,
                contract_id=order.contract_id,
                transaction_id=order.transaction_id,
            )
    _tell(simulator, order)


def _why_not(simulator: Simulator, order: Order) -> str:
    """The final notification's err_code, or nothing."""
    contract = simulator.books.contracts[order.contract_id]
    payer = simulator.books.payers[order.openid]
    if not contract.is_active(order.due_at):
        return "CONTRACT_NOT_EXIST"
    if payer.is_frozen:
        return "USER_ACCOUNT_ABNORMAL"
    paid = simulator.books.paid_on(payer.openid, day(order.due_at))
    if sum(one.amount_minor for one in paid) + order.amount_minor > payer.daily_limit_minor:
        return "RULELIMIT"
    return "NOTENOUGH" if payer.balance_minor < order.amount_minor else ""


def close(simulator: Simulator, order: Order) -> None:
    """closeorder: an accepted deduction is called off. Raises Refusal if it is too late."""
    with simulator.books.lock:
        if order.paid_at is not None:
            raise Refusal("ORDERPAID")
        if order.closed_at is not None:
            raise Refusal("ORDERCLOSED")
        simulator.books.record("order_closed", reference=order.out_trade_no)


def _tell(simulator: Simulator, order: Order) -> None:
    simulator.notifier.send(
        Notice(
            url=order.notify_url,
            method="pappayapply",
            reference=order.out_trade_no,
            fields=wording.order_notice(simulator, order),
            waits_s=ORDER_WAITS_S,
            sign_type=order.sign_type,
            event="TRANSACTION.SUCCESS" if order.paid_at else "TRANSACTION.FAIL",
            resource=wording.order_resource(simulator, order),
        )
    )
