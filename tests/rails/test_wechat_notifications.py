"""Genuine notifications over v2 and v3: each says what it says, and no more."""

from datetime import timedelta

import pytest

from billing.gateways.base import Acknowledgement, BadNotification, NotificationKind
from billing.gateways.wechat.adapter import WechatGateway
from tests.rails.wechat_notifications import (
    CHARGE,
    CONTRACT,
    ENDED,
    FAILED,
    GENUINE,
    NOW,
    REFUND,
    REFUSED_V3,
    V3_CHARGE,
    V3_CONTRACT,
    V3_REFUND,
    gateway,
    read,
    v2,
    v2_refund,
    v3,
)
from tests.rails.wechat_simulator import RICH
from tests.rails.wechat_world import (
    OK,
    offline_settings,
)

__all__ = ["gateway"]


class TestGenuineOnesOverV2:
    @pytest.mark.parametrize("kind", ["MD5", "HMAC"])
    def test_a_paid_charge_names_reference_amount_and_state(self, gateway, kind):
        note, said = read(gateway, v2(CHARGE, kind=kind))
        assert note.kind is NotificationKind.CHARGE
        assert (note.our_ref, note.provider_ref) == ("R0001", CHARGE["transaction_id"])
        assert (note.amount_minor, note.currency, note.claims) == (5000, "CNY", "SUCCESS")
        assert said == Acknowledgement(OK, "text/xml", 200)

    def test_a_field_that_nobody_here_knows_is_part_of_what_is_signed(self, gateway):
        note, _ = read(gateway, v2(CHARGE | {"brand_new": "值 &<"}))
        assert note.our_ref == "R0001"

    def test_a_failed_charge_claims_its_code_and_no_amount(self, gateway):
        note, _ = read(gateway, v2(FAILED))
        assert (note.our_ref, note.claims, note.amount_minor) == ("R0002", "NOTENOUGH", None)

    def test_the_vendors_odd_failure_that_says_success_claims_nothing(self, gateway):
        odd = {name: FAILED[name] for name in FAILED if name != "err_code"}
        note, _ = read(gateway, v2(odd | {"result_code": "SUCCESS"}))
        assert (note.our_ref, note.claims, note.provider_ref) == ("R0002", "", "")

    @pytest.mark.parametrize(("fields", "claims"), [(CONTRACT, "ADD"), (ENDED, "DELETE")])
    def test_both_ends_of_a_contract_are_told(self, gateway, fields, claims):
        note, _ = read(gateway, v2(fields))
        assert note.kind is NotificationKind.BINDING
        assert (note.our_ref, note.provider_ref) == ("B0001", CONTRACT["contract_id"])
        assert note.claims == claims

    def test_a_refund_is_opened_and_names_itself_and_its_own_amount(self, gateway):
        note, said = read(gateway, v2_refund(REFUND))
        assert note.kind is NotificationKind.REFUND
        assert (note.our_ref, note.refund_ref, note.amount_minor) == ("R0001", "F0001", 1200)
        assert note.claims == "SUCCESS"
        assert said.body == OK

    def test_a_repeat_signed_anew_has_the_same_id_and_every_other_one_its_own(self, gateway):
        again = v2(CHARGE | {"nonce_str": "another", "sign_type": "HMAC-SHA256"}, kind="HMAC")
        assert read(gateway, again)[0].dedupe_id == read(gateway, v2(CHARGE))[0].dedupe_id
        assert len({read(gateway, one)[0].dedupe_id for one in GENUINE}) == len(GENUINE)

    def test_what_is_kept_of_it_names_no_payer_and_no_token(self, gateway):
        kept = "".join(read(gateway, one)[0].body_masked for one in GENUINE)
        assert RICH not in kept
        assert CONTRACT["contract_id"] not in kept
        assert "招商银行" not in kept
        assert CHARGE["transaction_id"] in kept

    def test_one_of_a_day_ago_is_good_and_an_older_one_is_not(self, gateway):
        for message in (v2(CHARGE), v2(CONTRACT), v2_refund(REFUND)):
            read(gateway, message, at=NOW + timedelta(hours=25))
            with pytest.raises(BadNotification, match="too old"):
                read(gateway, message, at=NOW + timedelta(hours=27))


class TestGenuineOnesOverV3:
    def test_a_charge(self, gateway):
        note, said = read(gateway, v3("TRANSACTION.SUCCESS", V3_CHARGE))
        assert (note.kind, note.our_ref) == (NotificationKind.CHARGE, "R0003")
        assert (note.amount_minor, note.claims) == (5000, "SUCCESS")
        assert note.dedupe_id == "EV-TRANSACTION.SUCCESS"
        assert said == Acknowledgement("", "application/json", 204)

    def test_a_refund(self, gateway):
        note, _ = read(gateway, v3("REFUND.SUCCESS", V3_REFUND))
        assert (note.kind, note.refund_ref) == (NotificationKind.REFUND, "F0003")
        assert note.amount_minor == 700

    def test_a_contract(self, gateway):
        note, _ = read(gateway, v3("ENTRUST.SIGN", V3_CONTRACT))
        assert (note.kind, note.our_ref) == (NotificationKind.BINDING, "B0003")
        assert (note.provider_ref, note.claims) == ("123124412412423431", "SIGNED")

    def test_header_names_are_read_in_any_case(self, gateway):
        headers, body = v3("ENTRUST.SIGN", V3_CONTRACT)
        for spelt in (str.lower, str.upper):
            read(gateway, ({spelt(name): value for name, value in headers.items()}, body))

    @pytest.mark.parametrize("minutes", [-4, 4])
    def test_a_clock_a_little_off_does_no_harm(self, gateway, minutes):
        message = v3("ENTRUST.SIGN", V3_CONTRACT)
        read(gateway, message, at=NOW + timedelta(minutes=minutes))

    @pytest.mark.parametrize("minutes", [-6, 6])
    def test_one_of_another_time_is_refused(self, gateway, minutes):
        with pytest.raises(BadNotification, match="not of now"):
            read(gateway, v3("ENTRUST.SIGN", V3_CONTRACT), at=NOW + timedelta(minutes=minutes))

    def test_a_probe_is_refused_even_where_the_rest_of_it_would_verify(self, gateway):
        headers, body = v3("ENTRUST.SIGN", V3_CONTRACT)
        probe = headers | {
            "Wechatpay-Signature": "WECHATPAY/SIGNTEST/" + headers["Wechatpay-Signature"]
        }
        with pytest.raises(BadNotification, match="probe") as refusal:
            read(gateway, (probe, body))
        assert refusal.value.acknowledgement == REFUSED_V3

    def test_without_the_keys_of_v3_none_is_believed(self):
        bare = offline_settings(WECHAT_API_V3_KEY="")
        gateway = WechatGateway.from_settings(bare, timeout_s=10)
        with pytest.raises(BadNotification, match="keys of v3"):
            read(gateway, v3("ENTRUST.SIGN", V3_CONTRACT))

    def test_a_genuine_one_of_v2_under_v3s_headers_is_not_read_as_v2(self, gateway):
        _, body = v2(CHARGE)
        with pytest.raises(BadNotification):
            read(gateway, ({"Wechatpay-Serial": "x"}, body))
