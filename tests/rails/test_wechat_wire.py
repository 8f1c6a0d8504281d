"""Settings, signatures and messages, byte by byte; and peers that misbehave below HTTP."""

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from billing import gateways
from billing.gateways import configuration
from billing.gateways.base import NotFound, Pending, SigningNotStarted, Succeeded, Unknown
from billing.gateways.wechat import codes, instants, masking, v3
from billing.gateways.wechat.adapter import WechatGateway
from billing.gateways.wechat.documents import UnreadableDocument, from_xml, plain, to_xml
from billing.gateways.wechat.signing import HMAC_SHA256, MD5, is_signed, sign, signed_text
from billing.gateways.wechat.wire import USER_AGENT
from billing.states import DeclineClass
from tests.rails.simulators import new_keys
from tests.rails.wechat_world import APP_ID, MCH_ID, binding_of, charge_of, offline_settings

SETTINGS = offline_settings()
KEY = SETTINGS["WECHAT_API_V2_KEY"]
# The vendor's published example, recomputed.
PUBLISHED = {
    "appid": "wxd930ea5d5a258f4f",
    "mch_id": "10000100",
    "device_info": "1000",
    "body": "test",
    "nonce_str": "ibuaiVcKdpRxkhJA",
}
PUBLISHED_KEY = "192006250b4c09247ec02edce69f6a2d"
PUBLISHED_SIGNS = {
    MD5: "9A0A8659F005D6984697E2CA0A9CF3B7",
    HMAC_SHA256: "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6",
}


def built(timeout_s=10, **changes):
    return WechatGateway.from_settings(SETTINGS | changes, timeout_s=timeout_s)


def identity_of(settings):
    identity = v3.identity_from(settings, mch_id=MCH_ID, is_required=True)
    assert identity is not None
    return identity


class TestSigningV2:
    @pytest.mark.parametrize("kind", [MD5, HMAC_SHA256])
    def test_gives_the_vendors_published_answer(self, kind):
        assert sign(PUBLISHED, key=PUBLISHED_KEY, sign_type=kind) == PUBLISHED_SIGNS[kind]

    @pytest.mark.parametrize("kind", [MD5, HMAC_SHA256])
    def test_accepts_the_vendors_published_answer_in_either_case_and_no_other(self, kind):
        given = PUBLISHED_SIGNS[kind]
        assert is_signed(PUBLISHED | {"sign": given}, key=PUBLISHED_KEY)
        assert is_signed(PUBLISHED | {"sign": given.lower()}, key=PUBLISHED_KEY)
        assert not is_signed(PUBLISHED | {"sign": given[:-1] + "0"}, key=PUBLISHED_KEY)
        assert not is_signed(PUBLISHED | {"sign": given}, key=PUBLISHED_KEY[::-1])
        assert not is_signed(PUBLISHED | {"sign": given, "zzz": "1"}, key=PUBLISHED_KEY)

    def test_covers_every_filled_field_but_sign_raw_and_sorted_by_ascii(self):
        fields = {"b": "2 &=", "sign": "x", "a": "一", "empty": "", "B": "0", "a_1": "0"}
        assert signed_text(fields, "K") == "B=0&a=一&a_1=0&b=2 &=&key=K"

    @pytest.mark.parametrize("given", ["", "x", "0" * 32, "0" * 64, "签" * 32, "0" * 31])
    def test_what_is_no_signature_is_not_one_and_does_not_raise(self, given):
        assert is_signed(PUBLISHED | {"sign": given}, key=PUBLISHED_KEY) is False

    def test_a_message_that_says_one_type_and_carries_another_is_false(self):
        fields = PUBLISHED | {"sign_type": HMAC_SHA256}
        in_md5 = sign(fields, key=PUBLISHED_KEY, sign_type=MD5)
        assert not is_signed(fields | {"sign": in_md5}, key=PUBLISHED_KEY)


