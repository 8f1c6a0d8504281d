"""Keys, signatures and answers, byte by byte; and peers that misbehave below HTTP."""

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from billing.gateways.alipay import codes, masking
from billing.gateways.alipay.adapter import AlipayGateway
from billing.gateways.alipay.answers import UnreadableAnswer, open_envelope
from billing.gateways.alipay.client import USER_AGENT
from billing.gateways.alipay.signing import is_signed, load_private_key, sign, signed_text
from billing.gateways.base import NotFound, Unknown
from tests.rails.simulators import new_keys, session_keys

MERCHANT, ALIPAY = session_keys()
SETTINGS = {
    "ALIPAY_APP_ID": "2021000000000001",
    "ALIPAY_SELLER_ID": "2088000000000001",
    "ALIPAY_PRIVATE_KEY": MERCHANT.private,
    "ALIPAY_PUBLIC_KEY": ALIPAY.public,
    "ALIPAY_GATEWAY_URL": "https://openapi.example/gateway.do",
    "ALIPAY_PRODUCT_CODE": "GENERAL_WITHHOLDING",
    "ALIPAY_PERSONAL_PRODUCT_CODE": "GENERAL_WITHHOLDING_P",
    "ALIPAY_SIGN_SCENE": "INDUSTRY|MOBILE",
}


def built(**changes):
    return AlipayGateway.from_settings(SETTINGS | changes, timeout_s=10)


def one_line(pem):
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def pkcs1(pem):
    key = load_private_key(pem, setting="X")
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


class TestKeysInEveryForm:
    @pytest.mark.parametrize(
        "private",
        [
            MERCHANT.private,
            one_line(MERCHANT.private),
            MERCHANT.private.replace("\n", "\\n"),
            MERCHANT.private.replace("\n", "\r\n"),
            pkcs1(MERCHANT.private),
            one_line(pkcs1(MERCHANT.private)),
        ],
    )
    def test_a_private_key_is_taken_as_pem_or_bare_in_pkcs1_or_pkcs8(self, private):
        key = load_private_key(private, setting="X")
        assert key.public_key().public_numbers() == (
            load_private_key(MERCHANT.private, setting="X").public_key().public_numbers()
        )
        built(ALIPAY_PRIVATE_KEY=private)

    def test_alipays_key_is_taken_with_or_without_headers(self):
        built(ALIPAY_PUBLIC_KEY=one_line(ALIPAY.public))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("ALIPAY_PRIVATE_KEY", "MIIEsecretsecret"),
            ("ALIPAY_PRIVATE_KEY", "密钥secret"),
            ("ALIPAY_PRIVATE_KEY", ALIPAY.public),
            ("ALIPAY_PUBLIC_KEY", "secret!"),
            ("ALIPAY_PUBLIC_KEY", ALIPAY.private),
            ("ALIPAY_PUBLIC_KEY", MERCHANT.public),
            ("ALIPAY_GATEWAY_URL", "http://openapi.example/secret"),
            ("ALIPAY_GATEWAY_URL", "secret"),
            ("ALIPAY_SIGN_SCENE", "DEFAULT|DEFAULT"),
            ("ALIPAY_MAX_CHARGE_MINOR", "12.5secret"),
            ("ALIPAY_MAX_CHARGE_MINOR", "０secret"),
            ("ALIPAY_MAX_CHARGE_MINOR", "-1"),
            ("ALIPAY_PERIOD_TYPE", "WEEKsecret"),
            ("ALIPAY_ASYNC_TYPE", "secret"),
            ("ALIPAY_APP_ID", " "),
            ("ALIPAY_PRODUCT_CODE", ""),
        ],
    )
    def test_a_wrong_setting_is_named_and_its_value_never_shown(self, name, value):
        with pytest.raises(ValueError, match=f"^{name} must ") as refusal:
            built(**{name: value})
        assert "secret" not in str(refusal.value)
        assert refusal.value.__cause__ is None

    def test_a_short_or_foreign_key_is_refused(self):
        small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
        curve = ec.generate_private_key(ec.SECP256R1())
        for key in (small, curve):
            pem = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode()
            with pytest.raises(ValueError, match=r"^ALIPAY_PRIVATE_KEY must "):
                built(ALIPAY_PRIVATE_KEY=pem)

    @pytest.mark.parametrize(
        ("changes", "name"),
        [
            ({}, "ALIPAY_PERIOD_TYPE"),
            ({"ALIPAY_PERIOD_TYPE": "DAY", "ALIPAY_PERIOD": "6"}, "ALIPAY_PERIOD"),
            ({"ALIPAY_PERIOD_TYPE": "MONTH"}, "ALIPAY_PERIOD"),
        ],
    )
    def test_the_cycle_product_without_its_rhythm_is_refused(self, changes, name):
        with pytest.raises(ValueError, match=f"^{name} must "):
            built(ALIPAY_PRODUCT_CODE="CYCLE_PAY_AUTH", **changes)


