"""Promotions: quoted once, stacked as they say, and never paid beyond their budget."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import promotions, rowsets
from billing.models import Promotion, PromotionUse, Recharge
from billing.promotions import Book, Offer, OfferGone, Quote, QuoteLine
from lines.models import Line
from tests import world as w
from tests.factories.billing import PromotionFactory, RechargeFactory
from tests.race import behind, is_free, read_as_it_lies
from tests.world import DAY, NOON


@pytest.fixture(autouse=True)
def _quick_passwords(settings):
    """Nobody signs in here, and a strong hash for each person would be most of the time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def offer(promotion_id: int = 1, **more) -> Offer:
    """5 % off in a best-of, unless it says otherwise."""
    given_: dict[str, Any] = {
        "code": f"offer-{promotion_id}",
        "kind": "discount",
        "stacking": "best_of",
        "currency": "CNY",
        "starts_at": NOON - DAY,
        "ends_at": NOON + DAY,
    }
    if "fixed_minor" not in more:
        given_["basis_points"] = 500
    return Offer(promotion_id=promotion_id, **(given_ | more))


def quote(*offers: Offer, face_minor: int = 5000, min_price_minor: int = 1, at=NOON) -> Quote:
    return promotions.quote(
        face_minor=face_minor,
        currency="CNY",
        offers=offers,
        min_price_minor=min_price_minor,
        at=at,
    )


def used(given_: Quote) -> list[tuple[int, int]]:
    return [(line.promotion_id, line.amount_minor) for line in given_.lines]


class TestOneOffer:
    def test_takes_its_share_off_the_face_value(self):
        assert quote(offer(basis_points=150)) == Quote(
            75, 0, (QuoteLine(1, "offer-1", "discount", 75),)
        )

    def test_rounds_a_share_half_to_even(self):
        assert quote(offer(basis_points=1), face_minor=5000).discount_minor == 0
        assert quote(offer(basis_points=3), face_minor=5000).discount_minor == 2

    def test_adds_a_bonus_and_leaves_the_price_alone(self):
        assert quote(offer(kind="bonus", fixed_minor=300)) == Quote(
            0, 300, (QuoteLine(1, "offer-1", "bonus", 300),)
        )

    def test_gives_no_more_than_its_most_for_one(self):
        assert quote(offer(max_benefit_minor=75)).discount_minor == 75

    def test_gives_nothing_where_there_are_none(self):
        assert quote() == Quote.none()

    @pytest.mark.parametrize(
        ("at", "discount_minor"),
        [
            (NOON - DAY - timedelta(microseconds=1), 0),
            (NOON - DAY, 250),
            (NOON + DAY - timedelta(microseconds=1), 250),
            (NOON + DAY, 0),
        ],
    )
    def test_counts_from_its_start_until_just_before_its_end(self, at, discount_minor):
        assert quote(offer(), at=at).discount_minor == discount_minor

    @pytest.mark.parametrize(
        "more",
        [
            {"currency": "HKD"},
            {"min_face_minor": 5001},
            {"uses_left": 0},
            {"budget_left_minor": 249},
            {"budget_left_minor": 0},
        ],
    )
    def test_does_not_apply(self, more):
        assert quote(offer(**more)) == Quote.none()

    @pytest.mark.parametrize(
        "more", [{"min_face_minor": 5000}, {"uses_left": 1}, {"budget_left_minor": 250}]
    )
    def test_just_applies(self, more):
        assert quote(offer(**more)).discount_minor == 250