class TestSigningV3:
    def test_is_rsa_over_five_lines_as_a_foreign_verifier_sees_it(self):
        identity = identity_of(SETTINGS)
        at = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
        header = v3.authorization(
            identity, verb="POST", path="/v3/a?b=1", body='{"一":1}'.encode(), at=at
        )
        scheme, _, rest = header.partition(" ")
        parts = dict(part.split("=", 1) for part in rest.replace('"', "").split(","))
        assert scheme == "WECHATPAY2-SHA256-RSA2048"
        assert (parts["mchid"], parts["serial_no"]) == (MCH_ID, SETTINGS["WECHAT_MERCHANT_SERIAL"])
        assert parts["timestamp"] == str(int(at.timestamp()))
        text = f'POST\n/v3/a?b=1\n{parts["timestamp"]}\n{parts["nonce_str"]}\n{{"一":1}}\n'
        identity.private_key.public_key().verify(
            base64.b64decode(parts["signature"]),
            text.encode(),
            padding.PKCS1v15(),
            hashes.SHA256(),
        )

    def test_keys_are_not_shown_where_an_object_is_printed(self):
        identity = identity_of(SETTINGS)
        assert SETTINGS["WECHAT_API_V3_KEY"] not in repr(identity)
        assert KEY not in repr(built()._terms)


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("WECHAT_APP_ID", " "),
            ("WECHAT_MCH_ID", "secret"),
            ("WECHAT_MCH_ID", "１２３"),
            ("WECHAT_PLAN_ID", ""),
            ("WECHAT_API_V2_KEY", "secret"),
            ("WECHAT_API_V2_KEY", "密" * 32),
            ("WECHAT_API_V3_KEY", "secret"),
            ("WECHAT_MERCHANT_PRIVATE_KEY", "MIIEsecretsecret"),
            ("WECHAT_MERCHANT_PRIVATE_KEY", SETTINGS["WECHAT_PLATFORM_PUBLIC_KEY"]),
            ("WECHAT_PLATFORM_PUBLIC_KEY", "-----BEGIN CERTIFICATE-----secret"),
            ("WECHAT_PLATFORM_PUBLIC_KEY", SETTINGS["WECHAT_MERCHANT_PRIVATE_KEY"]),
            ("WECHAT_CLIENT_CERT_PATH", ""),
            ("WECHAT_CLIENT_CERT_PATH", "/nowhere/secret.pem"),
            ("WECHAT_CLIENT_KEY_PATH", ""),
            ("WECHAT_CLIENT_KEY_PATH", "/nowhere/secret.pem"),
            ("WECHAT_CLIENT_KEY_PATH", SETTINGS["WECHAT_CLIENT_CERT_PATH"]),
            ("WECHAT_CA_PATH", "/nowhere/secret.pem"),
            ("WECHAT_CA_PATH", SETTINGS["WECHAT_CLIENT_KEY_PATH"]),
            ("WECHAT_API_URL", "http://api.example/secret"),
            ("WECHAT_BACKUP_API_URL", "secret"),
            ("WECHAT_SECURE_API_URL", "ftp://secret"),
            ("WECHAT_NOTICE_MODE", "secret"),
            ("WECHAT_SIGN_TYPE", "RSA2secret"),
            ("WECHAT_SIGN_PAGE", "secret"),
            ("WECHAT_SERVER_IP", "secret"),
            ("WECHAT_MAX_CHARGE_MINOR", "12.5secret"),
            ("WECHAT_MAX_CHARGES_PER_DAY", "0"),
            ("WECHAT_NOTICE_WAIT_DAYS", "-1"),
            ("WECHAT_NOTICE_WINDOW_DAYS", "99"),
        ],
        # Keys and paths differ between processes, and tests' names must not.
        ids=range(29),
    )
    def test_a_wrong_one_is_named_and_its_value_never_shown(self, name, value):
        with pytest.raises(ValueError, match=f"^{name} must ") as refusal:
            built(**{name: value})
        assert "secret" not in str(refusal.value)
        assert refusal.value.__cause__ is None

    def test_a_certificate_and_a_key_that_do_not_match_are_refused(self, tmp_path):
        (tmp_path / "key.pem").write_text(new_keys().private)
        with pytest.raises(ValueError, match=r"^WECHAT_CLIENT_KEY_PATH must "):
            built(WECHAT_CLIENT_KEY_PATH=str(tmp_path / "key.pem"))

    @pytest.mark.parametrize(
        "name",
        [
            "WECHAT_API_V3_KEY",
            "WECHAT_MERCHANT_PRIVATE_KEY",
            "WECHAT_MERCHANT_SERIAL",
            "WECHAT_PLATFORM_PUBLIC_KEY",
            "WECHAT_PLATFORM_SERIAL",
        ],
    )
    def test_the_keys_of_v3_are_demanded_where_we_announce_and_not_elsewhere(self, name):
        for mode in ("24h", "none"):
            built(**{name: "", "WECHAT_NOTICE_MODE": mode})
        with pytest.raises(ValueError, match=f"^{name} must be set for WECHAT_NOTICE_MODE=notify"):
            built(**{name: "", "WECHAT_NOTICE_MODE": "notify"})

    def test_the_keys_may_carry_their_line_ends_as_backslash_n(self):
        built(
            WECHAT_NOTICE_MODE="notify",
            WECHAT_MERCHANT_PRIVATE_KEY=SETTINGS["WECHAT_MERCHANT_PRIVATE_KEY"].replace(
                "\n", "\\n"
            ),
            WECHAT_PLATFORM_PUBLIC_KEY=SETTINGS["WECHAT_PLATFORM_PUBLIC_KEY"].replace(
                "\n", "\\r\\n"
            ),
        )

    def test_a_deadline_too_short_to_mean_anything_is_refused(self):
        with pytest.raises(ValueError, match="at least 3 seconds"):
            built(timeout_s=2)


