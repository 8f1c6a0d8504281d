"""Caps that several lines share: counted by one at a time, and waited for in one order."""

from concurrent.futures import Future
from datetime import date
from typing import Any

import pytest
from django.db import transaction

from billing.gateways.base import Capabilities
from billing.models import Binding, Decision, Recharge, Rule, SpendingCap
from billing.rules import by_hand, openings
from billing.rules import caps as spending_caps
from tests import world as w
from tests.factories.billing import PromotionFactory, SpendingCapFactory
from tests.race import behind, is_free, read_as_it_lies

NOVEMBER = date(2026, 11, 1)
ALIPAY = {"alipay": Capabilities(rail="alipay", currencies=frozenset({"CNY"}))}


def press(rule: Rule) -> Recharge:
    return by_hand.recharge(
        line=rule.line,
        binding=rule.binding,
        face_minor=5000,
        owner=rule.line.owner,
        idempotency_key=str(rule.pk),
        at=w.NOON,
    )


def open_due() -> int:
    return openings.open_due(at=w.NOON, limit=1, capabilities=ALIPAY)


def opened() -> list[int]:
    return list(Recharge.objects.order_by("pk").values_list("price_minor", flat=True))


@pytest.mark.django_db
class TestABatch:
    """What it opens for one line counts against the next, where they share a cap."""

    @pytest.fixture
    def three(self):
        tool = w.binding()
        for _ in range(3):
            w.rule(w.line(balance_minor=980), binding=tool, wake_at=w.NOON)
        return tool

    def decided(self) -> list[str]:
        openings.open_due(at=w.NOON, limit=9, capabilities=ALIPAY)
        return sorted(Decision.objects.values_list("code", flat=True))

    def test_keeps_to_the_methods_cap(self, three):
        Binding.objects.update(max_per_month_minor=10_000)

        assert self.decided() == ["cap_binding_month", "charge", "charge"]
        assert opened() == [5000, 5000]

    def test_keeps_to_the_owners_cap(self, three):
        SpendingCapFactory.create(owner=three.owner, max_per_month_minor=14_999)

        assert self.decided() == ["cap_owner_month", "charge", "charge"]
        assert opened() == [5000, 5000]

    def test_counts_what_was_taken_and_not_what_was_credited(self, three):
        SpendingCapFactory.create(owner=three.owner, max_per_month_minor=9900)
        PromotionFactory.create(fixed_minor=100)
        open_due()
        open_due()

        assert opened() == [4900, 4900]

    def test_does_not_count_what_ended_unpaid(self, three):
        Binding.objects.update(max_per_month_minor=10_000)
        SpendingCapFactory.create(owner=three.owner, max_per_month_minor=10_000)
        Rule.objects.update(max_per_month_minor=5000)
        self.decided()
        Recharge.objects.update(state="canceled")
        Rule.objects.update(wake_at=w.NOON, is_armed=True, episode=2)

        openings.open_due(at=w.NOON, limit=9, capabilities=ALIPAY)

        ended = Recharge.objects.filter(state="canceled")
        assert (ended.count(), Recharge.objects.filter(state="due").count()) == (2, 2)

    def test_does_not_count_another_currency_against_the_methods_cap(self, three):
        Binding.objects.update(max_per_month_minor=15_000)
        abroad = w.line(carrier=w.carrier("csl", currency="HKD"), currency="HKD")
        press(w.rule(abroad, binding=three, currency="HKD"))

        assert self.decided() == ["charge"] * 3


def leaves_room(tool: Binding, **more: Any) -> bool:
    """For a recharge of 50.00 that is to move to `tool`, of which 50.00 of 99.99 are spent."""
    given = {"face_minor": 5000, "price_minor": 5000, "currency": "CNY", "cap_month": NOVEMBER}
    with transaction.atomic():
        return spending_caps.leaves_room(binding=tool, recharge=Recharge(**(given | more)))


