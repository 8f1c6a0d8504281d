"""Payment methods: signed elsewhere, believed only when the rail says so, removed with care."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from billing import gateways
from billing.gateways.base import (
    BindingAnswer,
    BindingFacts,
    BindingRequest,
    BindingStatus,
    SigningNotStarted,
    SigningPage,
    Unknown,
)
from billing.gateways.limits import TryLimit
from billing.models import Binding, Rule
from tests import world as w
from tests.factories.billing import BindingFactory, PaymentAttemptFactory, RechargeFactory
from tests.fakes import FakeGateway
from tests.portal import people


class SigningGateway(FakeGateway):
    """A rail that says of an agreement what the test tells it to."""

    says: BindingFacts | Unknown = Unknown("no answer")
    page = ""
    is_away = False

    def start_binding(self, *, request: BindingRequest) -> SigningPage:
        self.request = request
        if self.is_away:
            raise SigningNotStarted("no answer")
        return SigningPage(self.page or f"https://rail.example/sign?for={request.binding_ref}")

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        return BindingAnswer(outcome=self.says)

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        return BindingAnswer(outcome=BindingFacts(status=BindingStatus.REVOKED))


@pytest.fixture
def rail() -> Iterator[SigningGateway]:
    gateway = SigningGateway()
    with gateways.override("alipay", gateway):
        yield gateway


@pytest.fixture
def charlie(db):
    w.rail()
    return people.person("Charlie")


@pytest.fixture
def client(charlie, as_user):
    return as_user(charlie)


def bound(client) -> Binding:
    client.post("/payment/bind/", {"rail": "alipay"})
    return Binding.objects.get()


def page_of(binding: Binding) -> str:
    return reverse("portal:binding", args=[binding.ref])


class TestBinding:
    def test_goes_to_the_rails_own_page_and_comes_back_to_ours(self, client, rail):
        response = client.post("/payment/bind/", {"rail": "alipay"})
        binding = Binding.objects.get()
        assert response.headers["Location"] == f"https://rail.example/sign?for={binding.ref}"
        assert rail.request.return_url.endswith(f"/payment/{binding.ref}/")
        assert rail.request.notify_url.endswith("/hooks/alipay/notify")
        assert binding.state == "pending"

    def test_twice_makes_one_agreement(self, client, rail):
        for _press in range(2):
            client.post("/payment/bind/", {"rail": "alipay"})
        assert Binding.objects.count() == 1

    def test_of_a_rail_that_is_not_offered_is_not_there(self, client):
        assert client.post("/payment/bind/", {"rail": "barter"}).status_code == 404
        assert not Binding.objects.exists()

    def test_at_a_rail_that_does_not_answer_says_so_and_binds_nothing(self, client, rail):
        rail.is_away = True
        text = client.post("/payment/bind/", {"rail": "alipay"}, follow=True).content.decode()
        assert "Alipay does not answer. Nothing was bound; try again in a minute." in text
        assert Binding.objects.get().state == "pending"

    def test_may_lead_into_the_wallet_itself(self, client, rail):
        rail.page = "weixin://dl/business/?appid=wx1&path=sign"
        response = client.post("/payment/bind/", {"rail": "alipay"})
        assert (response.status_code, response.headers["Location"]) == (302, rail.page)

    def test_tells_the_rail_the_browsers_address_and_language(self, client, rail):
        client.post("/payment/bind/", {"rail": "alipay"})
        assert (rail.request.payer_ip, rail.request.language) == ("127.0.0.1", "en")

    def test_leaves_what_the_rail_added_on_the_way_back_off_the_address(self, client, charlie):
        waiting = BindingFactory.create(owner=charlie, pending=True, at=datetime.now(UTC))
        response = client.get(f"{page_of(waiting)}?agreement_no=2026&sign=kiwf2CRc")
        assert (response.status_code, response.headers["Location"]) == (302, page_of(waiting))

    def test_is_looked_at_when_wechat_pay_sends_the_payer_back_to_the_list(self, client, charlie):
        waiting = BindingFactory.create(
            owner=charlie, rail=w.rail("wechat"), pending=True, at=datetime.now(UTC)
        )
        response = client.get("/payment/?from_wxpay=1")
        assert response.headers["Location"] == page_of(waiting)
        Binding.objects.update(state="active")
        assert client.get("/payment/?from_wxpay=1").status_code == 200

    def test_that_the_rail_confirms_is_active_at_once(self, client, rail):
        binding = bound(client)
        rail.says = BindingFacts(
            status=BindingStatus.ACTIVE, provider_ref="20270101", label="li***@163.com"
        )
        text = client.get(page_of(binding)).content.decode()
        assert "Alipay is bound" in text
        assert "li***@163.com" in text
        assert 'http-equiv="refresh"' not in text

    def test_waits_by_itself_and_says_what_for_and_until_when(self, client, rail):
        text = client.get(page_of(bound(client))).content.decode()
        assert '<meta http-equiv="refresh" content="5">' in text
        assert "Waiting for Alipay to confirm" in text

    def test_stops_waiting_by_itself_after_a_while(self, client, rail):
        binding = bound(client)
        Binding.objects.update(created_at=datetime.now(UTC) - timedelta(minutes=11))
        text = client.get(page_of(binding)).content.decode()
        assert 'http-equiv="refresh"' not in text
        assert "Not signed yet" in text

    def test_does_not_believe_what_the_address_says(self, client, rail):
        binding = bound(client)
        text = client.get(page_of(binding) + "?is_success=T&status=NORMAL").content.decode()
        assert "is bound" not in text
        binding.refresh_from_db()
        assert binding.state == "pending"

    def test_asks_the_rail_no_more_often_than_is_decent(self, client, rail):
        binding = bound(client)
        client.get(page_of(binding))
        rail.says = BindingFacts(status=BindingStatus.ACTIVE, provider_ref="20270101")
        client.get(page_of(binding))
        binding.refresh_from_db()
        assert binding.state == "pending"


class TestTriesOfACard:
    """The schemes' budget, as its owner sees it."""

    @pytest.fixture
    def limited(self, rail):
        limits = (TryLimit(10, timedelta(days=1)), TryLimit(15, timedelta(days=30)))
        rail.capabilities = replace(rail.capabilities, tries=limits)
        return rail

    def test_are_shown_with_what_is_left_today_and_in_thirty_days(self, alice, as_user, limited):
        binding = alice.bindings.get()
        now = datetime.now(UTC)
        for days, count in ((3, 2), (0, 1)):
            at = now - timedelta(days=days, minutes=5)
            recharge = RechargeFactory.create(
                line=alice.lines.first(), binding=binding, failed=True, created_at=at
            )
            for number in range(1, count + 1):
                PaymentAttemptFactory.create(recharge=recharge, number=number, declined=True)
        text = as_user(alice).get(page_of(binding)).content.decode()
        assert "<dt>Tries left today</dt><dd>9 of 10</dd>" in text
        assert "<dt>Tries left in 30 days</dt><dd>12 of 15</dd>" in text

    def test_are_not_spoken_of_where_nobody_counts(self, alice, as_user, rail):
        text = as_user(alice).get(page_of(alice.bindings.get())).content.decode()
        assert "Tries left" not in text

    def test_are_not_spoken_of_for_a_method_that_has_ended(self, alice, as_user, limited):
        alice.bindings.update(state="revoked")
        text = as_user(alice).get(page_of(alice.bindings.get())).content.decode()
        assert "Tries left" not in text