class TestTheRegistry:
    def test_makes_this_adapter_from_the_settings(self, settings):
        settings.RAILS, settings.RAILS_STOPPED = {"wechat": SETTINGS}, {}
        assert gateways.get("wechat").capabilities.rail == "wechat"
        assert gateways.available() == ["wechat"]

    def test_says_which_setting_stops_it_and_never_its_value(self, settings):
        wrong = SETTINGS | {"WECHAT_NOTICE_MODE": "notify", "WECHAT_API_V3_KEY": ""}
        settings.RAILS, settings.RAILS_STOPPED = {"wechat": wrong}, {}
        assert gateways.stopped() == {
            "wechat": "WECHAT_API_V3_KEY must be set for WECHAT_NOTICE_MODE=notify."
        }

    def test_every_setting_the_adapter_reads_is_among_the_rails_names_and_has_a_default(self):
        names = configuration.RAILS["wechat"]
        assert set(SETTINGS) <= {*names.required, *names.optional}
        required = {name: SETTINGS[name] for name in names.required}
        gateway = WechatGateway.from_settings({**required, **names.optional}, timeout_s=10)
        assert gateway.capabilities.delay == timedelta(hours=24)


class TestMessages:
    def test_survive_the_way_there_and_back_with_every_mark_that_xml_knows(self):
        fields = {"a": "<&>]]>\"'", "b": "话费 ", "c": ""}
        assert from_xml(to_xml(fields)) == fields

    def test_are_read_with_the_blanks_of_the_vendors_samples_kept_for_the_signature(self):
        body = b"<xml>\n\t<a> <![CDATA[SUCCESS]]> </a><b>1</b>\n</xml>"
        assert from_xml(body) == {"a": " SUCCESS ", "b": "1"}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"text",
            b"<html></html>",
            b"<xml><a>1</a>",
            b"<xml><a>1</a><a>2</a></xml>",
            b"<xml><a><b/></a></xml>",
            b'<!DOCTYPE xml [<!ENTITY a "&b;&b;"><!ENTITY b "b">]><xml><a>&a;</a></xml>',
            b'<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><a>&a;</a></xml>',
            b"<xml>\x00</xml>",
        ],
    )
    def test_anything_else_is_unreadable(self, body):
        with pytest.raises(UnreadableDocument):
            from_xml(body)

    def test_lose_what_v2_cannot_carry(self):
        assert plain("a😀\x00\n𠀀话费", longest=10) == "a话费"
        assert plain("话费" * 9, longest=4) == "话费话费"


class TestTimes:
    @pytest.mark.parametrize(
        "text", ["20261122093000", "2026-11-22 09:30:00", "2026-11-22T09:30:00+08:00"]
    )
    def test_are_beijings_in_each_spelling(self, text):
        assert instants.from_text(text) == datetime(2026, 11, 22, 1, 30, tzinfo=UTC)

    @pytest.mark.parametrize(
        "text", ["", "0", "2026-02-30 00:00:00", "2026-11-22T09:30:00", "昨天"]
    )
    def test_anything_else_is_none(self, text):
        assert instants.from_text(text) is None