class TestTheLowestPrice:
    def test_is_never_below_the_rails_minimum(self):
        assert quote(offer(fixed_minor=9000), min_price_minor=100).discount_minor == 4900

    def test_is_never_nothing(self):
        assert quote(offer(fixed_minor=5000), min_price_minor=0).discount_minor == 4999

    def test_cuts_the_last_discount_and_spares_the_bonus(self):
        given_ = quote(
            offer(1, stacking="additive", fixed_minor=3000),
            offer(2, stacking="additive", fixed_minor=3000),
            offer(3, stacking="additive", fixed_minor=700, kind="bonus"),
        )

        assert used(given_) == [(1, 3000), (2, 1999), (3, 700)]
        assert (given_.discount_minor, given_.bonus_minor) == (4999, 700)

    def test_drops_a_discount_that_has_no_room_at_all(self):
        given_ = quote(
            offer(1, stacking="additive", fixed_minor=4999),
            offer(2, stacking="additive", fixed_minor=10),
        )

        assert used(given_) == [(1, 4999)]

    def test_of_a_face_value_below_the_minimum_is_left_as_it_is(self):
        assert quote(offer(), face_minor=50, min_price_minor=100) == Quote.none()


class TestStacking:
    def test_takes_the_best_of_those_that_compete(self):
        assert used(quote(offer(1, fixed_minor=100), offer(2, fixed_minor=300), offer(3))) == [
            (2, 300)
        ]

    def test_adds_the_additive_ones_to_the_best(self):
        given_ = quote(
            offer(1, fixed_minor=100),
            offer(2, fixed_minor=300),
            offer(3, fixed_minor=50, stacking="additive"),
            offer(4, fixed_minor=60, stacking="additive", kind="bonus"),
        )

        assert sorted(used(given_)) == [(2, 300), (3, 50), (4, 60)]
        assert (given_.discount_minor, given_.bonus_minor) == (350, 60)

    def test_lets_an_exclusive_one_stand_alone_where_it_is_worth_more(self):
        others = [offer(1, fixed_minor=300), offer(2, fixed_minor=50, stacking="additive")]

        assert used(quote(*others, offer(3, fixed_minor=351, stacking="exclusive"))) == [(3, 351)]
        assert (3, 349) not in used(quote(*others, offer(3, fixed_minor=349, stacking="exclusive")))

    def test_never_joins_two_exclusive_ones(self):
        exclusive = [offer(n, fixed_minor=100 + n, stacking="exclusive") for n in (1, 2)]

        assert used(quote(*exclusive)) == [(2, 102)]

    def test_takes_shares_of_the_face_value_not_of_one_another(self):
        halves = [offer(n, basis_points=5000, stacking="additive") for n in (1, 2)]

        assert quote(*halves, min_price_minor=1).discount_minor == 4999

    def test_prefers_a_discount_to_a_bonus_of_the_same_worth(self):
        bonus, discount = offer(1, kind="bonus", fixed_minor=200), offer(2, fixed_minor=200)

        assert used(quote(bonus, discount)) == used(quote(discount, bonus)) == [(2, 200)]

    def test_spends_no_second_budget_on_what_one_promotion_gives_alone(self):
        everything = offer(2, stacking="additive", fixed_minor=5000)

        assert used(quote(offer(1, fixed_minor=100), everything)) == [(2, 4999)]

    def test_does_not_depend_on_the_order_it_is_told_in(self):
        offers = [offer(n, fixed_minor=100, stacking="additive") for n in (3, 1, 2)]

        assert quote(*offers) == quote(*reversed(offers))
        assert used(quote(*offers)) == [(1, 100), (2, 100), (3, 100)]


OFFERS = st.lists(
    st.builds(
        offer,
        promotion_id=st.integers(1, 1000),
        kind=st.sampled_from(["discount", "bonus"]),
        stacking=st.sampled_from(["exclusive", "best_of", "additive"]),
        fixed_minor=st.integers(1, 20_000),
        budget_left_minor=st.none() | st.integers(0, 20_000),
        uses_left=st.none() | st.integers(0, 2),
    ),
    max_size=6,
    unique_by=lambda one: one.promotion_id,
)


