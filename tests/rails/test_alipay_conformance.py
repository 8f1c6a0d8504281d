"""Somebody else's client as judge: python-alipay-sdk, unmodified, against simulator and adapter.

Adapter and simulator are written by one hand. That they agree proves little; that a third party's
code agrees with both, in requests, answers and notifications, proves more.
"""

import json
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from alipay import AliPay
from alipay.exceptions import AliPayException, AliPayValidationError

from billing.gateways.base import BadNotification, BindingRequest, NotificationKind, Succeeded
from tests.rails.alipay_world import PAY, charge_of, gateway_of, refund_of, today_of
from tests.rails.contract import new_ref
from tests.rails.simulators import new_keys

pytestmark = pytest.mark.processes


def sdk_of(alipay, *, private=None, public=None):
    client = AliPay(
        appid=alipay.app_id,
        app_private_key_string=private or alipay.merchant.private,
        alipay_public_key_string=public or alipay.alipay.public,
        sign_type="RSA2",
    )
    client._gateway = f"{alipay.url}/gateway.do"  # it has no setting for another host
    return client


@pytest.fixture
def sdk(alipay):
    return sdk_of(alipay)


@pytest.fixture
def agreement(alipay):
    return alipay.agree(new_ref("B"))


def deduct(sdk, agreement, **more):
    content = {
        "out_trade_no": new_ref(),
        "total_amount": "50.00",
        "subject": "话费充值 {a}",  # braces, for whoever counts them
        "product_code": "GENERAL_WITHHOLDING",
        "agreement_params": {"agreement_no": agreement},
    }
    notify_url = more.pop("notify_url", None)
    content |= more
    return content, sdk.server_api(PAY, biz_content=content, notify_url=notify_url)


