"""One signature is one text: the same bytes written otherwise are not taken for it."""

import hashlib
from string import ascii_letters, digits

import pytest
import xmltodict
from wechatpy.pay.utils import calculate_signature

from billing.gateways.alipay.signing import is_signed, load_private_key, load_public_key, sign
from billing.gateways.base import BadNotification
from billing.gateways.wechat import documents, signing
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


class TestWechatPaysBlanks:
    """The vendor's Java SDK and wechatpy sign without them, its PHP SDK what stands."""

    KEY = "k" * 32
    FIELDS = {"return_code": "SUCCESS", "attach": "two words", "err_code_des": ""}

    def xml(self, fields, blank):
        inside = "".join(f"<{k}>{blank}<![CDATA[{v}]]>{blank}</{k}>" for k, v in fields.items())
        return f"<xml>{inside}</xml>".encode()

    @pytest.mark.parametrize("sign_type", [signing.MD5, signing.HMAC_SHA256])
    @pytest.mark.parametrize("blank", ["", " ", "\n  ", "\t"])
    def test_around_a_value_make_no_signature_wrong(self, sign_type, blank):
        stripped = signing.sign(self.FIELDS, key=self.KEY, sign_type=sign_type)
        read = documents.from_xml(self.xml(self.FIELDS | {"sign": stripped}, blank))
        assert signing.is_signed(read, key=self.KEY)
        as_it_stands = signing.sign(read, key=self.KEY, sign_type=sign_type)
        assert signing.is_signed(read | {"sign": as_it_stands}, key=self.KEY)
        assert documents.trimmed(read)["attach"] == "two words"
        for changed in ({"attach": "twowords"}, {"return_code": "FAIL"}, {"more": "x"}):
            assert not signing.is_signed(read | changed, key=self.KEY)

    def test_wechatpy_reads_and_signs_it_so(self):
        stripped = signing.sign(self.FIELDS, key=self.KEY, sign_type=signing.MD5)
        read = xmltodict.parse(self.xml(self.FIELDS | {"sign": stripped}, "  "))["xml"]
        given = read.pop("sign")
        assert calculate_signature(read, self.KEY) == given

    @pytest.mark.parametrize("name", ["GBK", "gb2312", "GB18030"])
    def test_and_a_document_in_gbk_verifies_over_the_bytes_as_sent(self, name):
        fields = {"return_code": "SUCCESS", "return_msg": "余额不足"}
        text = signing.signed_text(fields, self.KEY).encode("gbk")
        signature = hashlib.md5(text, usedforsecurity=False).hexdigest().upper()
        inside = "".join(f"<{k}>{v}</{k}>" for k, v in (fields | {"sign": signature}).items())
        body = f'<?xml version="1.0" encoding="{name}"?><xml>{inside}</xml>'.encode("gbk")
        read = documents.from_xml(body)
        charset = documents.charset_of(body)
        assert read["return_msg"] == "余额不足"
        assert signing.is_signed(read, key=self.KEY, charset=charset)
        assert not signing.is_signed(read, key=self.KEY)
        assert not signing.is_signed(read | {"return_msg": "余额"}, key=self.KEY, charset=charset)
