"""What the WeChat Pay tests share: a rail for the contract, requests, and its simulator calm."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from billing.gateways.base import BindingRequest, ChargeRequest, RefundRequest
from billing.gateways.wechat.adapter import WechatGateway
from tests.rails.contract import Rail, new_ref
from tests.rails.simulators import Inbox
from tests.rails.wechat_simulator import (
    DAY_S,
    RICH,
    WechatSimulator,
    session_keys,
    start_wechat,
)

APPLY, QUERY, CLOSE = "pappayapply", "orderquery", "closeorder"
REFUND, REFUND_QUERY = "refund", "refundquery"
CONTRACT, DELETE = "querycontract", "deletecontract"
BILL, ANNOUNCE = "downloadbill", "announce"
OK = (
    "<xml><return_code><![CDATA[SUCCESS]]></return_code>"
    "<return_msg><![CDATA[OK]]></return_msg></xml>"
)
NOBODY = "http://127.0.0.1:9/nobody"
APP_ID, MCH_ID = "wxd678efh567hg6787", "1230000109"
_OLD_S = 13 * 3600
_MORNING = time(9)  # inside WeChat Pay's hours, and the day's charges and refunds after it too
_EVENING = time(20)


@contextmanager
def wechat_in(directory: Path, mode: str) -> Iterator[WechatSimulator]:
    """A WeChat Pay of that notice mode, without limits that tests would run into by number."""
    with start_wechat(directory, mode=mode) as simulator:
        simulator.payer(RICH, balance_minor=10**12, daily_limit_minor=10**12)
        simulator.set(
            max_day_minor=10**9, max_charges_per_day=10**6, refund_delay_s=1, max_charge_minor=10**6
        )
        yield simulator


def gateway_of(wechat: WechatSimulator, *, timeout_s: int = 10, **changes: str) -> WechatGateway:
    """An adapter that lives in the simulator's time, which tests move."""
    return WechatGateway.from_settings(
        wechat.settings(**changes), timeout_s=timeout_s, clock=wechat.now
    )


def offline_settings(**changes: str) -> dict[str, str]:
    """What an adapter is built from where no WeChat Pay runs; keys as a simulator has them."""
    folder = session_keys(MCH_ID)
    serials = json.loads((folder / "merchant.json").read_text())
    return {
        "WECHAT_APP_ID": APP_ID,
        "WECHAT_MCH_ID": MCH_ID,
        "WECHAT_PLAN_ID": "12535",
        "WECHAT_API_V2_KEY": (folder / "api_v2_key.txt").read_text(),
        "WECHAT_API_V3_KEY": (folder / "api_v3_key.txt").read_text(),
        "WECHAT_MERCHANT_PRIVATE_KEY": (folder / "apiclient_key.pem").read_text(),
        "WECHAT_MERCHANT_SERIAL": serials["merchant_serial"],
        "WECHAT_PLATFORM_PUBLIC_KEY": (folder / "platform_pub.pem").read_text(),
        "WECHAT_PLATFORM_SERIAL": serials["public_key_id"],
        "WECHAT_CLIENT_CERT_PATH": str(folder / "apiclient_cert.pem"),
        "WECHAT_CLIENT_KEY_PATH": str(folder / "apiclient_key.pem"),
        "WECHAT_API_URL": "https://api.mch.weixin.example",
    } | changes


def old_contract(wechat: WechatSimulator, **content: object) -> str:
    """A contract past its first hours, in which deductions are made at once; its contract_id."""
    contract_id = wechat.agree(new_ref("B"), **content)  # type: ignore[arg-type]
    wechat.age(contract_id, by_s=_OLD_S)
    return contract_id


def binding_of(binding_ref: str, **changes: Any) -> BindingRequest:
    values: dict[str, Any] = {
        "binding_ref": binding_ref,
        "return_url": "https://keepline.example/back",
        "notify_url": NOBODY,
        "account_label": "138****0000",
    }
    return BindingRequest(**(values | changes))


def charge_of(contract_id: str, **changes: Any) -> ChargeRequest:
    values: dict[str, Any] = {
        "reference": new_ref(),
        "provider_binding_ref": contract_id,
        "amount_minor": 5000,
        "currency": "CNY",
        "description": "话费充值",
        "notify_url": NOBODY,
    }
    return ChargeRequest(**(values | changes))


def refund_of(charge: ChargeRequest, amount_minor: int, **changes: Any) -> RefundRequest:
    values: dict[str, Any] = {
        "refund_ref": new_ref("F"),
        "charge_ref": charge.reference,
        "provider_charge_ref": "",
        "amount_minor": amount_minor,
        "charged_minor": charge.amount_minor,
        "currency": "CNY",
        "reason": "未到账",
    }
    return RefundRequest(**(values | changes))


def rail_of(wechat: WechatSimulator, inbox: Inbox, mode: str) -> Rail:
    """WeChat Pay for the shared contract, in one of its notice modes."""
    gateway = gateway_of(wechat, WECHAT_NOTICE_MODE=mode)
    _by_day(wechat)

    def lose(method: str, is_after: bool) -> None:
        wechat.fault(method, "lose_after" if is_after else "lose_before")

    def decline() -> str:
        wechat.fault(APPLY, "decline", code="NOTENOUGH", final=True)
        return "NOTENOUGH"

    def sign(binding_ref: str) -> str:
        contract_id = wechat.agree(binding_ref)
        wechat.age(contract_id, by_s=_OLD_S)
        if mode == "notify":
            _announced(wechat, gateway, contract_id)
        return contract_id

    def statement_day() -> date:
        day = wechat.now().date()
        wechat.advance(2 * DAY_S)
        return day

    return Rail(
        gateway=gateway,
        currency="CNY",
        notify_url=inbox.url,
        sign=sign,
        revoke=wechat.revoke,
        charges=wechat.charges,
        refunds=wechat.refunds,
        lose_charge_answer=lambda is_after: lose(APPLY, is_after),
        lose_refund_answer=lambda is_after: lose(REFUND, is_after),
        decline_charge=decline,
        spoil_charge_signature=lambda: wechat.fault(APPLY, "bad_signature"),
        received=lambda count: [({}, body) for body in inbox.wait_for(count)],
        statement_day=statement_day,
        settle=lambda: wechat.advance(DAY_S + 60 if mode == "24h" else 60),
        settle_refund=lambda: wechat.advance(5),
        now=wechat.now,
        secrets=(RICH, *(wechat.key(f"api_v{version}_key.txt") for version in (2, 3))),
    )


def _by_day(wechat: WechatSimulator) -> None:
    """Inside WeChat Pay's hours, early enough that a charge and its refund are of one day."""
    now = wechat.now()
    if _MORNING <= now.time() < _EVENING:
        return
    morning = datetime.combine(now.date(), _MORNING, now.tzinfo)
    wechat.advance(int(((morning - now) % timedelta(days=1)).total_seconds()) + 1)


def _announced(wechat: WechatSimulator, gateway: WechatGateway, contract_id: str) -> None:
    """A charge of up to ¥500 announced, and the days waited."""
    request = charge_of(contract_id, amount_minor=50_000)
    gateway.prepare_charge(request=request, due_at=wechat.now())
    wechat.advance(int(timedelta(days=2).total_seconds()))
