"""The notifications the simulator sends, read as those signed by hand are."""

import pytest

from billing.gateways.base import BadNotification
from tests.rails.contract import new_ref
from tests.rails.simulators import Inbox
from tests.rails.wechat_notifications import read
from tests.rails.wechat_simulator import POOR
from tests.rails.wechat_world import (
    APPLY,
    OK,
    charge_of,
    gateway_of,
    refund_of,
    wechat_in,
)


@pytest.mark.processes
class TestWhatTheSimulatorSends:
    """The same kinds, made by code that shares nothing with this."""

    @pytest.fixture(scope="class")
    @classmethod
    def process(cls, tmp_path_factory):
        with wechat_in(tmp_path_factory.mktemp("wechat"), "none") as simulator:
            yield simulator

    @pytest.fixture
    def inbox(self):
        box = Inbox(answer=OK)
        yield box
        box.close()

    @pytest.fixture
    def wechat(self, process, inbox):
        process.calm()
        process.set(
            contract_notify_url=inbox.url,
            refund_notify_url=inbox.url,
            notifies_by_v3=False,
            odd_failures=False,
        )
        return process

    def read_all(self, wechat, inbox, count):
        inbox.wait_for(count)
        gateway = gateway_of(wechat, WECHAT_NOTICE_MODE="none")
        messages = zip(inbox.headers, inbox.received, strict=True)
        return [read(gateway, message, at=wechat.now())[0] for message in messages]

    @pytest.mark.parametrize("by_v3", [False, True])
    def test_is_read_over_either_protocol(self, wechat, inbox, by_v3):
        wechat.set(notifies_by_v3=by_v3)
        gateway = gateway_of(wechat, WECHAT_NOTICE_MODE="none")
        binding_ref = new_ref("B")
        contract = wechat.agree(binding_ref, notify_url=inbox.url)
        inbox.wait_for(1)
        charge = charge_of(contract, notify_url=inbox.url)
        gateway.charge(request=charge)
        inbox.wait_for(2)
        refund = refund_of(charge, 1200)
        gateway.refund(request=refund)
        wechat.advance(5)
        inbox.wait_for(3)
        gateway.revoke_binding(binding_ref="", provider_ref=contract)
        signed, paid, given_back, ended = self.read_all(wechat, inbox, 4)
        kinds = [note.kind.value for note in (signed, paid, given_back, ended)]
        assert kinds == ["binding", "charge", "refund", "binding"]
        assert (signed.our_ref, signed.provider_ref, signed.claims) == (
            binding_ref,
            contract,
            "ADD",
        )
        assert (ended.our_ref, ended.claims) == (binding_ref, "DELETE")
        assert (paid.our_ref, paid.amount_minor, paid.claims) == (charge.reference, 5000, "SUCCESS")
        assert (given_back.refund_ref, given_back.amount_minor) == (refund.refund_ref, 1200)
        assert len({note.dedupe_id for note in (signed, paid, given_back, ended)}) == 4

    @pytest.mark.parametrize(("odd", "claims"), [(False, "CLOSED"), (True, "")])
    def test_of_a_failed_charge_is_read_in_either_wording(self, wechat, inbox, odd, claims):
        wechat.set(odd_failures=odd)
        request = charge_of(wechat.agree(new_ref("B"), payer=POOR), notify_url=inbox.url)
        gateway_of(wechat, WECHAT_NOTICE_MODE="none").charge(request=request)
        (note,) = self.read_all(wechat, inbox, 1)
        assert (note.our_ref, note.claims) == (request.reference, claims)

    def test_twice_or_before_the_answer_is_the_same_news(self, wechat, inbox):
        for kind in ("notify_duplicate", "notify_before_answer"):
            wechat.fault(APPLY, kind, copies=3)
        request = charge_of(wechat.agree(new_ref("B")), notify_url=inbox.url)
        gateway_of(wechat, WECHAT_NOTICE_MODE="none").charge(request=request)
        notes = self.read_all(wechat, inbox, 4)
        assert {note.our_ref for note in notes} == {request.reference}
        assert len({note.dedupe_id for note in notes}) == 1

    @pytest.mark.parametrize(
        ("kind", "by_v3"),
        [("notify_forged", False), ("notify_probe", False), ("notify_probe", True)],
    )
    def test_its_own_forgery_is_refused_and_the_true_one_after_it_read(
        self, wechat, inbox, kind, by_v3
    ):
        wechat.set(notifies_by_v3=by_v3)
        wechat.fault(APPLY, kind)
        request = charge_of(wechat.agree(new_ref("B")), notify_url=inbox.url)
        gateway = gateway_of(wechat, WECHAT_NOTICE_MODE="none")
        gateway.charge(request=request)
        inbox.wait_for(2)
        outcomes = []
        for message in zip(inbox.headers, inbox.received, strict=True):
            try:
                outcomes.append(read(gateway, message, at=wechat.now())[0].amount_minor)
            except BadNotification:
                outcomes.append(None)
        assert sorted(outcomes, key=str) == [5000, None]
