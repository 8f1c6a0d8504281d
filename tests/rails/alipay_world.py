"""What the Alipay tests share: a rail for the contract, requests, and Alipay's own key."""

import time
from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from billing.gateways.alipay.adapter import AlipayGateway
from billing.gateways.base import ChargeRequest, RefundRequest
from tests.rails.contract import Rail, new_ref
from tests.rails.simulators import RICH, AlipaySimulator, Inbox

PAY, QUERY = "alipay.trade.pay", "alipay.trade.query"
REFUND, REFUND_QUERY = "alipay.trade.refund", "alipay.trade.fastpay.refund.query"
CANCEL, CLOSE = "alipay.trade.cancel", "alipay.trade.close"
UNSIGN, AGREEMENT = "alipay.user.agreement.unsign", "alipay.user.agreement.query"
BILL = "alipay.data.dataservice.bill.downloadurl.query"

CYCLE: dict[str, Any] = {
    "ALIPAY_PRODUCT_CODE": "CYCLE_PAY_AUTH",
    "ALIPAY_PERSONAL_PRODUCT_CODE": "CYCLE_PAY_AUTH_P",
    "ALIPAY_PERIOD_TYPE": "MONTH",
    "ALIPAY_PERIOD": "1",
}


def gateway_of(alipay: AlipaySimulator, *, timeout_s: int = 10, **changes: str) -> AlipayGateway:
    """An adapter that lives in the simulator's time, which tests move."""
    return AlipayGateway.from_settings(
        alipay.settings(**changes), timeout_s=timeout_s, clock=lambda: now_of(alipay)
    )


def charge_of(agreement_no: str, **changes: Any) -> ChargeRequest:
    values: dict[str, Any] = {
        "reference": new_ref(),
        "provider_binding_ref": agreement_no,
        "amount_minor": 5000,
        "currency": "CNY",
        "description": "话费充值",
        "notify_url": "",
    }
    return ChargeRequest(**(values | changes))


def refund_of(charge: ChargeRequest, amount_minor: int) -> RefundRequest:
    return RefundRequest(
        new_ref("F"), charge.reference, "", amount_minor, charge.amount_minor, "CNY", "未到账"
    )


def today_of(alipay: AlipaySimulator) -> date:
    """The simulator's day in Beijing."""
    return date.fromisoformat(alipay.control("GET", "health")["now"][:10])


def now_of(alipay: AlipaySimulator) -> datetime:
    now = datetime.fromisoformat(alipay.control("GET", "health")["now"])
    return now.replace(tzinfo=ZoneInfo("Asia/Shanghai"))


def rail_of(alipay: AlipaySimulator, inbox: Inbox) -> Rail:
    """Alipay for the shared contract."""

    def lose(method: str, is_after: bool) -> None:
        alipay.fault(method, "lose_after" if is_after else "lose_before")

    def decline() -> str:
        alipay.fault(PAY, "decline", sub_code="BUYER_BALANCE_NOT_ENOUGH")
        return "BUYER_BALANCE_NOT_ENOUGH"

    def statement_day() -> date:
        day = today_of(alipay)
        alipay.advance(2 * 24 * 3600)
        return day

    def received(count: int) -> list[tuple[dict[str, str], bytes]]:
        return [({}, body) for body in inbox.wait_for(count)]

    return Rail(
        gateway=gateway_of(alipay),
        currency="CNY",
        notify_url=inbox.url,
        sign=alipay.agree,
        revoke=alipay.revoke,
        charges=alipay.charges,
        refunds=alipay.refunds,
        lose_charge_answer=lambda is_after: lose(PAY, is_after),
        lose_refund_answer=lambda is_after: lose(REFUND, is_after),
        decline_charge=decline,
        spoil_charge_signature=lambda: alipay.fault(PAY, "bad_signature"),
        received=received,
        statement_day=statement_day,
        secrets=(RICH, alipay.merchant.private[60:100]),
    )


def until(is_so: Callable[[], bool], within_s: int = 15) -> None:
    """Wait for the simulator's own threads, on an event that must come."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
