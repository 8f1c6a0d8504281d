"""Charges a second over HTTP: each rail's adapter, and a bare loop with the same library.

The bare loop signs, posts, reads and verifies the same charge at the same simulator, in the same
run, and does nothing else: no masking, no evidence, no reading of what the answer means. One call
at a time in both, over a connection that is kept, without a look at the environment's proxies
(half a millisecond, and the adapters do not look either). Many short rounds, in turn, and who
begins changes: the rates are the best rounds, the ratio is the median of the pairs, since one
lucky round in a few says more of the machine than of the code. WeChat Pay in its mode `none`:
in `24h` the adapter asks about the contract beside each charge, which is a second call.
"""

import base64
import hashlib
import hmac
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import requests
import stripe
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from defusedxml.ElementTree import fromstring

from billing.gateways.alipay.adapter import AlipayGateway
from billing.gateways.base import Answer, ChargeRequest, Gateway, Pending, Succeeded
from billing.gateways.stripe.adapter import StripeGateway
from billing.gateways.wechat.adapter import WechatGateway
from tests.rails.contract import new_ref
from tests.rails.simulators import AlipaySimulator, start_alipay
from tests.rails.stripe_simulator import SECRET_KEY, StripeSimulator, start_stripe
from tests.rails.wechat_simulator import WechatSimulator, start_wechat

ROUNDS = 12
PLENTY = 10**12
NOBODY = "http://127.0.0.1:9/nobody"
_TIMEOUT_S = 10

Charge = Callable[[str], bool]


def measure(*, is_quick: bool) -> dict[str, Any]:
    count = 10 if is_quick else 75
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, pair in (("Alipay", _alipay), ("WeChat Pay", _wechat), ("cards", _cards)):
            (Path(folder) / name).mkdir()
            found |= _compared(name, *pair(Path(folder) / name), count=count)
    return found


def _compared(
    name: str, adapter: Charge, bare: Charge, stop: Callable[[], None], *, count: int
) -> dict[str, Any]:
    ways = [("adapter", adapter), ("bare", bare)]
    rates: dict[str, list[float]] = {way: [] for way, _ in ways}
    try:
        for _, charge in ways:
            _rate(charge, count)  # not counted: both sides load what they need
        for _ in range(ROUNDS):
            for way, charge in ways:
                rates[way].append(_rate(charge, count))
            ways.reverse()
    finally:
        stop()
    pairs = zip(rates["adapter"], rates["bare"], strict=True)
    return {
        f"{name}, adapter, charges a second": max(rates["adapter"]),
        f"{name}, bare loop, charges a second": max(rates["bare"]),
        f"{name}, adapter / bare loop (aim 0.7)": statistics.median(ours / b for ours, b in pairs),
    }


def _rate(charge: Charge, count: int) -> float:
    charge(new_ref())  # a connection is there
    references = [new_ref() for _ in range(count)]
    started = time.perf_counter()
    assert all(charge(reference) for reference in references), "a charge failed"
    return count / (time.perf_counter() - started)


def _through(gateway: Gateway, provider_ref: str) -> Charge:
    def charge(reference: str) -> bool:
        answer: Answer = gateway.charge(
            request=ChargeRequest(
                reference=reference,
                provider_binding_ref=provider_ref,
                amount_minor=5000,
                currency="CNY",
                description=f"Keepline {reference}",
                notify_url=NOBODY,
            )
        )
        if not isinstance(answer.outcome, Succeeded | Pending):
            raise AssertionError(answer.outcome)
        return True

    return charge


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def _pem(text: str) -> Any:
    return serialization.load_pem_private_key(text.encode(), password=None)


# --- Alipay -------------------------------------------------------------------------------------


def _alipay(folder: Path) -> tuple[Charge, Charge, Callable[[], None]]:
    alipay = start_alipay(folder)
    alipay.payer("2088100000000011", balance_minor=PLENTY, daily_limit_minor=PLENTY)
    alipay.set(is_silent=True)
    agreement = alipay.agree(new_ref("B"))
    gateway = AlipayGateway.from_settings(alipay.settings(), timeout_s=_TIMEOUT_S)
    return _through(gateway, agreement), _bare_alipay(alipay, agreement), alipay.stop