class TestWhateverIsOffered:
    @settings(max_examples=200)
    @given(OFFERS, st.integers(1, 20_000), st.integers(0, 500))
    def test_the_quote_adds_up_and_keeps_every_limit(self, offers, face_minor, min_price_minor):
        given_ = quote(*offers, face_minor=face_minor, min_price_minor=min_price_minor)
        known = {one.promotion_id: one for one in offers}
        taken = [known[line.promotion_id] for line in given_.lines]

        for kind, total in (("discount", given_.discount_minor), ("bonus", given_.bonus_minor)):
            assert total == sum(line.amount_minor for line in given_.lines if line.kind == kind)
        assert face_minor - given_.discount_minor >= min(face_minor, max(min_price_minor, 1))
        for line in given_.lines:
            assert 0 < line.amount_minor <= (known[line.promotion_id].budget_left_minor or 20_000)
            assert known[line.promotion_id].uses_left != 0
        stackings = [one.stacking for one in taken]
        assert stackings.count("best_of") <= 1
        assert "exclusive" not in stackings or len(stackings) == 1


# --- the database -------------------------------------------------------------------------------


def promotion(code: str = "five", **more) -> Promotion:
    return PromotionFactory.create(code=code, **more)


def recharge(rule, number: int = 1, **more) -> Recharge:
    key = f"{number}:2026-11-22"
    return RechargeFactory.create(rule=rule, trigger="schedule", period_key=key, **more)


def quote_for(
    rule, *, book: Book | None = None, trigger="schedule", rail="alipay", face_minor=5000
) -> Quote:
    return (book or Book.load(at=NOON)).quote(
        line_id=rule.line_id,
        rail=rail,
        carrier=rule.line.carrier.code,
        trigger=trigger,
        face_minor=face_minor,
        currency="CNY",
        min_price_minor=1,
        at=NOON,
    )


def sums(one: Promotion) -> tuple[int, int]:
    one.refresh_from_db()
    return one.reserved_minor, one.consumed_minor


@pytest.mark.django_db
class TestTheAudience:
    @pytest.mark.parametrize(
        ("more", "discount_minor"),
        [
            ({}, 250),
            ({"rails": ["alipay"]}, 250),
            ({"rails": ["wechat"]}, 0),
            ({"carriers": ["cmcc", "cucc"]}, 250),
            ({"carriers": ["cucc"]}, 0),
            ({"triggers": ["schedule"]}, 250),
            ({"triggers": ["low_balance"]}, 0),
            ({"min_face_minor": 5001}, 0),
            ({"currency": "HKD"}, 0),
            ({"max_benefit_minor": 100}, 100),
            ({"is_enabled": False}, 0),
            ({"starts_at": NOON + timedelta(hours=1)}, 0),
        ],
    )
    def test_decides_who_is_offered_it(self, more, discount_minor):
        promotion(**more)

        assert quote_for(w.rule()).discount_minor == discount_minor

    def test_has_recharges_by_hand_in_it_only_where_they_are_named(self):
        rule = w.rule()
        promotion("automatic")

        assert quote_for(rule, trigger="manual") == Quote.none()

        promotion("by-hand", triggers=["manual"], fixed_minor=10)

        assert quote_for(rule, trigger="manual").discount_minor == 10

    def test_is_told_what_is_yet_to_start_so_that_later_charges_can_be_shown(self):
        rule = w.rule()
        promotion(starts_at=NOON + DAY, ends_at=NOON + 2 * DAY)
        promotion("over", ends_at=NOON)

        found = promotions.offers_for(line=rule.line, rail="alipay", trigger="schedule", at=NOON)

        assert [one.code for one in found] == ["five"]


