"""Third-party clients, unmodified, against the simulator: wechatpy for v2, wechatpayv3 for v3.

What neither checks is held by the vendor's own published vector. Known of them:
wechatpy verifies no answer, signs withholding by MD5 only, asks paporderquery, and looks the live
host up in DNS before it deducts; wechatpayv3 takes a notification of any age.
"""

import json
import socket

import pytest
import requests
from wechatpayv3 import WeChatPay as WeChatPayV3
from wechatpayv3 import WeChatPayType
from wechatpayv3.type import RequestType
from wechatpy.exceptions import InvalidSignatureException, WeChatPayException
from wechatpy.pay import WeChatPay
from wechatpy.pay.utils import calculate_signature, calculate_signature_hmac

from billing.gateways.wechat.simulator import signatures
from tests.rails.contract import new_ref
from tests.rails.simulators import Inbox
from tests.rails.wechat_merchant import ACKNOWLEDGED, Merchant, caught, fields_of, old
from tests.rails.wechat_simulator import DAY_S, POOR, start_wechat

pytestmark = pytest.mark.processes

# From the vendor's page on signing.
VECTOR = {
    "appid": "wxd930ea5d5a258f4f",
    "mch_id": "10000100",
    "device_info": "1000",
    "body": "test",
    "nonce_str": "ibuaiVcKdpRxkhJA",
}
VECTOR_KEY = "192006250b4c09247ec02edce69f6a2d"
VECTOR_MD5 = "9A0A8659F005D6984697E2CA0A9CF3B7"
VECTOR_HMAC = "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"


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
def inbox():
    box = Inbox(answer=ACKNOWLEDGED)
    yield box
    box.close()


@pytest.fixture
def v2(wechat, monkeypatch):
    """wechatpy, on the secure port for everything, for it knows one address only."""
    # It asks DNS for the live host before a deduction: nothing of that may leave this machine.
    monkeypatch.setattr(socket, "gethostbyname", lambda _: "127.0.0.1")
    client = WeChatPay(
        wechat.app_id,
        wechat.key("api_v2_key.txt"),
        wechat.mch_id,
        mch_cert=str(wechat.keys / "apiclient_cert.pem"),
        mch_key=str(wechat.keys / "apiclient_key.pem"),
    )
    client.API_BASE_URL = f"{wechat.secure_url}/"
    client._http.trust_env = False
    client._http.verify = str(wechat.keys / "ca.pem")
    return client


def v3_of(wechat, **changes):
    """wechatpayv3, in public-key mode."""
    values = {
        "wechatpay_type": WeChatPayType.NATIVE,
        "mchid": wechat.mch_id,
        "private_key": wechat.key("apiclient_key.pem"),
        "cert_serial_no": wechat.serials["merchant_serial"],
        "apiv3_key": wechat.key("api_v3_key.txt"),
        "appid": wechat.app_id,
        "notify_url": "http://127.0.0.1:9/nobody",
        "public_key": wechat.key("platform_pub.pem"),
        "public_key_id": wechat.serials["public_key_id"],
    }
    client = WeChatPayV3(**(values | changes))
    client._core._gate_way = wechat.url
    return client


class TestThePublishedVector:
    def test_is_what_the_simulator_signs(self):
        assert signatures.v2_sign(VECTOR, key=VECTOR_KEY) == VECTOR_MD5
        assert signatures.v2_sign(VECTOR, key=VECTOR_KEY, sign_type="HMAC-SHA256") == VECTOR_HMAC

    @pytest.mark.parametrize(
        ("sign_type", "sign"), [("MD5", VECTOR_MD5), ("HMAC-SHA256", VECTOR_HMAC)]
    )
    def test_is_what_it_accepts_and_nothing_near_it(self, sign_type, sign):
        def is_signed(**changes):
            fields = VECTOR | {"sign": sign} | changes
            return signatures.is_v2_signed(fields, key=VECTOR_KEY, sign_type=sign_type)

        assert is_signed()
        assert is_signed(attach="")  # what is empty is not signed
        assert not is_signed(body="tesu")
        assert not is_signed(attach="1")
        assert not is_signed(sign=sign.lower())
        assert not is_signed(sign="")

    def test_is_what_wechatpy_signs_so_it_may_judge_the_rest(self):
        assert calculate_signature(VECTOR, VECTOR_KEY) == VECTOR_MD5
        assert calculate_signature_hmac(VECTOR, VECTOR_KEY) == VECTOR_HMAC