class TestSigning:
    def test_covers_every_filled_parameter_but_sign_raw_and_sorted(self):
        params = {"b": "2 &=", "sign": "x", "a": "一", "empty": "", "sign_type": "RSA2", "B": "0"}
        assert signed_text(params) == "B=0&a=一&b=2 &=&sign_type=RSA2"

    def test_is_rsa_with_sha256_and_pkcs1_as_a_foreign_verifier_sees_it(self):
        key = load_private_key(MERCHANT.private, setting="X")
        signature = base64.b64decode(sign(key, "a=一"))
        key.public_key().verify(signature, "a=一".encode(), padding.PKCS1v15(), hashes.SHA256())

    @pytest.mark.parametrize("signature", ["", "!!!!", "AAAA", "签名"])
    def test_what_is_no_signature_is_not_one_and_does_not_raise(self, signature):
        key = load_private_key(MERCHANT.private, setting="X").public_key()
        assert is_signed(key, "text", signature) is False


class TestAnswers:
    def test_the_signed_text_is_the_inner_objects_own_bytes(self):
        inner = '{"code":"10000", "a" : {"b":"}\\"{\\/"},"c":["}"],"d":"\\u4e00"}'
        text = ' {"x_y_response" :\n' + inner + ' , "sign":"S\\/S"} '
        envelope = open_envelope(text, method="x.y")
        assert envelope.signed_text == inner
        assert envelope.signature == "S/S"
        assert envelope.fields["a"] == {"b": '}"{/'}

    def test_the_name_inside_a_string_or_deeper_down_is_not_the_answer(self):
        text = '{"m":"x_y_response\\":{","n":{"x_y_response":{"code":"1"}},"x_y_response":{}}'
        assert open_envelope(text, method="x.y").signed_text == "{}"

    def test_no_figure_becomes_a_float(self):
        envelope = open_envelope('{"x_response":{"a":0.1}}', method="x")
        assert envelope.fields["a"] == Decimal("0.1")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            '{"x_response":{}',
            '{"x_response":"text","sign":"S"}',
            '{"other_response":{},"sign":"S"}',
            '{"x_response":{"code":"1"},"x_response":{"code":"10000"},"sign":"S"}',
            '{"x_response":{},"sign":"S"}{}',
            '{"x_response":{},"sign":"S",}',
            '{"x_response":' + '{"a":' * 20_000,
        ],
    )
    def test_anything_else_is_unreadable(self, text):
        with pytest.raises(UnreadableAnswer):
            open_envelope(text, method="x")

    def test_the_gateways_own_error_is_an_answer_too(self):
        envelope = open_envelope('{"error_response":{"code":"40002"}}', method="x.y")
        assert (envelope.fields["code"], envelope.signature) == ("40002", "")


class TestCodesAndMasks:
    def test_every_class_is_one_the_core_knows(self):
        assert set(codes.DECLINE_CODES.values()) == {
            "soft",
            "hard",
            "unknown",
            "config",
            "pending",
            "done",
        }

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("138****0001", "138****0001"),
            ("2088123412341234", "208***1234"),
            ("person@example.cn", "per***e.cn"),
            ("short", "***"),
        ],
    )
    def test_an_account_is_never_shown_whole(self, given, shown):
        assert masking.masked_account(given) == shown

    def test_a_number_in_a_sentence_is_masked_and_codes_and_references_are_not(self):
        said = {
            "sub_code": "ACQ.BUYER_BALANCE_NOT_ENOUGH",
            "sub_msg": "13812345678 and 2088123412341234 and 89860012345678901234 are out",
            "trade_no": "2026112220881234123412341381",
            "out_trade_no": "01KAPM5ZZKBKACTAV9WEVGEMMV",
            "gmt_payment": "2026-11-22 10:00:00",
        }
        shown = json.loads(masking.masked_json(said))
        assert shown.pop("sub_msg") == "*** and *** and *** are out"
        assert shown == {name: said[name] for name in shown}

    def test_private_fields_are_masked_at_any_depth_and_signatures_dropped(self):
        masked = masking.masked_json(
            {"biz_content": '{"agreement_params":{"agreement_no":"20181234567890"}}', "sign": "S"}
            | {"list": [{"buyer_user_id": "2088123412341234"}]}
        )
        assert "20181234567890" not in masked
        assert "2088123412341234" not in masked
        assert "sign" not in masked

    def test_text_nobody_signed_is_kept_without_what_looks_private(self):
        masked = masking.masked_text(
            "<p>2088123412341234 13800138000 a.b@example.cn</p>" + "x" * 9999
        )
        assert masked.startswith("<p>*** *** ***</p>")
        assert len(masked) <= 2000