@pytest.mark.django_db
class TestTheBook:
    def test_knows_what_it_has_set_aside_itself(self):
        promotion(budget_minor=500)
        rules = [w.rule() for _ in range(3)]
        book = Book.load(at=NOON)

        assert [quote_for(one, book=book).discount_minor for one in rules] == [250, 250, 0]

    def test_knows_how_often_it_has_quoted_for_a_line_itself(self):
        promotion(max_uses_per_line=1)
        rule, book = w.rule(), Book.load(at=NOON)

        assert quote_for(rule, book=book).discount_minor == 250
        assert quote_for(rule, book=book) == Quote.none()

    def test_counts_what_is_reserved_and_what_is_consumed_against_the_budget(self):
        promotion(budget_minor=749)
        paid, waiting = w.rule(), w.rule()
        for rule in (paid, waiting):
            promotions.reserve([(recharge(rule).pk, rule.line_id, quote_for(rule))])
        promotions.consume(recharge_ids=list(paid.line.recharges.values_list("pk", flat=True)))

        assert quote_for(w.rule()) == Quote.none()

    def test_gives_nothing_to_a_line_that_has_had_more_than_is_now_allowed(self):
        limited, rule = promotion(max_uses_per_line=2), w.rule()
        for number in (1, 2):
            one = recharge(rule, number)
            promotions.reserve([(one.pk, rule.line_id, quote_for(rule))])
            Recharge.objects.filter(pk=one.pk).update(state="canceled")
        Promotion.objects.filter(pk=limited.pk).update(max_uses_per_line=1)

        assert quote_for(rule) == Quote.none()

    def test_counts_the_uses_of_a_line_and_no_others(self):
        promotion(max_uses_per_line=1)
        rule, other = w.rule(), w.rule()
        promotions.reserve([(recharge(rule).pk, rule.line_id, quote_for(rule))])

        assert quote_for(rule) == Quote.none()
        assert quote_for(other).discount_minor == 250

    def test_counts_a_released_use_as_none(self):
        promotion(max_uses_per_line=1)
        rule = w.rule()
        first = recharge(rule)
        promotions.reserve([(first.pk, rule.line_id, quote_for(rule))])
        promotions.release(recharge_ids=[first.pk])

        assert quote_for(rule).discount_minor == 250

    def test_asks_once_for_the_uses_of_the_lines_it_is_told_of(
        self, django_assert_num_queries, monkeypatch
    ):
        promotion(max_uses_per_line=1)
        read, asked = rowsets.read, []
        monkeypatch.setattr(
            rowsets,
            "read",
            lambda sql, *args, **more: asked.append(sql) or read(sql, *args, **more),
        )
        rules = [w.rule() for _ in range(5)]
        carriers = [one.line.carrier.code for one in rules]

        with django_assert_num_queries(1):  # the promotions; their uses are asked past the ORM
            book = Book.load(at=NOON, line_ids=[one.line_id for one in rules])
            for one in rules:
                quote_for(one, book=book)

        assert len(asked) == 1
        assert carriers == ["cmcc"] * 5


