"""Recharges, payment methods and notices over the API."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from billing.gateways.base import BindingFacts, BindingStatus
from billing.gateways.limits import TryLimit
from billing.models import Binding, Recharge
from tests import world
from tests.api.callers import Caller
from tests.api.conftest import Belongings
from tests.api.test_matrix import by_hand
from tests.factories.billing import PaymentAttemptFactory, SpendingCapFactory
from tests.fakes import FakeGateway


class TestByHand:
    def test_opens_a_recharge_and_nudges_the_executor(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        OrmQ.objects.all().delete()
        shown = as_alice.post("recharges", by_hand(alice)).json()
        made = Recharge.objects.get(ref=shown["id"])
        assert (made.face_minor, made.trigger, made.state) == (5000, "manual", "due")
        assert (shown["price_minor"], shown["currency"]) == (5000, "CNY")
        assert [q.func() for q in OrmQ.objects.all()] == ["billing.tasks.tick"]
        world.assert_balanced()

    @pytest.mark.parametrize(
        ("more", "status", "code", "field"),
        [
            ({"face_minor": 1234}, 400, "not_sold", "face_minor"),
            ({"face_minor": 0}, 400, "invalid", "face_minor"),
            ({"face_minor": -5000}, 400, "invalid", "face_minor"),
            ({"face_minor": 50.0}, 400, "invalid", "face_minor"),
            ({"currency": "EUR"}, 400, "invalid", "currency"),
            ({"line": "nothing"}, 400, "invalid", "line"),
            ({"binding": "nothing"}, 400, "invalid", "binding"),
            ({"line": "\u0000"}, 400, "invalid", "line"),
        ],
    )
    def test_refuses_what_will_not_do_at_its_field(
        self,
        more: Any,
        status: int,
        code: str,
        field: str,
        as_alice: Caller,
        alice: Belongings,
    ) -> None:
        answer = as_alice.post("recharges", by_hand(alice) | more)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert list(answer.json()["errors"]) == [field]
        assert not alice.line.recharges.exists()

    def test_refuses_what_cannot_be_now(self, as_alice: Caller, alice: Belongings) -> None:
        Binding.objects.filter(pk=alice.binding.pk).update(paused_at=world.NOON)
        paused = as_alice.post("recharges", by_hand(alice))
        assert (paused.status_code, paused.json()["code"]) == (409, "binding_not_usable")
        Binding.objects.update(paused_at=None)
        unproven = as_alice.post("recharges", by_hand(alice) | {"line": alice.unproven.public_id})
        assert (unproven.status_code, unproven.json()["code"]) == (409, "line_not_live")
        SpendingCapFactory.create(owner=alice.owner, max_per_month_minor=1)
        capped = as_alice.post("recharges", by_hand(alice))
        assert (capped.status_code, capped.json()["code"]) == (409, "cap_reached")
        assert Recharge.objects.count() == 1  # the one she had

    def test_is_canceled_before_it_is_sent_and_not_after(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        first, second = by_hand(alice), by_hand(alice) | {"face_minor": 10000}
        ref = as_alice.post("recharges", first).json()["id"]
        gone = as_alice.post(f"recharges/{ref}/cancel").json()
        assert (gone["state"], gone["reason"]) == ("canceled", "canceled_by_owner")
        assert gone["timeline"][-1]["by"] == "owner"

        ref = as_alice.post("recharges", second).json()["id"]
        Recharge.objects.filter(ref=ref).update(state="charging")
        late = as_alice.post(f"recharges/{ref}/cancel")
        assert (late.status_code, late.json()["code"]) == (409, "too_late")
        assert Recharge.objects.get(ref=ref).state == "charging"


class TestStory:
    def test_tells_every_move_in_words_with_its_payment_and_delivery(
        self, world: Any, as_alice: Caller, alice: Belongings
    ) -> None:
        world.run()
        shown = as_alice.get(f"recharges/{alice.recharge.ref}", Accept_Language="en").json()
        assert shown["state"] == "completed"
        targets = [move["target"] for move in shown["timeline"]]
        assert targets == ["due", "charging", "delivering", "completed"]
        assert all(move["title"] and move["sentence"] for move in shown["timeline"])
        assert {move["by"] for move in shown["timeline"]} == {"owner", "system"}
        [payment], [delivery] = shown["payments"], shown["deliveries"]
        assert (payment["state"], payment["amount_minor"]) == ("succeeded", 5000)
        assert (delivery["state"], delivery["credited_minor"]) == ("credited", 5000)
        assert shown["refunds"] == []

    def test_is_found_by_its_filters(self, as_alice: Caller, alice: Belongings) -> None:
        def refs(query: str) -> list[str]:
            return [row["id"] for row in as_alice.get(f"recharges?{query}").json()["results"]]

        mine = [alice.recharge.ref]
        assert refs("") == refs("state=due") == refs("is_open=true") == mine
        assert refs(f"line={alice.esim.public_id}&trigger=manual") == mine
        assert refs("created_from=2026-11-22T04:00:00Z") == mine
        for none in ("state=failed", "is_open=false", f"line={alice.line.public_id}"):
            assert refs(none) == []
        assert refs("created_before=2026-11-22T04:00:00Z") == []


class TestBinding:
    def test_begins_with_the_rails_own_page(self, as_alice: Caller, alice: Belongings) -> None:
        shown = as_alice.post("bindings", {"rail": "alipay"}).json()
        ref = shown["binding"]["id"]
        assert shown["url"] == f"http://rail.invalid/sign?ref={ref}"
        assert Binding.objects.get(ref=ref).state == "pending"

    @pytest.mark.parametrize("rail", ["nobody", "", "alipay "])
    def test_of_a_rail_that_is_not_offered_is_refused(
        self, rail: str, as_alice: Caller, alice: Belongings
    ) -> None:
        world.rail("alipay", is_enabled=rail != "alipay ")
        answer = as_alice.post("bindings", {"rail": rail})
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == ["rail"]
        assert not Binding.objects.filter(state="pending").exists()

    def test_is_asked_about_at_the_rail(
        self, as_alice: Caller, alice: Belongings, gateway: FakeGateway
    ) -> None:
        ref = as_alice.post("bindings", {"rail": "alipay"}).json()["binding"]["id"]
        gateway.bindings[ref] = BindingFacts(BindingStatus.ACTIVE, "2088", label="al***@163.com")
        shown = as_alice.post(f"bindings/{ref}/refresh").json()
        assert (shown["state"], shown["label"]) == ("active", "al***@163.com")
        assert "2088" not in str(shown)

    def test_that_cannot_be_used_does_not_become_the_first(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        ref = as_alice.post("bindings", {"rail": "alipay"}).json()["binding"]["id"]
        answer = as_alice.post(f"bindings/{ref}/default")
        assert (answer.status_code, answer.json()["code"]) == (409, "binding_not_usable")

    def test_says_how_often_its_scheme_lets_it_be_refused_yet(
        self, as_alice: Caller, alice: Belongings, gateway: FakeGateway
    ) -> None:
        limits = (TryLimit(10, timedelta(days=1)), TryLimit(15, timedelta(days=30)))
        gateway.capabilities = replace(gateway.capabilities, tries=limits)
        for at, number in ((timedelta(days=3), 8), (timedelta(minutes=1), 9)):
            PaymentAttemptFactory.create(
                recharge=alice.recharge,
                number=number,
                declined=True,
                created_at=timezone.now() - at,
            )
        said = [
            {"within_days": 1, "limit_count": 10, "left_count": 9},
            {"within_days": 30, "limit_count": 15, "left_count": 13},
        ]
        assert as_alice.get(f"bindings/{alice.binding.ref}").json()["tries"] == said
        assert as_alice.get("bindings").json()["results"][0]["tries"] == said
        Binding.objects.update(state="revoked")
        assert as_alice.get(f"bindings/{alice.binding.ref}").json()["tries"] == []

    def test_of_a_rail_that_counts_no_tries_says_none(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        assert as_alice.get(f"bindings/{alice.binding.ref}").json()["tries"] == []

    def test_ends_and_pauses_its_rules(self, as_alice: Caller, alice: Belongings) -> None:
        shown = as_alice.post(f"bindings/{alice.binding.ref}/end", {}).json()
        assert (shown["state"], shown["is_usable"]) == ("revoked", False)
        alice.rule.refresh_from_db()
        assert (alice.rule.is_on, alice.rule.pause_reason) == (True, "binding_ended")

    def test_ends_and_hands_its_rules_to_another(self, as_alice: Caller, alice: Belongings) -> None:
        other = world.binding(alice.owner)
        path = f"bindings/{alice.binding.ref}/end"
        assert as_alice.post(path, {"move_rules_to": other.ref}).status_code == 200
        alice.rule.refresh_from_db()
        assert (alice.rule.binding, alice.rule.paused_at) == (other, None)

    def test_of_a_rail_that_is_not_set_up_is_not_available(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        world.rail("gone")
        tool = world.binding(alice.owner, rail_id="gone", rail=world.rail("gone"))
        answer = as_alice.post(f"bindings/{tool.ref}/refresh")
        assert (answer.status_code, answer.json()["code"]) == (503, "rail_not_available")


class TestNotice:
    def test_is_read_in_the_readers_words_and_marked_once(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        [shown] = as_alice.get("notices?is_read=false", Accept_Language="en").json()["results"]
        assert shown["kind"] == "low_balance"
        assert "¥9" in shown["title"] + shown["body"]
        path = f"notices/{alice.notice.pk}/read"
        first, again = as_alice.post(path).json(), as_alice.post(path).json()
        assert first["read_at"] == again["read_at"] is not None
        assert as_alice.get("notices?is_read=false").json()["results"] == []
