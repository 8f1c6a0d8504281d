"""Whom the simulator listens to: v2's secret, v3's key, and messages it will not read."""

from datetime import UTC, datetime

import pytest
import requests

from tests.rails.contract import new_ref
from tests.rails.wechat_merchant import Merchant, message
from tests.rails.wechat_simulator import start_wechat

pytestmark = pytest.mark.processes
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    b'<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xml><appid>&b;</appid></xml>'
)
LEAK = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    b"<xml><appid>&f;</appid></xml>"
)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with start_wechat(tmp_path_factory.mktemp("wechat")) as simulator:
        yield simulator


@pytest.fixture
def wechat(process):
    process.as_it_began()
    process.relax()
    return process


@pytest.fixture
def merchant(wechat):
    return Merchant(wechat)


class TestWhoIsAsking:
    def charge(self, wechat) -> dict[str, str]:
        merchant = Merchant(wechat)
        return merchant.order(wechat.agree(new_ref("B")))

    def was_accepted(self, wechat, order) -> bool:
        return order["out_trade_no"] in {one["reference"] for one in wechat.journal("order")}

    @pytest.mark.parametrize("sign_type", ["MD5", "HMAC-SHA256"])
    def test_is_answered_in_the_way_it_signed(self, wechat, sign_type):
        merchant, order = Merchant(wechat, sign_type), self.charge(wechat)
        assert merchant.code("/pay/pappayapply", order) == "SUCCESS"
        answer = merchant.call("/pay/orderquery", {"out_trade_no": order["out_trade_no"]})
        others = Merchant(wechat, {"MD5": "HMAC-SHA256"}.get(sign_type, "MD5"))
        assert answer["sign"] != others.signature(answer)

    def test_is_not_known_by_a_wrong_key(self, wechat, merchant):
        order = self.charge(wechat)
        signed = merchant.signed(order, key="0" * 32)
        answer = merchant.send("/pay/pappayapply", message(signed))
        assert answer == {"return_code": "FAIL", "return_msg": "签名错误"}
        assert not self.was_accepted(wechat, order)

    @pytest.mark.parametrize("field", ["total_fee", "contract_id", "notify_url", "a_new_field"])
    def test_signs_every_field_known_or_not(self, wechat, merchant, field):
        order = self.charge(wechat)
        signed = merchant.signed(order | {"a_new_field": "1"})
        spoilt = signed | {field: signed[field] + "1"}
        assert merchant.send("/pay/pappayapply", message(spoilt))["return_msg"] == "签名错误"
        assert not self.was_accepted(wechat, order)
        assert merchant.send("/pay/pappayapply", message(signed))["result_code"] == "SUCCESS"

    def test_may_be_held_to_hmac(self, wechat, merchant):
        wechat.set(demands_hmac=True)
        order = self.charge(wechat)
        assert merchant.code("/pay/pappayapply", order) == "SIGNERROR"
        assert not self.was_accepted(wechat, order)
        assert Merchant(wechat, "HMAC-SHA256").code("/pay/pappayapply", order) == "SUCCESS"

    def test_must_be_the_merchant_of_the_app(self, wechat, merchant):
        order = self.charge(wechat)
        assert (
            merchant.code("/pay/pappayapply", order | {"appid": "wx1"}) == "APPID_MCHID_NOT_MATCH"
        )
        stranger = message(merchant.signed(order | {"mch_id": "1"}))
        assert merchant.send("/pay/pappayapply", stranger)["return_code"] == "FAIL"
        assert not self.was_accepted(wechat, order)

    @pytest.mark.parametrize(
        "name",
        ["appid", "nonce_str", "body", "out_trade_no", "total_fee", "spbill_create_ip",
         "notify_url", "trade_type", "contract_id"],
    )  # fmt: skip
    def test_is_told_what_is_missing(self, wechat, merchant, name):
        order = self.charge(wechat)
        answer = merchant.call("/pay/pappayapply", order | {name: ""})
        assert (answer["err_code"], answer["err_code_des"]) == ("LACK_PARAMS", f"缺少参数{name}")
        assert not self.was_accepted(wechat, order)

    @pytest.mark.parametrize(
        "changes",
        [
            {"total_fee": "0"},
            {"total_fee": "-1"},
            {"total_fee": "1.5"},
            {"total_fee": "1e3"},
            {"out_trade_no": "R" * 33},
            {"out_trade_no": "R 1"},
            {"trade_type": "JSAPI"},
            {"fee_type": "USD"},
            {"body": "字" * 43},
        ],
    )
    def test_is_told_what_is_wrong(self, wechat, merchant, changes):
        order = self.charge(wechat) | changes
        assert merchant.code("/pay/pappayapply", order) == "PARAM_ERROR"
        assert not self.was_accepted(wechat, order)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"   ",
            b"appid=1&mch_id=2",
            b'{"appid": "1"}',
            b"<xml><appid>1</appid>",
            b"<xml><a><b>1</b></a></xml>",
            b"<xml><appid>1</appid><appid>2</appid></xml>",
            b"<html><appid>1</appid></html>",
            b"<xml><a>" + b"x" * 70_000 + b"</a></xml>",
            b"<xml>" + b"".join(b"<a%d>1</a%d>" % (n, n) for n in range(101)) + b"</xml>",
            b"\xff\xfe<xml/>",
            BOMB,
            LEAK,
        ],
    )
    def test_must_speak_in_flat_messages(self, merchant, body):
        answer = merchant.send("/pay/pappayapply", body)
        assert answer["return_msg"].startswith(("XML格式错误", "POST数据为空"))
        assert set(answer) == {"return_code", "return_msg"}

    def test_may_use_characters_of_three_bytes_and_not_of_four(self, wechat, merchant):
        order = self.charge(wechat)
        refused = merchant.send(
            "/pay/pappayapply", message(merchant.signed(order | {"body": "话费📱"}))
        )
        assert "4字节" in refused["return_msg"]
        assert not self.was_accepted(wechat, order)
        assert merchant.code("/pay/pappayapply", order | {"body": "话费"}) == "SUCCESS"

    def test_is_refused_in_an_unsigned_message_when_ordered(self, wechat, merchant):
        order = self.charge(wechat)
        wechat.fault("pappayapply", "return_fail", message="系统繁忙")
        answer = merchant.send("/pay/pappayapply", message(merchant.signed(order)))
        assert answer == {"return_code": "FAIL", "return_msg": "系统繁忙"}
        assert not self.was_accepted(wechat, order)


