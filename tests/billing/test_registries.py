"""Which rails and carriers there are: one that is set up wrongly stops itself alone."""

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from billing import gateways
from billing.gateways.alipay.adapter import AlipayGateway
from lines import carriers
from lines.carriers.tmf654 import Tmf654Carrier
from lines.models import Carrier
from tests.fakes import FakeGateway


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key):
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.fixture(scope="module")
def alipay():
    ours, theirs = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in "12")
    return {
        "ALIPAY_APP_ID": "2021000000000001",
        "ALIPAY_SELLER_ID": "2088000000000001",
        "ALIPAY_PRIVATE_KEY": private_pem(ours),
        "ALIPAY_PUBLIC_KEY": public_pem(theirs),
        "ALIPAY_GATEWAY_URL": "https://openapi.alipay.com/gateway.do",
        "ALIPAY_PRODUCT_CODE": "GENERAL_WITHHOLDING",
        "ALIPAY_PERSONAL_PRODUCT_CODE": "GENERAL_WITHHOLDING_P",
        "ALIPAY_SIGN_SCENE": "INDUSTRY|MOBILE",
        "ALIPAY_MAX_CHARGE_MINOR": "",
    }


class TestARail:
    def test_is_made_once_for_its_settings(self, settings, alipay):
        settings.RAILS, settings.RAILS_STOPPED = {"alipay": alipay}, {}
        gateway = gateways.get("alipay")
        assert isinstance(gateway, AlipayGateway)
        assert gateways.get("alipay") is gateway
        assert gateways.capabilities("alipay").rail == "alipay"
        assert gateways.available() == ["alipay"]
        settings.RAILS = {"alipay": alipay | {"ALIPAY_MAX_CHARGE_MINOR": "5000"}}
        assert gateways.capabilities("alipay").max_amount_minor == 5000

    @pytest.mark.parametrize("setting", ["ALIPAY_PRIVATE_KEY", "ALIPAY_PUBLIC_KEY"])
    def test_with_an_unreadable_key_stops_alone_and_names_the_setting(
        self, settings, alipay, setting
    ):
        settings.RAILS = {"alipay": alipay | {setting: "MIIsecret"}}
        settings.RAILS_STOPPED = {}
        with pytest.raises(gateways.RailNotConfigured) as refusal:
            gateways.get("alipay")
        assert setting in refusal.value.reason
        assert "MIIsecret" not in f"{refusal.value} {refusal.value.__cause__}"
        assert gateways.available() == []
        assert list(gateways.stopped()) == ["alipay"]
        with gateways.override("wechat", FakeGateway()):
            assert gateways.available() == ["wechat"]

    def test_that_settings_stopped_says_why(self, settings):
        settings.RAILS, settings.RAILS_STOPPED = {}, {"alipay": "ALIPAY_APP_ID must be set."}
        with pytest.raises(gateways.RailNotConfigured, match="ALIPAY_APP_ID must be set"):
            gateways.get("alipay")
        assert gateways.stopped() == {"alipay": "ALIPAY_APP_ID must be set."}

    def test_without_settings_is_not_offered(self, settings):
        settings.RAILS, settings.RAILS_STOPPED = {}, {}
        with pytest.raises(gateways.RailNotConfigured):
            gateways.get("alipay")
        assert (gateways.available(), gateways.stopped()) == ([], {})

    def test_of_a_name_nobody_knows_is_no_rail(self, settings):
        settings.RAILS, settings.RAILS_STOPPED = {"paypal": {"KEY": "x"}}, {}
        with pytest.raises(gateways.RailNotConfigured):
            gateways.get("paypal")

    def test_may_be_overridden_for_a_while(self, settings):
        settings.RAILS, settings.RAILS_STOPPED = {}, {"alipay": "stopped"}
        one, two = FakeGateway(), FakeGateway()
        with gateways.override("alipay", one):
            with gateways.override("alipay", two):
                assert gateways.get("alipay") is two
            assert gateways.get("alipay") is one
            assert (gateways.available(), gateways.stopped()) == (["alipay"], {})
        with pytest.raises(gateways.RailNotConfigured):
            gateways.get("alipay")

    def test_that_is_set_up_no_more_is_still_understood_where_it_told_of_a_dispute(self, settings):
        settings.RAILS, settings.RAILS_STOPPED = {}, {"stripe": "stopped"}
        said = "charge.dispute.closed:won"
        stands = [gateways.dispute_standing(rail, said) for rail in ("stripe", "alipay", "paypal")]
        assert stands == ["won", "open", "open"]

    def test_is_not_loaded_by_importing_the_settings_of_rails(self):
        """`portal.settings` imports it while there are no settings yet."""
        code = (
            "import sys, billing.gateways.configuration;"
            "assert 'billing.gateways.alipay.adapter' not in sys.modules;"
            "from django.conf import settings; assert not settings.configured"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestACarrier:
    @pytest.fixture
    def row(self, settings):
        settings.CARRIER_TOKENS = {"cmcc": "token"}
        settings.CARRIER_HUB_SECRET = "one,two"
        return Carrier(
            code="cmcc", currency="CNY", base_url="http://127.0.0.1:8149", timezone="Asia/Shanghai"
        )

    def test_has_one_adapter_for_the_values_of_its_row(self, row):
        adapter = carriers.adapter_for(row)
        assert isinstance(adapter, Tmf654Carrier)
        assert carriers.adapter_for(row) is adapter
        assert adapter.can_query_by_reference
        row.can_query_by_reference = False
        changed = carriers.adapter_for(row)
        assert changed is not adapter
        assert not changed.can_query_by_reference

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"adapter": "carrier-pigeon"}, "there is no adapter"),
            ({"base_url": ""}, "address of its API"),
            ({"timezone": "Mars/Olympus"}, "time zone"),
            ({"code": "cucc"}, "CARRIER_TOKENS"),
        ],
    )
    def test_that_is_set_up_wrongly_says_how(self, row, change, said):
        for name, value in change.items():
            setattr(row, name, value)
        with pytest.raises(carriers.CarrierNotConfigured, match=said) as refusal:
            carriers.adapter_for(row)
        assert "token" not in str(refusal.value).replace("has no token", "")