@pytest.mark.django_db
class TestASecondMethod:
    @pytest.fixture
    def tool(self):
        rule = w.rule(binding=w.binding(max_per_month_minor=9999))
        press(rule)
        return rule.binding

    def test_has_room_for_what_is_taken_and_no_more(self, tool):
        assert not leaves_room(tool)
        assert leaves_room(tool, price_minor=4999)

    @pytest.mark.parametrize("more", [{"currency": "HKD"}, {"cap_month": date(2026, 12, 1)}])
    def test_counts_each_currency_and_month_by_itself(self, tool, more):
        assert leaves_room(tool, **more)

    def test_does_not_count_what_ended_unpaid(self, tool):
        Recharge.objects.update(state="canceled")

        assert leaves_room(tool)


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    @pytest.fixture
    def two(self):
        """Of one owner, who may spend what one of them takes."""
        tool = w.binding()
        SpendingCapFactory.create(owner=tool.owner, max_per_month_minor=5000)
        return [w.rule(w.line(balance_minor=980), binding=tool, wake_at=w.NOON) for _ in range(2)]

    def test_by_hand_do_not_both_spend_what_is_left_of_the_owners_cap(self, two):
        with transaction.atomic():
            press(two[0])
            late = behind(lambda: press(two[1]))

        with pytest.raises(by_hand.CapReached) as refusal:
            late.result(timeout=30)
        assert refusal.value.code == "cap_owner_month"
        assert opened() == [5000]

    def test_by_hand_and_falling_back_do_not_both_spend_what_is_left_of_the_methods_cap(self, two):
        SpendingCap.objects.all().delete()
        Binding.objects.update(max_per_month_minor=9999)
        with transaction.atomic():
            press(two[0])
            late = behind(lambda: leaves_room(two[0].binding))

        assert late.result(timeout=30) is False

    def test_of_the_executor_do_not_both_spend_what_is_left_of_the_owners_cap(self, two):
        with transaction.atomic():
            open_due()
            late = behind(open_due)
        late.result(timeout=30)

        assert sorted(Decision.objects.values_list("code", flat=True)) == [
            "cap_owner_month",
            "charge",
        ]
        assert opened() == [5000]

    def test_of_the_executor_do_not_both_spend_what_is_left_of_the_methods_cap(self, two):
        SpendingCap.objects.all().delete()
        Binding.objects.update(max_per_month_minor=5000)
        with transaction.atomic():
            open_due()
            late = behind(open_due)
        late.result(timeout=30)

        assert opened() == [5000]


@pytest.mark.django_db(transaction=True)
class TestTheOrderOfLocks:
    """Who took the second first would wait in a circle with who did not."""

    @pytest.fixture
    def tools(self):
        """The first lies behind the second in the table, so that no order comes by itself."""
        both = [w.binding(max_per_month_minor=5000) for _ in range(2)]
        Binding.objects.filter(pk=both[0].pk).update(label="moved")
        return both

    @pytest.fixture
    def caps(self):
        both = [
            SpendingCapFactory.create(owner=w.person(name), max_per_month_minor=5000)
            for name in ("alice", "bob")
        ]
        SpendingCap.objects.filter(pk=both[0].pk).update(max_per_month_minor=6000)
        return both

    def lock_all(self, tools=(), caps=()) -> Future[Any]:
        def locking() -> None:
            with transaction.atomic():
                read_as_it_lies()
                spending_caps.lock_shared_caps(
                    binding_ids=[one.pk for one in tools], owner_ids=[one.owner_id for one in caps]
                )

        return behind(locking)

    def test_is_methods_by_id(self, tools):
        with transaction.atomic():
            Binding.objects.select_for_update(no_key=True).get(pk=tools[0].pk)
            late = self.lock_all(tools=tools)
            assert not late.done()
            assert is_free(Binding.objects.filter(pk=tools[1].pk))
        late.result(timeout=30)

    def test_is_owners_by_id(self, caps):
        with transaction.atomic():
            SpendingCap.objects.select_for_update(no_key=True).get(pk=caps[0].pk)
            late = self.lock_all(caps=caps)
            assert not late.done()
            assert is_free(SpendingCap.objects.filter(pk=caps[1].pk))
        late.result(timeout=30)

    def test_is_methods_before_owners(self, tools, caps):
        with transaction.atomic():
            Binding.objects.select_for_update(no_key=True).get(pk=tools[1].pk)
            late = self.lock_all(tools=tools, caps=caps)
            assert not late.done()
            assert is_free(SpendingCap.objects.all())
        late.result(timeout=30)