class TestCodesAndMasks:
    def test_every_class_is_one_the_core_knows(self):
        assert set(codes.DECLINE_CODES.values()) <= set(DeclineClass.values)

    def test_codes_that_are_looked_for_mean_what_is_done_with_them(self):
        assert {codes.DECLINE_CODES[code] for code in codes.ASK_THE_ORDER} == {"done"}
        assert {codes.DECLINE_CODES[code] for code in codes.ACCEPTED_BEFORE} == {"pending"}
        assert {codes.DECLINE_CODES[code] for code in codes.NO_SUCH_CONTRACT} == {"hard"}

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("oUpF8uN95-Ptaags6E_roPHg7AG0", "oUpF8****"),
            ("138****0000", "138****0000"),
            ("x", "****"),
        ],
    )
    def test_who_it_is_is_never_shown_whole(self, given, shown):
        assert masking.masked_id(given) == shown

    def test_a_number_in_a_sentence_is_masked_and_codes_and_references_are_not(self):
        said = {
            "err_code": "NOTENOUGH",
            "err_code_des": "13812345678 of 89860012345678901234 has no money",
            "transaction_id": "1001690740201411100005734289",
            "out_trade_no": "01KAPM5ZZKBKACTAV9WEVGEMMV",
        }
        shown = json.loads(masking.masked_json(said))
        assert shown.pop("err_code_des") == "*** of *** has no money"
        assert shown == {name: said[name] for name in shown}

    def test_private_fields_are_masked_numbered_ones_too_and_signatures_dropped(self):
        masked = masking.masked_json(
            {
                "openid": "oUpF8uN95-Ptaags6E_roPHg7AG0",
                "openid_0": "oUpF8uN95-Ptaags6E_roPHg7AG0",
                "contract_id": "Wx15463511252015071056489715",
                "sign": "SIGN",
                "refund_recv_accout_0": "招商银行",
                "payer": {"openid": "oUpF8uN95-Ptaags6E_roPHg7AG0"},
                "list": [{"contract_id": "Wx15463511252015071056489715"}],
            }
        )
        for secret in ("uN95", "463511252015", "SIGN", "招商"):
            assert secret not in masked
        assert masked.count("oUpF8****") == 3

    def test_text_nobody_signed_is_kept_without_what_looks_private(self):
        masked = masking.masked_text(
            "<openid>abc</openid><sign>S</sign><x>oUpF8uN95-Ptaags6E_roPHg7AG0 13800138000</x>"
            + "x" * 9999
        )
        assert masked.startswith("<openid>***</openid><sign>***</sign><x>*** ***</x>")
        assert len(masked) <= 2100


# --- peers ------------------------------------------------------------------------------------


def answer(fields, *, key=KEY, kind=MD5, head=b"HTTP/1.1 200 OK\r\n"):
    """An HTTP answer with a v2 message, signed unless `kind` is empty."""
    whole = dict(fields) | ({"sign": sign(fields, key=key, sign_type=kind)} if kind else {})
    body = to_xml(whole)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


ORDER = {
    "return_code": "SUCCESS",
    "result_code": "SUCCESS",
    "appid": APP_ID,
    "mch_id": MCH_ID,
    "out_trade_no": "R1",
    "trade_state": "SUCCESS",
    "total_fee": "5000",
    "transaction_id": "42",
    "time_end": "20261122093000",
}