class TestWechatpy:
    def test_signs_asks_and_ends_a_contract(self, wechat, v2):
        asked = v2.withhold.apply_signing(
            plan_id=wechat.plan_id,
            contract_code=new_ref("B"),
            contract_display_account="138****0000",
            notify_url="http://127.0.0.1:9/nobody",
        )
        url = asked["base_url"].replace(wechat.secure_url, wechat.url)
        with requests.Session() as browser:
            page = browser.get(url, params=asked["data"], timeout=10)
            assert page.status_code == 200, page.text
            codes = {"plan_id": wechat.plan_id, "contract_code": asked["data"]["contract_code"]}
            assert v2.withhold.query_signing(**codes)["contract_state"] == "9"
            browser.post(page.url, data={"decision": "agree", "payer": POOR}, timeout=10)
        told = v2.withhold.query_signing(**codes)
        assert (told["contract_state"], told["openid"]) == ("0", POOR)
        assert v2.withhold.query_signing(contract_id=told["contract_id"])["openid"] == POOR
        v2.withhold.apply_cancel_signing(
            contract_id=told["contract_id"], contract_termination_remark="停机"
        )
        ended = v2.withhold.query_signing(**codes)
        assert (ended["contract_state"], ended["contract_termination_mode"]) == ("1", "3")

    def test_is_refused_a_page_with_one_field_changed(self, wechat, v2):
        asked = v2.withhold.apply_signing(
            plan_id=wechat.plan_id,
            contract_code=new_ref("B"),
            contract_display_account="138****0000",
            notify_url="http://127.0.0.1:9/nobody",
        )
        url = asked["base_url"].replace(wechat.secure_url, wechat.url)
        spoilt = asked["data"] | {"notify_url": "http://127.0.0.1:9/thief"}
        assert requests.get(url, params=spoilt, timeout=10).status_code == 400
        codes = {"plan_id": wechat.plan_id, "contract_code": asked["data"]["contract_code"]}
        with pytest.raises(WeChatPayException) as refusal:
            v2.withhold.query_signing(**codes)
        assert refusal.value.errcode == "CONTRACT_NOT_EXIST"

    def test_deducts_asks_closes_and_gives_back(self, wechat, v2):
        contract_id, number = wechat.agree(new_ref("B")), new_ref()
        v2.withhold.apply_deduct(
            "话费充值", 5000, contract_id, "http://127.0.0.1:9/nobody", out_trade_no=number
        )
        assert v2.withhold.query_order(out_trade_no=number)["trade_state"] == "SUCCESS"
        assert v2.order.query(out_trade_no=number)["total_fee"] == "5000"
        given = v2.refund.apply(5000, 2000, new_ref("F"), out_trade_no=number)
        told = v2.refund.query(out_refund_no=given["out_refund_no"])
        assert (told["refund_status_0"], told["refund_fee_0"]) == ("SUCCESS", "2000")
        waiting = new_ref()
        v2.withhold.apply_deduct(
            "话费充值", 100, old(wechat), "http://127.0.0.1:9/nobody", out_trade_no=waiting
        )
        v2.order.close(waiting)
        assert v2.order.query(out_trade_no=waiting)["trade_state"] == "CLOSED"
        with pytest.raises(WeChatPayException) as refusal:  # closed: its own query is blind
            v2.withhold.query_order(out_trade_no=waiting)
        assert refusal.value.errcode == "ORDERNOTEXIST"
        assert wechat.charges()[number] == 5000
        assert wechat.refunds()[given["out_refund_no"]] == 2000

    def test_accepts_the_answers_signatures_by_the_check_it_does_not_use(self, wechat, v2):
        answer = v2.withhold.query_signing(contract_id=wechat.agree(new_ref("B")))
        assert v2.check_signature(dict(answer)) is True
        assert v2.check_signature(dict(answer) | {"contract_state": "9"}) is False

    def test_of_another_key_is_refused(self, wechat, v2):
        contract_id = wechat.agree(new_ref("B"))
        v2.api_key = "0" * 32
        with pytest.raises(WeChatPayException) as refusal:
            v2.withhold.query_signing(contract_id=contract_id)
        assert (refusal.value.return_code, refusal.value.errmsg) == ("FAIL", None)

    def test_verifies_the_notification_of_a_deduction_and_no_other(self, wechat, v2, inbox):
        number = new_ref()
        wechat.fault("pappayapply", "notify_forged")
        v2.withhold.apply_deduct(
            "话费 & <充值>", 5000, wechat.agree(new_ref("B")), inbox.url, out_trade_no=number
        )
        genuine = [body for body in inbox.wait_for(2) if self.is_read(v2, body)]
        assert len(genuine) == 1
        told = v2.parse_payment_result(genuine[0])
        assert (told["out_trade_no"], told["total_fee"]) == (number, 5000)
        for spoilt in (
            genuine[0].replace(b"[5000]", b"[5001]", 1),
            genuine[0].replace(b"<fee_type>", b"<extra>1</extra><fee_type>"),
            genuine[0].replace(number.encode(), number[::-1].encode()),
        ):
            assert spoilt != genuine[0]
            assert not self.is_read(v2, spoilt)

    @staticmethod
    def is_read(v2, body):
        try:
            v2.parse_payment_result(body)
        except InvalidSignatureException:
            return False
        return True

    def test_verifies_the_notification_of_a_contract(self, wechat, v2, inbox):
        wechat.set(contract_notify_url=inbox.url)
        contract_id = wechat.agree(new_ref("B"), notify_url=inbox.url)
        wechat.revoke(contract_id)
        told = [v2.parse_payment_result(body) for body in inbox.wait_for(2)]
        assert {one["change_type"] for one in told} == {"ADD", "DELETE"}
        assert {one["contract_id"] for one in told} == {contract_id}

    def test_opens_the_sealed_notification_of_a_refund_and_no_other(self, wechat, v2, inbox):
        paid, number = Merchant(wechat).paid(wechat.agree(new_ref("B"))), new_ref("F")
        v2.refund.apply(5000, 1234, number, out_trade_no=paid, notify_url=inbox.url)
        (body,) = inbox.wait_for(1)
        assert number.encode() not in body
        told = v2.parse_refund_notify_result(body)
        assert (told["out_refund_no"], told["refund_fee"]) == (number, 1234)
        assert told["refund_status"] == "SUCCESS"
        sealed = fields_of(body)["req_info"].encode()
        with pytest.raises(ValueError, match=r".*"):
            v2.parse_refund_notify_result(body.replace(sealed, sealed[::-1]))

    def test_downloads_the_bill(self, wechat, v2):
        paid = Merchant(wechat).paid(wechat.agree(new_ref("B")))
        day = wechat.now()
        with pytest.raises(WeChatPayException) as refusal:
            v2.tools.download_bill(day)
        assert refusal.value.return_msg == "No Bill Exist"
        wechat.advance(2 * DAY_S)
        assert f"`{paid}," in v2.tools.download_bill(day)


