"""The v3 addresses: the announcement of a deduction, and the platform's certificates.

A request's time is compared with the virtual clock and with the real one: who signs by a wall
clock is not stale because a test moved ours.
"""

import json
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, request

from billing.gateways.simulation.faults import Fault
from billing.gateways.wechat.simulator import announcing, deductions
from billing.gateways.wechat.simulator.instants import rfc3339
from billing.gateways.wechat.simulator.refusals import NotSpoken, Refusal
from billing.gateways.wechat.simulator.signatures import SCHEME, is_v3_signed, sealed_resource
from billing.gateways.wechat.simulator.state import Simulator
from billing.gateways.wechat.simulator.v2 import broken_off

_FRESH_FOR = timedelta(minutes=5)
_PAIR = re.compile(r'([a-z_]+)="([^"]*)"')
_REQUIRED = ("mchid", "nonce_str", "signature", "timestamp", "serial_no")
_STATUS = {
    "SYSTEM_ERROR": 500,
    "NO_AUTH": 403,
    "FREQUENCY_LIMITED": 429,
    "RULELIMIT": 403,
    "CONTRACT_NOT_EXIST": 404,
}
_MOST_BYTES = 64 * 1024


def v3(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /v3."""
    blueprint = Blueprint("v3", __name__, url_prefix="/v3")

    @blueprint.post("/papay/contracts/<contract_id>/notify")
    def announce(contract_id: str) -> Response:
        try:
            authenticate(simulator)
        except NotSpoken as refusal:
            return _unknown_caller(str(refusal))
        fault = simulator.faults.of_answer("announce", contract_id)

        def effect() -> Response:
            try:
                _announce(simulator, contract_id)
            except Refusal as refusal:
                return _refused(simulator, refusal.code, refusal.words)
            return _answered(simulator, "", 204)

        return _performed(simulator, effect, fault)

    @blueprint.get("/certificates")
    def certificates() -> Response:
        try:
            authenticate(simulator)
        except NotSpoken as refusal:
            return _unknown_caller(str(refusal))
        return _answered(simulator, json.dumps(_certificates(simulator)), 200)

    return blueprint


def authenticate(simulator: Simulator) -> None:
    """Check the Authorization header over the raw request. Raises NotSpoken."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    given = dict(_PAIR.findall(rest))
    if scheme != SCHEME or any(not given.get(name) for name in _REQUIRED):
        raise NotSpoken("Http头Authorization值格式错误")
    if given["mchid"] != simulator.mch_id or given["serial_no"] != simulator.keys.merchant_serial:
        raise NotSpoken("商户号或证书序列号不存在")
    if not _is_fresh(simulator, given["timestamp"]):
        raise NotSpoken("Http头Authorization中的timestamp与发起请求的时间不得超过5分钟")
    body = request.get_data()[:_MOST_BYTES].decode(errors="replace")
    target = request.environ.get("REQUEST_URI") or request.full_path.rstrip("?")
    text = f"{request.method}\n{target}\n{given['timestamp']}\n{given['nonce_str']}\n{body}\n"
    if not is_v3_signed(text, given["signature"], simulator.keys.merchant):
        raise NotSpoken("签名错误，请检查后再试")


def _is_fresh(simulator: Simulator, stamp: str) -> bool:
    if not re.fullmatch(r"[0-9]{10}", stamp):
        return False
    at = datetime.fromtimestamp(int(stamp), UTC)
    return any(abs(now - at) <= _FRESH_FOR for now in (simulator.time.now(), datetime.now(UTC)))


def _announce(simulator: Simulator, contract_id: str) -> None:
    now = simulator.time.now()
    content = request.get_json(silent=True)
    if not isinstance(content, dict):
        raise Refusal("PARAM_ERROR", "请求体不是JSON对象")
    if content.get("mchid") != simulator.mch_id or content.get("appid") != simulator.app_id:
        raise Refusal("APPID_MCHID_NOT_MATCH")
    if simulator.settings.mode != "notify":
        raise Refusal("NO_AUTH", "当前签约的模板不是周期扣费类型，不能下发扣费前通知")
    deductions.check_hours(simulator, now)
    contract = simulator.books.contract(contract_id=contract_id)
    if contract is None or not contract.is_active(now):
        raise Refusal("CONTRACT_NOT_EXIST")
    announcing.announce(simulator, contract, content, now)


def _performed(
    simulator: Simulator, effect: Callable[[], Response], fault: Fault | None
) -> Response:
    """The call, as it suffers `fault`."""
    if fault is None:
        return effect()
    answer = effect() if fault.is_committed else None
    match fault.kind:
        case "lose_after" | "lose_before":
            return broken_off()
        case "late":
            due = simulator.time.now() + timedelta(seconds=fault.number("seconds", 2))
            content, path = request.get_json(silent=True), request.view_args or {}
            simulator.agenda.at(due, lambda: _late(simulator, path["contract_id"], content))
            return broken_off()
        case "slow":
            time.sleep(fault.number("seconds", 30))
            return answer or effect()
        case "bad_signature":
            return _answered(simulator, "", 204, tamper=lambda sign: sign[::-1])
        case "unsigned":
            return Response(status=204)
        case "http_500":
            return Response("<h1>500 Internal Server Error</h1>", status=500)
        case "garbage" | "return_fail":
            return Response("<html><body>系统维护中", mimetype="text/html")
        case "decline":
            return _refused(simulator, str(fault.detail.get("code", "INVALID_REQUEST")), "")
        case _:
            return _refused(simulator, "SYSTEM_ERROR", "系统异常，请稍后重试")


def _late(simulator: Simulator, contract_id: str, content: object) -> None:
    now = simulator.time.now()
    contract = simulator.books.contract(contract_id=contract_id)
    if isinstance(content, dict) and contract is not None and contract.is_active(now):
        announcing.announce(simulator, contract, content, now)


def _certificates(simulator: Simulator) -> dict[str, object]:
    keys, now = simulator.keys, simulator.time.now()
    sealed = sealed_resource(keys.platform_certificate, key=keys.v3, about="certificate")
    return {
        "data": [
            {
                "serial_no": keys.platform_serial,
                "effective_time": rfc3339(now - timedelta(days=1)),
                "expire_time": rfc3339(now + timedelta(days=365)),
                "encrypt_certificate": sealed,
            }
        ]
    }


def _unknown_caller(message: str) -> Response:
    """401, unsigned: whom it does not know, it does not sign for."""
    body = json.dumps({"code": "SIGN_ERROR", "message": message}, ensure_ascii=False)
    return Response(body, status=401, content_type="application/json; charset=utf-8")


def _refused(simulator: Simulator, code: str, words: str) -> Response:
    body = json.dumps({"code": code, "message": words or code}, ensure_ascii=False)
    return _answered(simulator, body, _STATUS.get(code, 400))


def _answered(
    simulator: Simulator,
    body: str,
    status: int,
    *,
    tamper: Callable[[str], str] = lambda sign: sign,
) -> Response:
    response = Response(body, status=status, content_type="application/json; charset=utf-8")
    headers = simulator.notifier.v3_headers(body)
    headers["Wechatpay-Signature"] = tamper(headers["Wechatpay-Signature"])
    headers["Request-ID"] = secrets.token_hex(16).upper()
    response.headers.update(headers)
    return response