class TestPeersThatMisbehave:
    """Raw sockets: what no HTTP server would do."""

    @pytest.mark.parametrize(
        "sent",
        [
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<xml>",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b" " * 300_000,
            answer(ORDER, kind=""),
            answer(ORDER, key="0" * 32),
            answer(ORDER, head=b"HTTP/1.1 500 Oops\r\n"),
        ],
    )
    def test_whatever_comes_is_unknown(self, sent):
        with raw_peer(lambda connection: connection.sendall(sent)) as (url, _):
            asked = built(WECHAT_API_URL=url).query(reference="R1")
        assert isinstance(asked.outcome, Unknown)
        assert asked.exchanges[0].is_verified is False
        assert asked.exchanges[0].error

    def test_a_signed_call_is_not_handed_on_to_wherever_an_answer_points(self):
        genuine = answer(ORDER)
        with raw_peer(lambda connection: connection.sendall(genuine)) as (there, heard_there):
            sent = (
                b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n"
                % there.encode()
            )
            with raw_peer(lambda connection: connection.sendall(sent)) as (url, _):
                asked = built(WECHAT_API_URL=url).query(reference="R1")
        assert asked.outcome == Unknown("HTTP 307")
        assert heard_there == []

    @pytest.mark.parametrize("kind", [MD5, HMAC_SHA256])
    def test_a_genuine_answer_in_either_type_is_read(self, kind):
        with raw_peer(lambda connection: connection.sendall(answer(ORDER, kind=kind))) as (url, _):
            asked = built(WECHAT_API_URL=url).query(reference="R1")
        assert asked.outcome == Succeeded(
            "42", 5000, "CNY", datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
        )

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"out_trade_no": "R2"}, "the answer is about another order"),
            ({"mch_id": "1999999999"}, "the answer is for another merchant"),
            ({"fee_type": "USD"}, "the answer is in another currency"),
            ({"total_fee": "50.00"}, "the answer's amount cannot be read"),
            ({"total_fee": "-1"}, "the answer's amount cannot be read"),
            ({"total_fee": "５０"}, "the answer's amount cannot be read"),
            ({"total_fee": ""}, "the answer's amount cannot be read"),
            ({"trade_state": "BRAND_NEW"}, "trade_state BRAND_NEW"),
            ({"trade_state": ""}, "trade_state missing"),
        ],
    )
    def test_a_genuine_success_that_does_not_fit_is_unknown(self, changes, reason):
        sent = answer(ORDER | changes)
        with raw_peer(lambda connection: connection.sendall(sent)) as (url, _):
            asked = built(WECHAT_API_URL=url).query(reference="R1")
        assert asked.outcome == Unknown(reason)

    @pytest.mark.parametrize("state", ["ACCEPT", "NOTPAY", "USERPAYING"])
    def test_every_state_that_waits_is_pending(self, state):
        sent = answer(ORDER | {"trade_state": state})
        with raw_peer(lambda connection: connection.sendall(sent)) as (url, _):
            assert built(WECHAT_API_URL=url).query(reference="R1").outcome == Pending("42")

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"trade_state": "CLOSED"}, "CLOSED"),
            ({"trade_state": "REVOKED"}, "REVOKED"),
            ({"trade_state": "PAYERROR", "err_code": "BANKERROR"}, "BANKERROR"),
            ({"trade_state": "PAY_FAIL"}, "PAY_FAIL"),
            ({"trade_state": "CLOSED", "err_code": "0"}, "CLOSED"),
        ],
    )
    def test_every_state_that_is_over_is_closed_with_what_is_told_of_why(self, fields, code):
        sent = answer(ORDER | fields)
        with raw_peer(lambda connection: connection.sendall(sent)) as (url, _):
            assert built(WECHAT_API_URL=url).query(reference="R1").outcome.code == code

    def test_an_answer_that_drips_is_given_up_within_the_deadline(self):
        def drip(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            for _ in range(200):
                connection.sendall(b" " * 10)
                time.sleep(0.1)

        with raw_peer(drip) as (url, _):
            asked = built(timeout_s=3, WECHAT_API_URL=url).query(reference="R1")
        assert asked.exchanges[0].error == "the answer took too long"

    def test_one_connection_carries_one_call_after_the_other(self):
        """The peer accepts a single connection, so a second one would never be answered."""
        sent = answer(
            {"return_code": "SUCCESS", "result_code": "FAIL", "err_code": "ORDERNOTEXIST"}
        )

        def serve(connection):
            connection.sendall(sent)
            while connection.recv(65536):
                connection.sendall(sent)

        with raw_peer(serve) as (url, _):
            gateway = built(timeout_s=3, WECHAT_API_URL=url)
            outcomes = [gateway.query(reference="R1").outcome for _ in range(3)]
        assert outcomes == [NotFound()] * 3

    def test_what_is_sent_names_itself_is_signed_and_carries_no_proxys_or_netrcs_secrets(
        self, monkeypatch
    ):
        monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:9")
        with raw_peer(lambda connection: None) as (url, heard):
            built(WECHAT_API_URL=url).charge(request=charge_of("Wx15463511252015071056489715"))
        head, body = heard[0].split(b"\r\n\r\n", 1)
        assert head.startswith(b"POST /pay/pappayapply HTTP/1.1")
        assert USER_AGENT.encode() in head
        assert b"secret" not in head
        sent = from_xml(body)
        assert is_signed(sent, key=KEY)
        assert (sent["sign_type"], sent["trade_type"], sent["total_fee"]) == (
            HMAC_SHA256,
            "PAP",
            "5000",
        )
        assert KEY.encode() not in heard[0]

    @pytest.mark.parametrize(
        ("url_told", "is_good"),
        [
            ("https://payapp.weixin.qq.com/x", True),
            ("http://payapp.weixin.qq.com/x", False),
            ("https://weixin.qq.com.evil.example/x", False),
            ("https://evilqq.com/", False),
            ("https://evil.example/?a=.qq.com", False),
            ("https://user@evil.example:443@qq.com.evil.example/", False),
            ("javascript:alert(1)", False),
            ("//evil.example/", False),
            ("https://[", False),
            ("https://evil.example\\.qq.com/", False),
            ("https://pay.weixin.qq.com\\@evil.example/", False),
            ("https://pay.weixin.qq.com@evil.example/", False),
        ],
    )
    def test_an_unsigned_page_is_only_followed_to_an_address_of_wechats(self, url_told, is_good):
        """The vendor's sample of this one answer has no signature."""
        fields = {"return_code": "SUCCESS", "result_code": "SUCCESS", "redirect_url": url_told}
        sent = answer(fields, kind="")
        with raw_peer(lambda connection: connection.sendall(sent)) as (url, heard):
            gateway = built(WECHAT_API_URL=url)
            if is_good:
                assert gateway.start_binding(request=binding_of("B1")).url == url_told
            else:
                with pytest.raises(SigningNotStarted):
                    gateway.start_binding(request=binding_of("B1"))
        assert b"Referer: https://keepline.example/back" in heard[0]

    def test_v3s_answer_that_is_signed_and_no_object_is_unknown(self):
        """Signed with a key of the test's own, which the adapter is told is WeChat Pay's."""
        pair = new_keys()
        identity = identity_of(SETTINGS | {"WECHAT_MERCHANT_PRIVATE_KEY": pair.private})
        bodies = [b"[]", b"nothing", json.dumps({"code": "SYSTEM_ERROR"}).encode(), b"{}"]
        outcomes = []
        for body in bodies:
            sent = _signed_v3(identity.private_key, body, status=b"400 Bad Request")
            with raw_peer(lambda connection, sent=sent: connection.sendall(sent)) as (url, _):
                gateway = built(
                    WECHAT_API_URL=url,
                    WECHAT_NOTICE_MODE="notify",
                    WECHAT_PLATFORM_PUBLIC_KEY=pair.public,
                )
                request = charge_of("Wx1")
                prepared = gateway.prepare_charge(request=request, due_at=datetime.now(UTC))
                outcomes.append(prepared.outcome)
        assert {type(outcome) for outcome in outcomes} == {Unknown}


def _signed_v3(key, body, *, status):
    stamp = str(int(time.time()))
    text = f"{stamp}\nN\n".encode() + body + b"\n"
    signature = base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256()))
    head = (
        b"HTTP/1.1 %s\r\nWechatpay-Timestamp: %s\r\nWechatpay-Nonce: N\r\n"
        b"Wechatpay-Signature: %s\r\nWechatpay-Serial: %s\r\nContent-Length: %d\r\n\r\n"
    )
    serial = SETTINGS["WECHAT_PLATFORM_SERIAL"].encode()
    return head % (status, stamp.encode(), signature, serial, len(body)) + body


@contextmanager
def raw_peer(reply):
    """A server of one connection that hears a request, calls `reply` and hangs up."""
    heard = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            heard.append(_request(connection))
            try:
                reply(connection)
            except OSError:
                return  # the client has hung up: that is what is tested

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
    finally:
        listener.close()


def _request(connection):
    """Head and body, which may come apart."""
    received = connection.recv(65536)
    while b"\r\n\r\n" in received:
        head, _, body = received.partition(b"\r\n\r\n")
        sizes = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        if not sizes or len(body) >= int(sizes[0].split(b":")[1]):
            break
        received += connection.recv(65536)
    return received
