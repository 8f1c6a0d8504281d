"""The one address of the gateway: reads a call, checks who signed it, answers, and misbehaves.

GET and POST, query and form merged: clients differ in where they put what.
"""

import json
import time
from collections.abc import Callable
from datetime import timedelta

from flask import Blueprint, Response, request

from billing.gateways.alipay.simulator.intake import checked
from billing.gateways.alipay.simulator.methods import METHODS, Call
from billing.gateways.alipay.simulator.pages import PAGE_METHOD, signing_page
from billing.gateways.alipay.simulator.refusals import Fields, Refusal, done
from billing.gateways.alipay.simulator.state import Simulator
from billing.gateways.simulation.faults import Fault, Plan

_JSON = "application/json;charset=utf-8"
_DEFAULT_SLOW_S = 30
_DEFAULT_LATE_S = 2


def gateway(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /gateway.do and the bills' download."""
    blueprint = Blueprint("gateway", __name__)

    @blueprint.route("/gateway.do", methods=["GET", "POST"])
    def answer() -> Response | str:
        params = request.args.to_dict() | request.form.to_dict()
        try:
            content = checked(simulator, params)
        except Refusal as refusal:
            return _refused(simulator, params, refusal)
        if params["method"] == PAGE_METHOD:
            return signing_page(simulator, params, content)
        return _call(simulator, params, content)

    @blueprint.get("/downloadBillFile.resource")
    def download() -> Response:
        # Alipay was seen to refuse a library's bare name.
        if not request.headers.get("User-Agent", "").strip():
            return Response("forbidden", status=403)
        file = simulator.bills.file(request.args.get("t", ""))
        if file is None:
            return Response("下载链接已失效", status=403)
        return Response(file, mimetype="application/zip")

    return blueprint


def _refused(simulator: Simulator, params: dict[str, str], refusal: Refusal) -> Response:
    """The gateway answers whom it does not know without signing."""
    is_known = refusal.sub_code != "isv.invalid-app-id" and refusal.code != "40001"
    name = _answer_name(params.get("method", "")) if is_known else "error_response"
    return _answer(simulator, name, refusal.fields(), is_signed=is_known)


def _call(simulator: Simulator, params: dict[str, str], content: dict[str, object]) -> Response:
    method = params["method"]
    handler = METHODS.get(method)
    if handler is None:
        refusal = Refusal("isv.invalid-method", "40002")
        return _answer(simulator, "error_response", refusal.fields())
    plan = simulator.faults.plan(method, _reference(content))
    call = Call(
        simulator, content, params.get("notify_url", ""), simulator.time.now(), plan.notices
    )
    return _performed(simulator, _answer_name(method), lambda: _fields(handler, call), plan)


def _reference(content: dict[str, object]) -> str:
    """What a fault may be ordered for: our number of the refund, the trade or the agreement."""
    names = ("out_request_no", "out_trade_no", "external_agreement_no", "agreement_no")
    return next((str(content[name]) for name in names if content.get(name)), "")


def _fields(handler: Callable[[Call], Fields], call: Call) -> Fields:
    try:
        return handler(call)
    except Refusal as refusal:
        return refusal.fields()


def _performed(
    simulator: Simulator, name: str, effect: Callable[[], Fields], plan: Plan
) -> Response:
    fault = plan.answer
    if fault is None:
        return _answer(simulator, name, effect())
    fields = effect() if fault.is_committed else {}
    match fault.kind:
        case "late":
            due = simulator.time.now() + timedelta(seconds=fault.seconds(_DEFAULT_LATE_S))
            simulator.agenda.at(due, lambda: _discard(effect()))
            return _broken_off()
        case "lose_after" | "lose_before":
            return _broken_off()
        case "slow":
            time.sleep(fault.seconds(_DEFAULT_SLOW_S))
            return _answer(simulator, name, fields or effect())
        case "bad_signature":
            return _answer(simulator, name, fields or done(), is_spoilt=True)
        case "http_500":
            return Response("<h1>500 Internal Server Error</h1>", status=500)
        case "non_json":
            return Response("<html><body>系统维护中</body></html>", mimetype="text/html")
        case "unsigned_error":
            return _answer(simulator, "error_response", _said(fault).fields(), is_signed=False)
        case _:
            return _answer(simulator, name, _said(fault).fields())


def _discard(fields: Fields) -> None:
    """A late effect's answer goes to nobody."""


def _said(fault: Fault) -> Refusal:
    """What a fault answers instead of the truth."""
    sub_code = fault.text("sub_code")
    match fault.kind:
        case "system_error":
            return Refusal("ACQ.SYSTEM_ERROR")
        case "in_progress":
            return Refusal("", "10003")
        case "decline":
            prefix = "" if "." in sub_code else "ACQ."
            return Refusal(f"{prefix}{sub_code}")
        case _:
            return Refusal(sub_code or "isp.unknow-error", fault.text("code", "20000"))


def _answer_name(method: str) -> str:
    return method.replace(".", "_") + "_response"


def _answer(
    simulator: Simulator,
    name: str,
    fields: Fields,
    *,
    is_signed: bool = True,
    is_spoilt: bool = False,
) -> Response:
    """Signed over the inner object's very text, slashes escaped as the real one writes them."""
    inner = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
    if not is_signed:
        return Response(f'{{"{name}":{inner}}}', content_type=_JSON)
    sign = simulator.seal.stamp(inner + " " if is_spoilt else inner)
    return Response(f'{{"{name}":{inner},"sign":"{sign}"}}', content_type=_JSON)


def _broken_off() -> Response:
    """An answer that ends before it begins: the length is promised, nothing follows."""
    response = Response(iter(()), content_type=_JSON)
    response.headers["Content-Length"] = "1024"
    return response