class TestTheSdkAgainstTheSimulator:
    def test_its_signed_deduction_is_accepted_and_the_answer_verifies(self, alipay, sdk, agreement):
        content, answer = deduct(sdk, agreement)
        assert answer["code"] == "10000"
        assert answer["total_amount"] == "50.00"
        assert alipay.charges()[content["out_trade_no"]] == 5000

    def test_the_whole_life_of_a_trade_goes_through_it(self, sdk, agreement):
        content, _ = deduct(sdk, agreement)
        number = content["out_trade_no"]
        asked = sdk.api_alipay_trade_query(out_trade_no=number)
        assert asked["trade_status"] == "TRADE_SUCCESS"
        given_back = sdk.api_alipay_trade_refund(
            refund_amount="20.00", out_trade_no=number, out_request_no="F1" + number
        )
        assert (given_back["fund_change"], given_back["refund_fee"]) == ("Y", "20.00")
        found = sdk.api_alipay_trade_fastpay_refund_query(
            out_request_no="F1" + number, out_trade_no=number
        )
        assert (found["refund_status"], found["refund_amount"]) == ("REFUND_SUCCESS", "20.00")
        canceled = sdk.api_alipay_trade_cancel(out_trade_no=number)
        assert canceled["action"] == "refund"

    def test_a_business_refusal_verifies_too(self, sdk, agreement):
        content, _ = deduct(sdk, agreement)
        repeat = sdk.server_api(PAY, biz_content=content)
        assert repeat["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"

    def test_agreements_are_asked_and_ended_through_it(self, sdk, agreement):
        asked = sdk.server_api(
            "alipay.user.agreement.query", biz_content={"agreement_no": agreement}
        )
        assert asked["status"] == "NORMAL"
        ended = sdk.server_api(
            "alipay.user.agreement.unsign", biz_content={"agreement_no": agreement}
        )
        assert ended["code"] == "10000"

    def test_a_bill_is_found_through_it(self, own_alipay):
        sdk = sdk_of(own_alipay)
        deduct(sdk, own_alipay.agree(new_ref("B")))
        day = today_of(own_alipay)
        own_alipay.advance(2 * 24 * 3600)
        answer = sdk.server_api(
            "alipay.data.dataservice.bill.downloadurl.query",
            biz_content={"bill_type": "trade", "bill_date": day.isoformat()},
        )
        assert requests.get(answer["bill_download_url"], timeout=10).content[:2] == b"PK"

    def test_its_signing_page_opens(self, alipay, sdk):
        query = sdk.client_api(
            "alipay.user.agreement.page.sign",
            biz_content={
                "external_agreement_no": new_ref("B"),
                "product_code": "GENERAL_WITHHOLDING",
                "personal_product_code": "GENERAL_WITHHOLDING_P",
                "sign_scene": "INDUSTRY|MOBILE",
                "access_params": {"channel": "ALIPAYAPP"},
            },
            return_url="http://127.0.0.1:9/back",
        )
        page = requests.get(f"{alipay.url}/gateway.do?{query}", timeout=10)
        assert page.status_code == 200
        assert "同意协议并签约" in page.text

    def test_another_merchants_key_is_refused(self, alipay, agreement):
        stranger = sdk_of(alipay, private=new_keys().private)
        content, answer = deduct(stranger, agreement)
        assert (answer["code"], answer["sub_code"]) == ("40002", "isv.invalid-signature")
        assert content["out_trade_no"] not in alipay.charges()

    def test_it_refuses_a_spoilt_answer_and_an_unsigned_one(self, alipay, sdk, agreement):
        alipay.fault(PAY, "bad_signature")
        with pytest.raises(AliPayValidationError):
            deduct(sdk, agreement)
        alipay.fault(PAY, "unsigned_error")
        with pytest.raises(AliPayException):
            deduct(sdk, agreement)


class TestTheSdkOnTheSimulatorsNotifications:
    def notified(self, sdk, agreement, inbox):
        deduct(sdk, agreement, notify_url=inbox.url)
        fields = dict(parse_qsl(inbox.wait_for(1)[0].decode(), keep_blank_values=True))
        return fields, fields.pop("sign")

    def test_a_genuine_one_verifies_and_a_tampered_one_does_not(self, sdk, agreement, inbox):
        fields, signature = self.notified(sdk, agreement, inbox)
        assert sdk.verify(dict(fields), signature) is True
        assert sdk.verify(fields | {"total_amount": "50.01"}, signature) is False

    def test_the_older_signing_with_sign_type_is_refused_by_it_and_accepted_by_us(
        self, alipay, sdk, agreement, inbox
    ):
        alipay.set(signs_with_type=True)
        fields, signature = self.notified(sdk, agreement, inbox)
        assert sdk.verify(dict(fields), signature) is False
        gateway_of(alipay).parse_notification(
            headers={}, body=inbox.received[0], query={}, at=datetime.now(UTC)
        )

    def test_what_comes_back_with_the_browser_verifies_too(self, alipay, sdk):
        alipay.set(auto_agree=True)
        request = BindingRequest(new_ref("B"), "http://127.0.0.1:9/back", "")
        url = gateway_of(alipay).start_binding(request=request).url
        answer = requests.get(url, allow_redirects=False, timeout=10)
        fields = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
        signature = fields.pop("sign")
        assert sdk.verify(fields, signature) is True


class TestTheSdkAgainstTheAdapter:
    """The SDK in Alipay's place: what it signs we accept, what we sign it accepts."""

    @pytest.fixture
    def as_alipay(self, alipay):
        return sdk_of(alipay, private=alipay.alipay.private, public=alipay.merchant.public)

    def test_our_signed_url_verifies_with_its_code(self, alipay, as_alipay):
        request = BindingRequest(new_ref("B"), "http://127.0.0.1:9/b?x=1&y=二", "", "138****0000")
        url = gateway_of(alipay).start_binding(request=request).url
        params = dict(parse_qsl(urlsplit(url).query))
        signature = params.pop("sign")
        text = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
        assert as_alipay._verify(text, signature) is True
        assert as_alipay._verify(text + " ", signature) is False

    def test_a_notification_signed_by_its_code_is_read_by_us(self, alipay, as_alipay):
        fields = {
            "notify_time": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            "notify_type": "trade_status_sync",
            "notify_id": "2026112200222",
            "app_id": alipay.app_id,
            "seller_id": alipay.seller_id,
            "charset": "utf-8",
            "version": "1.0",
            "out_trade_no": "R1",
            "trade_no": "2026112222001",
            "trade_status": "TRADE_SUCCESS",
            "total_amount": "50.00",
            "subject": "话费充值 & 赠送",
            "body": "",  # empty, and signed all the same
        }
        text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
        signed = fields | {"sign": as_alipay._sign(text), "sign_type": "RSA2"}
        gateway = gateway_of(alipay)
        notification, _ = gateway.parse_notification(
            headers={}, body=urlencode(signed).encode(), query={}, at=datetime.now(UTC)
        )
        assert notification.kind is NotificationKind.CHARGE
        assert (notification.our_ref, notification.amount_minor) == ("R1", 5000)
        with pytest.raises(BadNotification):
            gateway.parse_notification(
                headers={},
                body=urlencode(signed | {"body": "x"}).encode(),
                query={},
                at=datetime.now(UTC),
            )

    def test_both_clients_see_one_trade_the_same_way(self, alipay, sdk, agreement):
        gateway, request = gateway_of(alipay), charge_of(agreement)
        assert isinstance(gateway.charge(request=request).outcome, Succeeded)
        gateway.refund(request=refund_of(request, 700))
        theirs = sdk.api_alipay_trade_query(out_trade_no=request.reference)
        ours = gateway.query(reference=request.reference)
        assert isinstance(ours.outcome, Succeeded)
        assert ours.outcome.provider_ref == theirs["trade_no"]
        assert json.loads(ours.exchanges[0].response)["send_pay_date"] == theirs["send_pay_date"]