class TestWechatpayv3:
    def test_announces_and_verifies_the_empty_answer(self, wechat):
        wechat.set(mode="notify")
        client, contract_id = v3_of(wechat), old(wechat)
        assert self.announce(client, wechat, contract_id) == (204, "")
        status, body = self.announce(client, wechat, contract_id)
        assert (status, json.loads(body)["code"]) == (400, "RESOURCE_ALREADY_EXISTS")
        (entry,) = [
            one for one in wechat.journal("announcement") if one["contract_id"] == contract_id
        ]
        assert entry["amount_minor"] == 5000

    def announce(self, client, wechat, contract_id):
        status, body = client._core.request(
            f"/v3/papay/contracts/{contract_id}/notify",
            method=RequestType.POST,
            data={
                "mchid": wechat.mch_id,
                "appid": wechat.app_id,
                "deduct_duration": {"count": 7, "unit": "DAY"},
                "estimated_amount": {"amount": 5000, "currency": "CNY"},
            },
        )
        return status, body or ""

    def test_refuses_an_answer_that_is_not_genuine(self, wechat):
        wechat.set(mode="notify")
        client = v3_of(wechat)
        wechat.fault("announce", "bad_signature")
        with pytest.raises(Exception, match="failed to verify the signature"):
            self.announce(client, wechat, old(wechat))
        wechat.fault("announce", "unsigned")
        with pytest.raises(Exception, match="does not support this algorithm"):
            self.announce(client, wechat, old(wechat))

    def test_of_another_key_is_refused(self, wechat):
        wechat.set(mode="notify")
        other = v3_of(wechat, private_key=wechat.key("platform_key.pem"))
        contract_id = old(wechat)
        status, body = self.announce(other, wechat, contract_id)
        assert (status, json.loads(body)["code"]) == (401, "SIGN_ERROR")
        told = {one["contract_id"] for one in wechat.journal("announcement")}
        assert contract_id not in told

    @pytest.mark.parametrize("by_certificate", [False, True])
    def test_verifies_and_opens_notifications(self, wechat, by_certificate):
        wechat.set(notifies_by_v3=True, signs_with_certificate=by_certificate)
        client = v3_of(wechat)
        if by_certificate:
            # It fetches and opens the platform's certificate by itself when it meets its serial.
            assert client._core._certificates == []
        with caught() as box:
            merchant, number = Merchant(wechat), new_ref()
            contract_id = wechat.agree(new_ref("B"), notify_url=box.url)
            merchant.paid(contract_id, out_trade_no=number, notify_url=box.url)
            merchant.refund(
                out_trade_no=number, total_fee="5000", refund_fee="1234", notify_url=box.url
            )
            told = {}
            for headers, body in box.wait_for(3):
                opened = client.callback(headers, body)
                told[opened["event_type"]] = opened["resource"]
        assert told["PAPAY.SIGN"]["contract_id"] == contract_id
        assert told["TRANSACTION.SUCCESS"]["out_trade_no"] == number
        assert told["TRANSACTION.SUCCESS"]["amount"]["total"] == 5000
        assert told["REFUND.SUCCESS"]["amount"]["refund"] == 1234

    def test_refuses_those_that_are_not_genuine(self, wechat):
        wechat.set(notifies_by_v3=True)
        client = v3_of(wechat)
        wechat.fault("sign", "notify_probe")
        with caught() as box:
            contract_id = wechat.agree(new_ref("B"), notify_url=box.url)
            sent = box.wait_for(2)
        (probe,) = [one for one in sent if "SIGNTEST" in one[0]["Wechatpay-Signature"]]
        (genuine,) = [one for one in sent if one is not probe]
        assert client.callback(*genuine)["resource"]["contract_id"] == contract_id
        assert not self.is_read(client, *probe)
        headers, body = genuine
        assert not self.is_read(client, headers, body.replace(b"PAPAY", b"PAPAX"))
        for name in ("Timestamp", "Nonce"):
            assert not self.is_read(client, headers | {f"Wechatpay-{name}": "1700000000"}, body)
        other = v3_of(wechat, public_key=wechat.key("platform_pub.pem"), apiv3_key="0" * 32)
        assert other.callback(headers, body) is None  # verified, and cannot be opened

    def is_read(self, client, headers, body):
        try:
            return client.callback(headers, body) is not None
        except ValueError:  # a probe's signature is not even Base64
            return False