@pytest.mark.django_db
class TestTheBudget:
    def test_is_reserved_then_consumed(self):
        five, rule = promotion(budget_minor=1000), w.rule()
        one = recharge(rule)

        promotions.reserve([(one.pk, rule.line_id, quote_for(rule))])
        assert sums(five) == (250, 0)

        promotions.consume(recharge_ids=[one.pk])
        assert sums(five) == (0, 250)
        assert [use.state for use in PromotionUse.objects.all()] == ["consumed"]

    def test_is_free_again_when_released(self):
        five, rule = promotion(budget_minor=250), w.rule()
        one = recharge(rule)
        promotions.reserve([(one.pk, rule.line_id, quote_for(rule))])
        assert quote_for(w.rule()) == Quote.none()

        promotions.release(recharge_ids=[one.pk])

        assert sums(five) == (0, 0)
        assert quote_for(w.rule()).discount_minor == 250

    def test_is_settled_once_however_often_it_is_said(self):
        five, rule = promotion(), w.rule()
        one = recharge(rule)
        promotions.reserve([(one.pk, rule.line_id, quote_for(rule))])

        for _ in range(2):
            promotions.consume(recharge_ids=[one.pk])
        promotions.release(recharge_ids=[one.pk])

        assert sums(five) == (0, 250)

    def test_is_not_consumed_once_released(self):
        five, rule = promotion(), w.rule()
        one = recharge(rule)
        promotions.reserve([(one.pk, rule.line_id, quote_for(rule))])

        for _ in range(2):
            promotions.release(recharge_ids=[one.pk])
        promotions.consume(recharge_ids=[one.pk])

        assert sums(five) == (0, 0)

    def test_of_several_promotions_and_recharges_is_settled_at_once(self):
        five = promotion(stacking="additive")
        bonus = promotion("bonus", kind="bonus", fixed_minor=100, stacking="additive")
        rules = [w.rule() for _ in range(3)]
        book = Book.load(at=NOON)
        held = [(recharge(one).pk, one.line_id, quote_for(one, book=book)) for one in rules]
        promotions.reserve(held)
        assert (sums(five), sums(bonus)) == ((750, 0), (300, 0))

        promotions.consume(recharge_ids=[held[0][0], held[1][0]])
        promotions.release(recharge_ids=[held[2][0]])

        assert (sums(five), sums(bonus)) == ((0, 500), (0, 200))

    def test_refuses_a_quote_that_no_longer_fits_and_reserves_nothing(self):
        small = promotion("a-small", budget_minor=10_000, stacking="additive", fixed_minor=5)
        five, rule, other = promotion(budget_minor=250, stacking="additive"), w.rule(), w.rule()
        stale = quote_for(rule, book=Book.load(at=NOON, is_locked=False))
        promotions.reserve([(recharge(other).pk, other.line_id, quote_for(other))])

        with pytest.raises(OfferGone) as refusal:
            promotions.reserve([(recharge(rule).pk, rule.line_id, stale)])

        assert refusal.value.promotion_id == five.pk
        assert (sums(small), sums(five)) == ((5, 0), (250, 0))
        assert PromotionUse.objects.filter(line=rule.line).count() == 0

    def test_refuses_a_use_more_than_a_line_may_have(self):
        limited, rule = promotion(max_uses_per_line=1), w.rule()
        stale = quote_for(rule, book=Book.load(at=NOON, is_locked=False))
        first = recharge(rule)
        promotions.reserve([(first.pk, rule.line_id, quote_for(rule))])
        Recharge.objects.filter(pk=first.pk).update(state="canceled")

        with pytest.raises(OfferGone):
            promotions.reserve([(recharge(rule, 2).pk, rule.line_id, stale)])

        assert sums(limited) == (250, 0)

    def test_counts_the_uses_of_a_number_and_of_a_card_whoevers_row_had_them(self):
        """Removed and put in again, another account's, or the card in another number's phone."""
        limited, rule = promotion(max_uses_per_line=1), w.rule(w.line(iccid="8944538532008160222"))
        promotions.reserve([(recharge(rule).pk, rule.line_id, quote_for(rule))])
        Line.objects.filter(pk=rule.line_id).update(status="removed")
        number, bob = rule.line.msisdn, w.person("bob")
        again = [
            w.rule(w.line(msisdn=number, status="unverified")),
            w.rule(w.line(bob, msisdn=number, iccid="8997212330099025334")),
            w.rule(w.line(bob, iccid=rule.line.iccid)),
            w.rule(w.line(bob, iccid="", msisdn="+8613900139000")),
        ]
        assert [used(quote_for(one)) for one in again] == [[], [], [], [(limited.pk, 250)]]
        stale = quote_for(again[-1])
        with pytest.raises(OfferGone):
            promotions.reserve([(recharge(again[1]).pk, again[1].line_id, stale)])
        assert sums(limited) == (250, 0)

    def test_gives_again_what_was_released_on_the_row_before(self):
        limited, rule = promotion(max_uses_per_line=1), w.rule()
        one = recharge(rule)
        promotions.reserve([(one.pk, rule.line_id, quote_for(rule))])
        promotions.release(recharge_ids=[one.pk])
        Line.objects.filter(pk=rule.line_id).update(status="removed")
        again = w.rule(w.line(w.person("bob"), msisdn=rule.line.msisdn))
        assert used(quote_for(again)) == [(limited.pk, 250)]

    def test_refuses_two_at_once_for_a_line_that_may_have_one(self):
        limited, rule = promotion(max_uses_per_line=1), w.rule()
        stale = quote_for(rule, book=Book.load(at=NOON, is_locked=False))
        first = recharge(rule)
        Recharge.objects.filter(pk=first.pk).update(state="canceled")
        both = [(one.pk, rule.line_id, stale) for one in (first, recharge(rule, 2))]

        with pytest.raises(OfferGone):
            promotions.reserve(both)

        assert sums(limited) == (0, 0)

    def test_refuses_a_stale_quote_of_a_budget_that_has_been_consumed(self):
        five, rule, other = promotion(budget_minor=250), w.rule(), w.rule()
        stale = quote_for(rule, book=Book.load(at=NOON, is_locked=False))
        paid = recharge(other)
        promotions.reserve([(paid.pk, other.line_id, quote_for(other))])
        promotions.consume(recharge_ids=[paid.pk])

        with pytest.raises(OfferGone):
            promotions.reserve([(recharge(rule).pk, rule.line_id, stale)])

        assert sums(five) == (0, 250)

    def test_cannot_be_overdrawn_by_hand(self):
        five = promotion(budget_minor=100)

        with pytest.raises(IntegrityError), transaction.atomic():
            Promotion.objects.filter(pk=five.pk).update(consumed_minor=60, reserved_minor=41)

        assert sums(five) == (0, 0)

    def test_honours_what_was_reserved_after_the_promotion_is_switched_off(self):
        five, rule = promotion(budget_minor=250), w.rule()
        one = recharge(rule)
        promotions.reserve([(one.pk, rule.line_id, quote_for(rule))])
        Promotion.objects.update(is_enabled=False, ends_at=NOON - timedelta(hours=1))

        promotions.consume(recharge_ids=[one.pk])

        assert sums(five) == (0, 250)


