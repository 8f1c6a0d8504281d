"""One signature is one text: the same bytes written otherwise are not taken for it."""

from string import ascii_letters, digits

import pytest

from billing.gateways.alipay.signing import is_signed, load_private_key, load_public_key, sign
from billing.gateways.base import BadNotification
from billing.gateways.wechat.adapter import WechatGateway
from tests.rails.simulators import session_keys
from tests.rails.wechat_notifications import NOW, SETTINGS, V3_CONTRACT, v3

ALPHABET = ascii_letters[26:] + ascii_letters[:26] + digits + "+/"


def otherwise(signature: str) -> str:
    """256 bytes leave four bits of the last letter unused, which a lenient reader drops."""
    assert signature.endswith("==")
    return f"{signature[:-3]}{ALPHABET[ALPHABET.index(signature[-3]) ^ 1]}=="


def test_an_alipay_signature_with_its_unused_bits_changed_is_refused():
    keys, _ = session_keys()
    signature = sign(load_private_key(keys.private, setting="KEY"), "amount=50.00")
    public = load_public_key(keys.public, setting="KEY")
    assert is_signed(public, "amount=50.00", signature)
    assert not is_signed(public, "amount=50.00", otherwise(signature))


def test_a_wechat_pay_v3_signature_with_its_unused_bits_changed_is_refused():
    gateway = WechatGateway.from_settings(SETTINGS, timeout_s=10, clock=lambda: NOW)
    headers, body = v3("ENTRUST.SIGN", V3_CONTRACT)
    gateway.parse_notification(headers=headers, body=body, query={}, at=NOW)
    changed = headers | {"Wechatpay-Signature": otherwise(headers["Wechatpay-Signature"])}
    with pytest.raises(BadNotification):
        gateway.parse_notification(headers=changed, body=body, query={}, at=NOW)