class TestAnAnnouncementsSignature:
    @pytest.fixture
    def contract_id(self, wechat):
        wechat.set(mode="notify")
        return wechat.agree(new_ref("B"))

    def announced(self, wechat, contract_id):
        return contract_id in {one["contract_id"] for one in wechat.journal("announcement")}

    def ask(self, wechat, merchant, contract_id, **changes):
        body = {
            "mchid": wechat.mch_id,
            "appid": wechat.app_id,
            "estimated_amount": {"amount": 5000, "currency": "CNY"},
        }
        return merchant.v3(f"/v3/papay/contracts/{contract_id}/notify", body, **changes)

    def test_is_good_for_five_minutes(self, wechat, merchant, contract_id):
        for by in (-301, 330):  # the call itself takes a moment
            stamp = str(int(datetime.now(UTC).timestamp()) + by)
            answer = self.ask(wechat, merchant, contract_id, timestamp=stamp)
            assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
            assert "5分钟" in answer.json()["message"]
        assert not self.announced(wechat, contract_id)
        assert self.ask(wechat, merchant, contract_id).status_code == 204

    @pytest.mark.parametrize(
        "changes",
        [
            {"mchid": "1230000999"},
            {"serial_no": "00"},
            {"nonce_str": "changed"},
            {"signature": "bm8="},
            {"signature": "no base64"},
            {"timestamp": "soon"},
            {"timestamp": ""},
        ],
    )
    def test_covers_all_of_it(self, wechat, merchant, contract_id, changes):
        answer = self.ask(wechat, merchant, contract_id, **changes)
        assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
        assert "Wechatpay-Signature" not in answer.headers
        assert not self.announced(wechat, contract_id)

    def test_is_demanded(self, wechat, contract_id):
        url = f"{wechat.url}/v3/papay/contracts/{contract_id}/notify"
        for headers in ({}, {"Authorization": "Basic Og=="}):
            assert requests.post(url, json={}, headers=headers, timeout=10).status_code == 401

    @pytest.mark.parametrize(
        "changes",
        [
            {"amount": 0},
            {"amount": "5000"},
            {"amount": 1.5},
            {"amount": True},
            {"estimated_amount": 5000},
            {"estimated_amount": {"amount": 1, "currency": "USD"}},
            {"deduct_duration": {"count": 0, "unit": "DAY"}},
            {"deduct_duration": {"count": 8, "unit": "DAY"}},
            {"deduct_duration": {"count": 1, "unit": "MONTH"}},
            {"deduct_duration": 7},
        ],
    )
    def test_does_not_save_what_is_no_announcement(self, wechat, merchant, contract_id, changes):
        assert merchant.announce(contract_id, **changes) == (400, "PARAM_ERROR")
        assert not self.announced(wechat, contract_id)

    def test_of_a_repeat_is_told_so_and_of_another_is_refused(self, wechat, merchant, contract_id):
        assert merchant.announce(contract_id) == (204, "")
        assert merchant.announce(contract_id) == (400, "RESOURCE_ALREADY_EXISTS")
        assert merchant.announce(contract_id, amount=6000) == (400, "INVALID_REQUEST")
        days = {"count": 3, "unit": "DAY"}
        assert merchant.announce(contract_id, deduct_duration=days) == (400, "INVALID_REQUEST")
        assert [one["amount_minor"] for one in wechat.journal("announcement")][-1] == 5000

    def test_is_no_use_for_another_template_or_without_a_contract(
        self, wechat, merchant, contract_id
    ):
        wechat.revoke(contract_id)
        assert merchant.announce(contract_id) == (404, "CONTRACT_NOT_EXIST")
        wechat.set(mode="24h")
        assert merchant.announce(wechat.agree(new_ref("B"))) == (403, "NO_AUTH")