class TestPeersThatMisbehave:
    """Raw sockets: what no HTTP server would do."""

    @pytest.mark.parametrize(
        "sent",
        [
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b" " * 300_000,
        ],
    )
    def test_whatever_comes_is_unknown(self, sent):
        with raw_peer(lambda connection: connection.sendall(sent)) as (url, _):
            answer = built(ALIPAY_GATEWAY_URL=url).query(reference="R1")
        assert isinstance(answer.outcome, Unknown)
        assert answer.exchanges[0].is_verified is False
        assert answer.exchanges[0].error

    def test_an_answer_that_drips_is_given_up_within_the_deadline(self):
        def drip(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            for _ in range(200):
                connection.sendall(b" " * 10)
                time.sleep(0.1)

        with raw_peer(drip) as (url, _):
            gateway = AlipayGateway.from_settings(
                SETTINGS | {"ALIPAY_GATEWAY_URL": url}, timeout_s=3
            )
            answer = gateway.query(reference="R1")
        assert isinstance(answer.outcome, Unknown)
        assert answer.exchanges[0].error == "the answer took too long"

    def test_an_answer_signed_by_somebody_else_is_unknown(self):
        stranger = load_private_key(new_keys().private, setting="X")
        inner = '{"code":"10000","out_trade_no":"R1","trade_status":"TRADE_SUCCESS"}'
        body = (
            f'{{"alipay_trade_query_response":{inner},"sign":"{sign(stranger, inner)}"}}'.encode()
        )
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        with raw_peer(lambda connection: connection.sendall(head + body)) as (url, _):
            answer = built(ALIPAY_GATEWAY_URL=url).query(reference="R1")
        assert answer.outcome == Unknown("the answer's signature is wrong")

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ('"out_trade_no":"R2","total_amount":"1.00"', "the answer is about another trade"),
            ('"out_trade_no":"R1","total_amount":"1.001"', "the answer's amount cannot be read"),
            ('"out_trade_no":"R1","total_amount":1.5', "the answer's amount cannot be read"),
            ('"out_trade_no":"R1"', "the answer's amount cannot be read"),
        ],
    )
    def test_a_genuine_success_that_does_not_fit_is_unknown(self, fields, reason):
        alipay = load_private_key(ALIPAY.private, setting="X")
        inner = '{"code":"10000","trade_status":"TRADE_SUCCESS",' + fields + "}"
        body = f'{{"alipay_trade_query_response":{inner},"sign":"{sign(alipay, inner)}"}}'.encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        with raw_peer(lambda connection: connection.sendall(head + body)) as (url, _):
            answer = built(ALIPAY_GATEWAY_URL=url).query(reference="R1")
        assert answer.outcome == Unknown(reason)

    def test_one_connection_carries_one_call_after_the_other(self):
        """The peer accepts a single connection, so a second one would never be answered."""
        alipay = load_private_key(ALIPAY.private, setting="X")
        inner = '{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"}'
        body = f'{{"alipay_trade_query_response":{inner},"sign":"{sign(alipay, inner)}"}}'.encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)

        def serve(connection):
            connection.sendall(head + body)
            while connection.recv(65536):
                connection.sendall(head + body)

        with raw_peer(serve) as (url, _):
            gateway = AlipayGateway.from_settings(
                SETTINGS | {"ALIPAY_GATEWAY_URL": url}, timeout_s=3
            )
            outcomes = [gateway.query(reference="R1").outcome for _ in range(3)]
        assert outcomes == [NotFound()] * 3

    @pytest.mark.parametrize("charset", ["utf-8", "gbk"])
    def test_an_answer_in_gbk_verifies_over_the_bytes_as_sent(self, charset):
        inner = (
            '{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST",'
            '"sub_msg":"交易不存在"}'
        ).encode(charset)
        key = load_private_key(ALIPAY.private, setting="KEY")
        signature = base64.b64encode(key.sign(inner, padding.PKCS1v15(), hashes.SHA256()))
        outcomes = []
        for told in (inner, inner.replace("交易".encode(charset), "定单".encode(charset))):
            body = b'{"alipay_trade_query_response":' + told + b',"sign":"' + signature + b'"}'
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            with raw_peer(lambda connection, all_=head + body: connection.sendall(all_)) as (
                url,
                _,
            ):
                outcomes.append(built(ALIPAY_GATEWAY_URL=url).query(reference="R1").outcome)
        assert outcomes == [NotFound(), Unknown("the answer's signature is wrong")]

    def test_what_is_sent_names_itself_and_carries_no_proxys_or_netrcs_secrets(self, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:9")
        with raw_peer(lambda connection: None) as (url, heard):
            built(ALIPAY_GATEWAY_URL=url).query(reference="R1")
        request = heard[0].decode()
        assert request.startswith("POST /gateway.do?")
        assert f"User-Agent: {USER_AGENT}" in request
        assert "secret" not in request


@contextmanager
def raw_peer(reply):
    """A server of one connection that hears a request, calls `reply` and hangs up."""
    heard = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(65536))
            try:
                reply(connection)
            except OSError:
                return  # the client has hung up: that is what is tested

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/gateway.do", heard
    finally:
        listener.close()
