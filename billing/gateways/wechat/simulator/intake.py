"""Who is asking over v2: the merchant's number, then its signature, then the rest."""

from collections.abc import Mapping

from billing.gateways.wechat.simulator import envelope
from billing.gateways.wechat.simulator.refusals import NotSpoken, Refusal
from billing.gateways.wechat.simulator.signatures import HMAC, MD5, is_v2_signed
from billing.gateways.wechat.simulator.state import Simulator


def read(raw: bytes) -> dict[str, str]:
    """The fields of a body. Raises NotSpoken."""
    try:
        return envelope.read(raw)
    except envelope.Unreadable as error:
        raise NotSpoken(str(error)) from error


def authenticate(simulator: Simulator, fields: Mapping[str, str], *, default: str = MD5) -> str:
    """Check the signature over everything; its type. Raises NotSpoken for whom we do not know."""
    if fields.get("mch_id") != simulator.mch_id:
        raise NotSpoken("商户号mch_id不存在")
    sign_type = fields.get("sign_type") or default
    if sign_type not in (MD5, HMAC):
        raise NotSpoken("签名类型错误")
    if not is_v2_signed(fields, key=simulator.keys.v2, sign_type=sign_type):
        raise NotSpoken("签名错误")
    return sign_type


def check(
    simulator: Simulator, fields: Mapping[str, str], *, sign_type: str, required: tuple[str, ...]
) -> None:
    """What every call of a known merchant's must have. Raises Refusal."""
    if not fields.get("appid"):
        raise Refusal("LACK_PARAMS", "缺少参数appid")
    if fields["appid"] != simulator.app_id:
        raise Refusal("APPID_MCHID_NOT_MATCH")
    if simulator.settings.demands_hmac and sign_type != HMAC:
        raise Refusal("SIGNERROR", "签名类型不支持，请使用HMAC-SHA256")
    missing = next((name for name in required if not fields.get(name)), None)
    if missing is not None:
        raise Refusal("LACK_PARAMS", f"缺少参数{missing}")
