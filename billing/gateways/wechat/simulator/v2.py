"""The v2 addresses: read a message, see who signed it, do it, answer, and misbehave on order."""

import time
from collections.abc import Callable
from datetime import timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID
from flask import Blueprint, Response, request

from billing.gateways.simulation.faults import Fault
from billing.gateways.wechat.simulator import envelope, intake, wording
from billing.gateways.wechat.simulator.calls import CALLS, Call, Spec
from billing.gateways.wechat.simulator.refunding import ABNORMAL, CLOSED
from billing.gateways.wechat.simulator.refusals import NotSpoken, Refusal, words_of
from billing.gateways.wechat.simulator.signatures import v2_sign
from billing.gateways.wechat.simulator.state import Simulator
from billing.gateways.wechat.simulator.wording import Fields

_XML = "text/xml; charset=utf-8"
_SLOW_S, _LATE_S = 30, 2
_NO_CERTIFICATE = "<html><body>400 No required SSL certificate was sent</body></html>"
_NOT_OF_ANSWERS = ("garbage", "http_500", "lose_after", "lose_before", "late")


def v2(simulator: Simulator) -> Blueprint:
    """The blueprint that serves the calls of `CALLS` and the bill."""
    blueprint = Blueprint("v2", __name__)
    for path, spec in CALLS.items():
        view = _view(simulator, path.rsplit("/", 1)[1], spec)
        blueprint.add_url_rule(f"/{path}", path, view, methods=["POST"])
    blueprint.add_url_rule("/pay/downloadbill", "bill", lambda: _bill(simulator), methods=["POST"])
    return blueprint


def _view(simulator: Simulator, method: str, spec: Spec) -> Callable[[], Response]:
    def view() -> Response:
        certificate = request.environ.get("SSL_CLIENT_CERT", "")
        if spec.needs_certificate and not certificate:
            return Response(_NO_CERTIFICATE, status=400)
        try:
            fields = intake.read(request.get_data())
            sign_type = intake.authenticate(simulator, fields)
        except NotSpoken as refusal:
            return failed(str(refusal))
        reference = next((fields[name] for name in spec.references if fields.get(name)), "")
        fault = simulator.faults.of_answer(method, reference)
        call = Call(simulator, fields, sign_type, simulator.time.now(), doom_of(fault))

        def effect() -> Fields:
            try:
                if spec.needs_certificate:
                    _check_certificate(simulator, certificate)
                intake.check(simulator, fields, sign_type=sign_type, required=spec.required)
                return {"result_code": "SUCCESS", **spec.handler(call)}
            except Refusal as refusal:
                return refused(refusal.code, refusal.words)

        return performed(simulator, sign_type, effect, fault)

    return view


def _check_certificate(simulator: Simulator, certificate: str) -> None:
    """One of ours, for TLS has checked that; but is it this merchant's?"""
    subject = x509.load_pem_x509_certificate(certificate.encode()).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if [name.value for name in names] != [simulator.mch_id]:
        raise Refusal("CERT_ERROR")


def doom_of(fault: Fault | None) -> str:
    """What a call that is accepted will come to."""
    if fault is None or fault.kind != "decline":
        return ""
    code = str(fault.detail.get("code", "NOTENOUGH"))
    return code if fault.detail.get("final") or code in (CLOSED, ABNORMAL) else ""


def refused(code: str, words: str = "") -> Fields:
    return {"result_code": "FAIL", "err_code": code, "err_code_des": words or words_of(code)}


def performed(
    simulator: Simulator, sign_type: str, effect: Callable[[], Fields], fault: Fault | None
) -> Response:
    """The call, as it suffers `fault`."""
    if fault is None or doom_of(fault):
        return answered(simulator, sign_type, effect())
    fields = effect() if fault.is_committed else {}
    if fault.kind in _NOT_OF_ANSWERS:
        return _spoilt(simulator, effect, fault)
    match fault.kind:
        case "slow":
            time.sleep(fault.number("seconds", _SLOW_S))
            return answered(simulator, sign_type, fields or effect())
        case "bad_signature":
            given = fields or {"result_code": "SUCCESS"}
            return answered(simulator, sign_type, given, spoil=lambda sign: sign[::-1])
        case "unsigned":
            given = fields or {"result_code": "SUCCESS"}
            return answered(simulator, sign_type, given, spoil=lambda _: "")
        case "return_fail":
            return failed(str(fault.detail.get("message", "系统繁忙，请稍后再试")))
        case "decline":
            return answered(simulator, sign_type, refused(str(fault.detail.get("code", ""))))
        case _:
            return answered(simulator, sign_type, refused("SYSTEMERROR"))


def _spoilt(simulator: Simulator, effect: Callable[[], object], fault: Fault) -> Response:
    """What is no message at all."""
    match fault.kind:
        case "http_500":
            return Response("<h1>500 Internal Server Error</h1>", status=500)
        case "garbage":
            return Response("<html><body>系统维护中", mimetype="text/html")
        case "late":
            due = simulator.time.now() + timedelta(seconds=fault.number("seconds", _LATE_S))
            simulator.agenda.at(due, effect)
    return broken_off()


def answered(
    simulator: Simulator,
    sign_type: str,
    fields: Fields,
    *,
    spoil: Callable[[str], str] = lambda sign: sign,
) -> Response:
    """Signed as the call was."""
    whole = wording.common(simulator) | fields
    sign = v2_sign(whole, key=simulator.keys.v2, sign_type=sign_type)
    return Response(envelope.write(whole | {"sign": spoil(sign)}), content_type=_XML)


def failed(message: str, **more: str) -> Response:
    """return_code FAIL: whom it does not know, it does not sign for."""
    fields = {"return_code": "FAIL", "return_msg": message, **more}
    return Response(envelope.write(fields), content_type=_XML)


def broken_off() -> Response:
    """An answer that ends before it begins: the length is promised, nothing follows."""
    response = Response(iter(()), content_type=_XML)
    response.headers["Content-Length"] = "1024"
    return response


def _bill(simulator: Simulator) -> Response:
    """A file, or a message that there is none."""
    try:
        fields = intake.read(request.get_data())
        sign_type = intake.authenticate(simulator, fields)
        fault = simulator.faults.of_answer("downloadbill", fields.get("bill_date", ""))
        if fault is not None:
            return performed(simulator, sign_type, dict, fault)
        intake.check(simulator, fields, sign_type=sign_type, required=("nonce_str", "bill_date"))
        file = simulator.bills.file(fields, now=simulator.time.now())
    except NotSpoken as refusal:
        return failed(str(refusal))
    except Refusal as refusal:
        # The vendor's own samples disagree on the name of the field.
        return failed(refusal.words, error_code=refusal.code, err_code=refusal.code)
    is_zipped = fields.get("tar_type") == "GZIP"
    return Response(file, mimetype="application/x-gzip" if is_zipped else "text/plain")