def _bare_alipay(alipay: AlipaySimulator, agreement: str) -> Charge:
    key = _pem(alipay.merchant.private)
    theirs: Any = serialization.load_pem_public_key(alipay.alipay.public.encode())
    session = _session()
    rsa2 = (padding.PKCS1v15(), hashes.SHA256())

    def charge(reference: str) -> bool:
        content = {
            "out_trade_no": reference,
            "total_amount": "50.00",
            "subject": f"Keepline {reference}",
            "product_code": "GENERAL_WITHHOLDING",
            "agreement_params": {"agreement_no": agreement},
        }
        now = datetime.now(ZoneInfo("Asia/Shanghai"))
        params = {
            "app_id": alipay.app_id,
            "method": "alipay.trade.pay",
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": f"{now:%Y-%m-%d %H:%M:%S}",
            "version": "1.0",
            "biz_content": json.dumps(content),
        }
        text = "&".join(f"{name}={params[name]}" for name in sorted(params))
        params["sign"] = base64.b64encode(key.sign(text.encode(), *rsa2)).decode()
        body = session.post(f"{alipay.url}/gateway.do", data=params, timeout=_TIMEOUT_S).text
        told = json.loads(body)
        inner = body[body.index(":") + 1 : body.rindex(',"sign"')].strip()
        theirs.verify(base64.b64decode(told["sign"]), inner.encode(), *rsa2)
        return bool(told["alipay_trade_pay_response"]["code"] == "10000")

    return charge


# --- WeChat Pay ---------------------------------------------------------------------------------


def _wechat(folder: Path) -> tuple[Charge, Charge, Callable[[], None]]:
    wechat = start_wechat(folder, mode="none")
    wechat.relax()
    wechat.set(is_silent=True)
    wechat.payer("oUpF8uN95-Ptaags6E_roPHg7AG1", balance_minor=PLENTY, daily_limit_minor=PLENTY)
    contract = wechat.agree(new_ref("B"))
    wechat.age(contract)
    settings = wechat.settings(WECHAT_NOTICE_MODE="none")
    gateway = WechatGateway.from_settings(settings, timeout_s=_TIMEOUT_S)
    return _through(gateway, contract), _bare_wechat(wechat, contract), wechat.stop


def _bare_wechat(wechat: WechatSimulator, contract: str) -> Charge:
    key = wechat.key("api_v2_key.txt")
    session = _session()

    def signed(fields: dict[str, str]) -> str:
        pairs = "".join(f"{name}={fields[name]}&" for name in sorted(fields) if fields[name])
        text = f"{pairs}key={key}".encode()
        return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()

    def charge(reference: str) -> bool:
        fields = {
            "appid": wechat.app_id,
            "mch_id": wechat.mch_id,
            "nonce_str": reference,
            "body": f"Keepline {reference}",
            "out_trade_no": reference,
            "total_fee": "5000",
            "spbill_create_ip": "127.0.0.1",
            "notify_url": NOBODY,
            "contract_id": contract,
            "trade_type": "PAP",
            "sign_type": "HMAC-SHA256",
        }
        fields["sign"] = signed(fields)
        xml = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
        answer = session.post(
            f"{wechat.url}/pay/pappayapply",
            data=f"<xml>{xml}</xml>".encode(),
            timeout=_TIMEOUT_S,
        )
        told = {one.tag: one.text or "" for one in fromstring(answer.text)}
        if not hmac.compare_digest(told.pop("sign"), signed(told)):
            raise AssertionError("the answer is not genuine")
        return told["result_code"] == "SUCCESS"

    return charge


# --- cards --------------------------------------------------------------------------------------


def _cards(folder: Path) -> tuple[Charge, Charge, Callable[[], None]]:
    simulator = start_stripe(folder)
    simulator.set(is_silent=True)
    provider_ref = simulator.bind(new_ref("B"))
    gateway = StripeGateway.from_settings(simulator.settings(), timeout_s=_TIMEOUT_S)
    return _through(gateway, provider_ref), _bare_cards(simulator, provider_ref), simulator.stop


def _bare_cards(simulator: StripeSimulator, provider_ref: str) -> Charge:
    customer, method = provider_ref.split("/")
    http_client = stripe.RequestsClient(timeout=_TIMEOUT_S, session=_session())
    client = stripe.StripeClient(
        SECRET_KEY, base_addresses={"api": simulator.url}, http_client=http_client
    )

    def charge(reference: str) -> bool:
        made = client.v1.payment_intents.create(
            {
                "amount": 5000,
                "currency": "cny",
                "customer": customer,
                "payment_method": method,
                "off_session": True,
                "confirm": True,
                "metadata": {"keepline_ref": reference},
            },
            {"idempotency_key": reference},
        )
        return bool(made.status == "succeeded")

    return charge