@pytest.mark.django_db(transaction=True)
class TestManyAtOnce:
    def test_never_give_more_than_the_budget_from_stale_quotes(self):
        """Each has quoted before any has reserved: the budget takes four, the rest are refused."""
        five = promotion(budget_minor=1000)
        rules = [w.rule() for _ in range(12)]
        ids = [recharge(one).pk for one in rules]

        outcomes = _together(
            [
                lambda rule=rule, pk=pk: _reserve_stale(rule, pk)
                for rule, pk in zip(rules, ids, strict=True)
            ]
        )

        assert sorted(outcomes) == ["gone"] * 8 + ["held"] * 4
        assert sums(five) == (1000, 0)
        assert PromotionUse.objects.count() == 4

    def test_get_all_that_the_budget_holds_from_a_locked_book(self):
        five = promotion(budget_minor=1000)
        rules = [w.rule() for _ in range(12)]
        ids = [recharge(one).pk for one in rules]

        outcomes = _together(
            [
                lambda rule=rule, pk=pk: _reserve_fresh(rule, pk)
                for rule, pk in zip(rules, ids, strict=True)
            ]
        )

        assert sorted(outcomes) == [0] * 8 + [250] * 4
        assert sums(five) == (1000, 0)

    def test_settle_each_recharge_once_while_consume_and_release_race(self):
        five = promotion()
        rules = [w.rule() for _ in range(6)]
        ids = []
        for rule in rules:
            ids.append(recharge(rule).pk)
            promotions.reserve([(ids[-1], rule.line_id, quote_for(rule, book=_unlocked()))])

        _together(
            [lambda: promotions.consume(recharge_ids=ids)] * 4
            + [lambda: promotions.release(recharge_ids=ids[::-1])] * 4
        )

        states = PromotionUse.objects.values_list("state", flat=True)
        consumed = [state for state in states if state == "consumed"]
        assert "reserved" not in states
        assert sums(five) == (0, 250 * len(consumed))


