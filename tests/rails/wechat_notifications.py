"""Notifications as WeChat Pay makes them, over v2 and v3.

Signed here by hand, in the words of the vendor's document, so that the adapter's code does not
merely agree with itself.
"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from billing.gateways.base import Acknowledgement
from billing.gateways.wechat.adapter import WechatGateway
from tests.rails.simulators import new_keys
from tests.rails.wechat_simulator import RICH, session_keys
from tests.rails.wechat_world import APP_ID, MCH_ID, offline_settings

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # noon in Beijing
SETTINGS = offline_settings()
V2_KEY, V3_KEY = SETTINGS["WECHAT_API_V2_KEY"], SETTINGS["WECHAT_API_V3_KEY"]
PLATFORM = load_pem_private_key((session_keys(MCH_ID) / "platform_key.pem").read_bytes(), None)
STRANGER = load_pem_private_key(new_keys().private.encode(), None)
REFUSED_V2 = Acknowledgement(
    "<xml><return_code><![CDATA[FAIL]]></return_code>"
    "<return_msg><![CDATA[refused]]></return_msg></xml>",
    "text/xml",
)
REFUSED_V3 = Acknowledgement('{"code":"FAIL","message":"refused"}', "application/json", 401)

CHARGE = {
    "appid": APP_ID,
    "attach": "",
    "bank_type": "CFT",
    "cash_fee": "5000",
    "contract_id": "Wx15463511252015071056489715",
    "fee_type": "CNY",
    "is_subscribe": "N",
    "mch_id": MCH_ID,
    "nonce_str": "5d2b6c2a8db53831f7eda20af46e531c",
    "openid": RICH,
    "out_trade_no": "R0001",
    "result_code": "SUCCESS",
    "return_code": "SUCCESS",
    "time_end": "20261122115900",
    "total_fee": "5000",
    "transaction_id": "1004400740201409030005092168",
}
FAILED = {
    name: value
    for name, value in CHARGE.items()
    if name not in ("time_end", "transaction_id", "total_fee", "cash_fee")
} | {"result_code": "FAIL", "err_code": "NOTENOUGH", "out_trade_no": "R0002"}
CONTRACT = {
    "return_code": "SUCCESS",
    "result_code": "SUCCESS",
    "mch_id": MCH_ID,
    "contract_code": "B0001",
    "openid": RICH,
    "plan_id": "12535",
    "change_type": "ADD",
    "operate_time": "2026-11-22 11:58:00",
    "contract_id": "Wx15463511252015071056489715",
}
ENDED = CONTRACT | {"change_type": "DELETE", "contract_termination_mode": "2"}
REFUND = {
    "transaction_id": "1004400740201409030005092168",
    "out_trade_no": "R0001",
    "refund_id": "50000202611220000000009000000",
    "out_refund_no": "F0001",
    "total_fee": "5000",
    "refund_fee": "1200",
    "settlement_refund_fee": "1100",
    "refund_status": "SUCCESS",
    "success_time": "2026-11-22 11:57:00",
    "refund_recv_accout": "招商银行信用卡0403",
}


# --- as WeChat Pay makes them -----------------------------------------------------------------


def xml(fields, root="xml"):
    inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    return f"<{root}>{inner}</{root}>".encode()


def sign_of(fields, key=V2_KEY, kind="MD5"):
    text = "&".join(f"{k}={fields[k]}" for k in sorted(fields) if fields[k] and k != "sign")
    raw = f"{text}&key={key}".encode()
    if kind == "MD5":
        return hashlib.md5(raw).hexdigest().upper()  # noqa: S324
    return hmac.new(key.encode(), raw, hashlib.sha256).hexdigest().upper()


def v2(fields, **how):
    return {}, xml(fields | {"sign": sign_of(fields, **how)})


def sealed(fields, key=V2_KEY):
    """req_info: PKCS#7 and AES-256-ECB by hand."""
    text = fields if isinstance(fields, bytes) else xml(fields, root="root")
    pad = 16 - len(text) % 16
    aes = Cipher(
        algorithms.AES(hashlib.md5(key.encode()).hexdigest().encode()),  # noqa: S324
        modes.ECB(),  # noqa: S305
    ).encryptor()
    return base64.b64encode(aes.update(text + bytes([pad]) * pad) + aes.finalize()).decode()


def v2_refund(fields, key=V2_KEY, **outer):
    whole = {
        "return_code": "SUCCESS",
        "appid": APP_ID,
        "mch_id": MCH_ID,
        "nonce_str": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
        "req_info": sealed(fields, key),
    }
    return {}, xml(whole | outer)


V3_CHARGE = {
    "mchid": MCH_ID,
    "appid": APP_ID,
    "out_trade_no": "R0003",
    "transaction_id": "1004400740201409030005092169",
    "trade_state": "SUCCESS",
    "payer": {"openid": RICH},
    "amount": {"total": 5000, "currency": "CNY"},
}
V3_REFUND = {
    "mchid": MCH_ID,
    "out_trade_no": "R0003",
    "transaction_id": "1004400740201409030005092169",
    "out_refund_no": "F0003",
    "refund_status": "SUCCESS",
    "user_received_account": "招商银行信用卡0403",
    "amount": {"total": 5000, "refund": 700},
}
V3_CONTRACT = {
    "mchid": MCH_ID,
    "appid": APP_ID,
    "contract_id": "123124412412423431",
    "out_contract_code": "B0003",
    "contract_state": "SIGNED",
    "openid": RICH,
}


def v3(event, inside, *, at=NOW, key=PLATFORM, v3_key=V3_KEY, serial="", **envelope):
    resource = {
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": "fdasflkja484",
        "associated_data": "papay",
        "ciphertext": base64.b64encode(
            AESGCM(v3_key.encode()).encrypt(b"fdasflkja484", json.dumps(inside).encode(), b"papay")
        ).decode(),
    }
    body = json.dumps({"id": f"EV-{event}", "event_type": event, "resource": resource} | envelope)
    return v3_headers(body.encode(), at=at, key=key, serial=serial), body.encode()


def v3_headers(body, *, at=NOW, key=PLATFORM, serial=""):
    stamp, nonce = str(int(at.timestamp())), "593BEC0C930BF1AFEB40B4A08C8FB242"
    text = f"{stamp}\n{nonce}\n".encode() + body + b"\n"
    signature = base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
    return {
        "Wechatpay-Timestamp": stamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": signature,
        "Wechatpay-Serial": serial or SETTINGS["WECHAT_PLATFORM_SERIAL"],
    }


GENUINE_V2 = [v2(CHARGE), v2(FAILED, kind="HMAC"), v2(CONTRACT), v2(ENDED, kind="HMAC")]
GENUINE_REFUND = v2_refund(REFUND)
GENUINE_V3 = [
    v3("TRANSACTION.SUCCESS", V3_CHARGE),
    v3("REFUND.SUCCESS", V3_REFUND),
    v3("ENTRUST.SIGN", V3_CONTRACT),
]
GENUINE = [*GENUINE_V2, GENUINE_REFUND, *GENUINE_V3]


@pytest.fixture(scope="module")
def gateway():
    return WechatGateway.from_settings(SETTINGS, timeout_s=10, clock=lambda: NOW)


def read(gateway, message, at=NOW):
    headers, body = message
    return gateway.parse_notification(headers=headers, body=body, query={}, at=at)
