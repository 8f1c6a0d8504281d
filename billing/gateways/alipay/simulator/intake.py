"""Who is asking: the public parameters and the merchant's signature over all of them."""

import json

from billing.gateways.alipay.simulator import instants
from billing.gateways.alipay.simulator.refusals import Refusal
from billing.gateways.alipay.simulator.signatures import pairs_text
from billing.gateways.alipay.simulator.state import Simulator

_REQUIRED = ("app_id", "method", "charset", "sign_type", "timestamp", "version", "sign")


def checked(simulator: Simulator, params: dict[str, str]) -> dict[str, object]:
    """The call's content. Raises Refusal with the gateway's own codes."""
    missing = next((name for name in _REQUIRED if not params.get(name)), None)
    if missing is not None:
        raise Refusal(f"isv.missing-{missing.replace('_', '-')}", "40001")
    if params["app_id"] != simulator.app_id:
        raise Refusal("isv.invalid-app-id", "40002")
    if params["sign_type"] != "RSA2" or not _is_signed(simulator, params):
        raise Refusal("isv.invalid-signature", "40002")
    try:
        instants.instant(params["timestamp"])
        content = json.loads(params.get("biz_content") or "{}")
    except ValueError as error:
        raise Refusal("isv.invalid-timestamp-or-content", "40002") from error
    if not isinstance(content, dict):
        raise Refusal("isv.invalid-content", "40002")
    return content


def _is_signed(simulator: Simulator, params: dict[str, str]) -> bool:
    given = {key: value for key, value in params.items() if value}
    return simulator.seal.is_merchants(pairs_text(given, leave_out=("sign",)), params["sign"])