class TestRemoving:
    def test_asks_what_becomes_of_the_plans(self, alice, as_user, rail):
        client, binding = as_user(alice), alice.bindings.get()
        target = reverse("portal:binding-remove", args=[binding.ref])
        text = client.post(target, {}).content.decode()
        assert "Choose what happens to these plans" in text
        binding.refresh_from_db()
        assert binding.state == "active"

    def test_pauses_them_and_ends_the_agreement(self, alice, as_user, rail):
        client, binding = as_user(alice), alice.bindings.get()
        target = reverse("portal:binding-remove", args=[binding.ref])
        client.post(target, {"what_of_rules": "pause"})
        binding.refresh_from_db()
        rule = Rule.objects.get()
        assert binding.state == "revoked"
        assert rule.paused_at is not None
        assert "Auto-recharge on" not in client.get("/").content.decode()

    def test_moves_them_to_another_of_ones_own(self, alice, as_user, rail):
        other = people.binding(
            alice, at=datetime.now(UTC), is_default=False, label="wa***@qq.com", fingerprint="x"
        )
        client, binding = as_user(alice), alice.bindings.get(is_default=True)
        target = reverse("portal:binding-remove", args=[binding.ref])
        client.post(target, {"what_of_rules": f"move_to:{other.ref}"})
        assert Rule.objects.get().binding == other

    def test_says_that_it_is_being_ended_while_the_rail_is_silent(self, alice, as_user, rail):
        binding = alice.bindings.get()
        binding.paused_at, binding.pause_reason = datetime.now(UTC), "ending"
        binding.save()
        text = as_user(alice).get(page_of(binding)).content.decode()
        assert "being ended" in text
        assert "Use it again" not in text
        assert 'class="button danger"' not in text

    def test_never_moves_them_to_a_strangers(self, alice, bob, as_user, rail):
        theirs = people.binding(bob, at=datetime.now(UTC))
        client, binding = as_user(alice), alice.bindings.get()
        target = reverse("portal:binding-remove", args=[binding.ref])
        page = client.post(target, {"what_of_rules": f"move_to:{theirs.ref}"})
        assert page.status_code == 200
        assert Rule.objects.get().binding == binding


class TestThePausedOne:
    def test_is_said_to_be_paused_and_is_used_again_by_its_owner(self, alice, as_user, rail):
        client, binding = as_user(alice), alice.bindings.get()
        binding.paused_at, binding.pause_reason = datetime.now(UTC), "breaker"
        binding.save()
        text = client.get(page_of(binding)).content.decode()
        assert "paused: needs you" in text
        assert "Other reason" not in text
        assert "is bound" not in text
        client.post(reverse("portal:binding-resume", args=[binding.ref]))
        binding.refresh_from_db()
        assert binding.paused_at is None