@pytest.mark.django_db(transaction=True)
class TestOneBehindAnother:
    @pytest.fixture
    def two(self) -> list[Promotion]:
        """The first lies behind the second in the table, so that no order comes by itself."""
        first = promotion("first", stacking="additive", fixed_minor=10)
        second = promotion("second", stacking="additive", fixed_minor=20)
        Promotion.objects.filter(pk=first.pk).update(name="moved")
        return [first, second]

    def test_is_not_released_what_is_being_consumed(self):
        five, rule = promotion(), w.rule()
        one = recharge(rule)
        promotions.reserve([(one.pk, rule.line_id, quote_for(rule, book=_unlocked()))])
        with transaction.atomic():
            promotions.consume(recharge_ids=[one.pk])
            late = behind(lambda: promotions.release(recharge_ids=[one.pk]))
        late.result(timeout=30)

        assert sums(five) == (0, 250)
        assert PromotionUse.objects.get().state == "consumed"

    def test_has_no_second_use_of_what_a_line_is_just_using(self):
        limited, rule = promotion(max_uses_per_line=1), w.rule()
        stale = quote_for(rule, book=_unlocked())
        first = recharge(rule)
        Recharge.objects.filter(pk=first.pk).update(state="canceled")
        second = recharge(rule, 2)
        with transaction.atomic():
            promotions.reserve([(first.pk, rule.line_id, stale)])
            late = behind(lambda: promotions.reserve([(second.pk, rule.line_id, stale)]))

        with pytest.raises(OfferGone):
            late.result(timeout=30)
        assert sums(limited) == (250, 0)

    def test_a_locked_book_waits_at_the_first_with_the_second_free(self, two):
        _waits_at_the_first(two, lambda: Book.load(at=NOON))

    def test_reserving_waits_at_the_first_with_the_second_free(self, two):
        rule = w.rule()
        held = [(recharge(rule).pk, rule.line_id, quote_for(rule, book=_unlocked()))]
        assert len(held[0][2].lines) == 2

        _waits_at_the_first(two, lambda: promotions.reserve(held))

        assert [sums(one) for one in two] == [(10, 0), (20, 0)]

    def test_consuming_waits_at_the_first_with_the_second_free(self, two):
        rule = w.rule()
        one = recharge(rule)
        promotions.reserve([(one.pk, rule.line_id, quote_for(rule, book=_unlocked()))])

        _waits_at_the_first(two, lambda: promotions.consume(recharge_ids=[one.pk]))

        assert [sums(one) for one in two] == [(0, 10), (0, 20)]


def _waits_at_the_first(two: list[Promotion], work) -> None:
    """As everybody must: who took the second first would wait in a circle with who did not."""

    def in_a_transaction() -> None:
        with transaction.atomic():
            read_as_it_lies()
            work()

    with transaction.atomic():
        Promotion.objects.select_for_update(no_key=True).get(pk=two[0].pk)
        late = behind(in_a_transaction)
        assert not late.done()
        assert is_free(Promotion.objects.filter(pk=two[1].pk))
    late.result(timeout=30)


def _unlocked():
    return Book.load(at=NOON, is_locked=False)


_QUOTED = threading.Barrier(12)


def _reserve_stale(rule, recharge_id: int) -> str:
    stale = quote_for(rule, book=_unlocked())
    _QUOTED.wait(timeout=30)
    try:
        with transaction.atomic():
            promotions.reserve([(recharge_id, rule.line_id, stale)])
    except OfferGone:
        return "gone"
    return "held"


def _reserve_fresh(rule, recharge_id: int) -> int:
    with transaction.atomic():
        fresh = quote_for(rule)
        promotions.reserve([(recharge_id, rule.line_id, fresh)])
    return fresh.discount_minor


def _together(works) -> list:
    """Run each in a thread with a connection of its own; what they returned."""
    results: list = []
    failures: list[BaseException] = []

    def run(work) -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    return results
