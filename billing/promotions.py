"""Promotions: what a recharge costs less or brings more, quoted once and paid from a budget.

`quote` is pure. `Book` holds the running promotions for a batch; `reserve`, `consume` and `release`
keep their budgets, in the caller's transaction.

Locks: promotions in the order of their ids, always before their uses, and always the last rows a
transaction locks. So two batches wait for each other, and never in a circle.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import F, Q

from billing import rowsets
from billing.models import Promotion, PromotionUse
from billing.money import share
from billing.states import Trigger
from lines.models import Line

_BASIS_POINTS = 10_000


class OfferGone(LookupError):
    """The budget or the uses a line has are not what they were when quoted: quote again."""

    def __init__(self, promotion_id: int) -> None:
        super().__init__(f"promotion {promotion_id} has no room left")
        self.promotion_id = promotion_id


@dataclass(frozen=True, slots=True)
class Offer:
    """What one promotion holds out to one line. Amounts are minor units of `currency`."""

    promotion_id: int
    code: str
    kind: str  # Promotion.Kind
    stacking: str  # Promotion.Stacking
    currency: str
    starts_at: datetime
    ends_at: datetime  # excluded
    basis_points: int | None = None  # either a share in basis points
    fixed_minor: int | None = None  # or a fixed amount
    max_benefit_minor: int | None = None
    min_face_minor: int = 0
    budget_left_minor: int | None = None  # None: without a limit
    uses_left: int | None = None  # by this line; None: without a limit


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """What one promotion gives. `kind` is "discount" (pay less) or "bonus" (get more)."""

    promotion_id: int
    code: str
    kind: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What promotions make of one recharge. Frozen into it when it opens, and then honoured."""

    discount_minor: int
    bonus_minor: int
    lines: tuple[QuoteLine, ...]

    @staticmethod
    def none() -> "Quote":
        return Quote(discount_minor=0, bonus_minor=0, lines=())


def quote(
    *,
    face_minor: int,
    currency: str,
    offers: Sequence[Offer],
    min_price_minor: int,
    at: datetime,
) -> Quote:
    """The best that `offers` allow for a recharge of `face_minor` made at `at`. Pure.

    Shares are of the face value, whatever else is given. Stacking: an *exclusive* offer stands
    alone; of the *best of* offers one counts; *additive* ones come on top of it. Of all that this
    allows, the line gets what is worth most; at a tie, the discount, then the fewest promotions.
    An offer counts whole or not at all, but the price never falls below `min_price_minor` (at
    least 1): there the discount is cut.
    """
    usable = [
        (offer, QuoteLine(offer.promotion_id, offer.code, offer.kind, amount_minor))
        for offer in sorted(offers, key=lambda offer: offer.promotion_id)
        if (amount_minor := _benefit(offer, face_minor=face_minor, currency=currency, at=at)) > 0
    ]
    room_minor = max(0, face_minor - max(min_price_minor, 1))
    quotes = [_sum(lines, room_minor=room_minor) for lines in _combinations(usable)]
    return max(quotes, key=_worth)


def _worth(one: Quote) -> tuple[int, int, int]:
    return one.discount_minor + one.bonus_minor, one.discount_minor, -len(one.lines)


def _benefit(offer: Offer, *, face_minor: int, currency: str, at: datetime) -> int:
    """What the offer gives by itself; 0 where it does not apply."""
    is_open = offer.starts_at <= at < offer.ends_at and offer.currency == currency
    if not is_open or face_minor < offer.min_face_minor or offer.uses_left == 0:
        return 0
    amount_minor = offer.fixed_minor or share(face_minor, offer.basis_points or 0, _BASIS_POINTS)
    if offer.max_benefit_minor is not None:
        amount_minor = min(amount_minor, offer.max_benefit_minor)
    # A promise is kept whole: the last cents of a budget are not handed out as a part of one.
    if offer.budget_left_minor is not None and amount_minor > offer.budget_left_minor:
        return 0
    return amount_minor


def _combinations(usable: Sequence[tuple[Offer, QuoteLine]]) -> list[list[QuoteLine]]:
    """Every set of lines that may stand together."""
    by_stacking: dict[str, list[QuoteLine]] = defaultdict(list)
    for offer, line in usable:
        by_stacking[offer.stacking].append(line)
    additive = by_stacking[Promotion.Stacking.ADDITIVE]
    alone = [[line] for line in by_stacking[Promotion.Stacking.EXCLUSIVE]]
    led = [[line, *additive] for line in by_stacking[Promotion.Stacking.BEST_OF]]
    return [additive, *led, *alone]


def _sum(lines: Iterable[QuoteLine], *, room_minor: int) -> Quote:
    """The lines together; discounts are cut to the room the lowest price leaves."""
    kept, discount_minor, bonus_minor = [], 0, 0
    for line in lines:
        if line.kind == Promotion.Kind.BONUS:
            bonus_minor += line.amount_minor
            kept.append(line)
            continue
        amount_minor = min(line.amount_minor, room_minor - discount_minor)
        discount_minor += amount_minor
        if amount_minor:
            kept.append(replace(line, amount_minor=amount_minor))
    return Quote(discount_minor=discount_minor, bonus_minor=bonus_minor, lines=tuple(kept))


# --- the database -----------------------------------------------------------------------------


def running(*, at: datetime, is_locked: bool = False) -> list[Promotion]:
    """Promotions that are enabled and not over at `at`, by id; those yet to start are among them.

    `is_locked`: until the caller's transaction ends nobody else changes their budgets.
    """
    found = Promotion.objects.filter(is_enabled=True, ends_at__gt=at).order_by("pk")
    # NO KEY: a use inserted elsewhere only needs the row to exist.
    return list(found.select_for_update(no_key=True) if is_locked else found)


def offers_for(*, line: Line, rail: str, trigger: str, at: datetime) -> list[Offer]:
    """What is held out to `line` from `at` on; `quote` looks at each one's window."""
    book = Book.load(at=at, line_ids=[line.pk], is_locked=False)
    return book.offers(line_id=line.pk, rail=rail, carrier=line.carrier.code, trigger=trigger)


@dataclass(slots=True)
class Book:
    """The running promotions, and what has been set aside of them since they were loaded."""

    promotions: list[Promotion]
    _uses: dict[tuple[int, int], int] = field(default_factory=dict)  # by promotion and line
    _counted: set[int] = field(default_factory=set)  # the lines `_uses` knows
    _set_aside: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @staticmethod
    def load(*, at: datetime, line_ids: Sequence[int] = (), is_locked: bool = True) -> "Book":
        """Read once for a batch. Locked (the caller's transaction), what it quotes can be reserved.

        `line_ids` counts those lines' uses in one query; other lines cost one query each.
        """
        book = Book(running(at=at, is_locked=is_locked))
        book.count_uses(line_ids)
        return book

    def count_uses(self, line_ids: Sequence[int]) -> None:
        """Learn how often `line_ids` have used the promotions that limit it."""
        limited = [one.pk for one in self.promotions if one.max_uses_per_line is not None]
        self._counted.update(line_ids)
        if limited and line_ids:
            self._uses |= _uses_by_line(promotion_ids=limited, line_ids=line_ids)

    def offers(self, *, line_id: int, rail: str, carrier: str, trigger: str) -> list[Offer]:
        """What is held out to a line on `rail` for a recharge caused by `trigger`."""
        if line_id not in self._counted:
            self.count_uses([line_id])
        return [
            self._offer(one, line_id=line_id)
            for one in self.promotions
            if _is_for(one, rail=rail, carrier=carrier, trigger=trigger)
        ]

    def quote(
        self,
        *,
        line_id: int,
        rail: str,
        carrier: str,
        trigger: str,
        face_minor: int,
        currency: str,
        min_price_minor: int,
        at: datetime,
    ) -> Quote:
        """`quote` for one line of the batch; what it gives is set aside for the next to see."""
        if not self.promotions:
            return Quote.none()
        given = quote(
            face_minor=face_minor,
            currency=currency,
            offers=self.offers(line_id=line_id, rail=rail, carrier=carrier, trigger=trigger),
            min_price_minor=min_price_minor,
            at=at,
        )
        for line in given.lines:
            key = (line.promotion_id, line_id)
            self._uses[key] = self._uses.get(key, 0) + 1
            self._set_aside[line.promotion_id] += line.amount_minor
        return given

    def _offer(self, one: Promotion, *, line_id: int) -> Offer:
        budget_left_minor = uses_left = None
        if one.budget_minor is not None:
            spent_minor = one.reserved_minor + one.consumed_minor + self._set_aside[one.pk]
            budget_left_minor = one.budget_minor - spent_minor
        if one.max_uses_per_line is not None:
            uses_left = max(0, one.max_uses_per_line - self._uses.get((one.pk, line_id), 0))
        return Offer(
            promotion_id=one.pk,
            code=one.code,
            kind=one.kind,
            stacking=one.stacking,
            currency=one.currency,
            starts_at=one.starts_at,
            ends_at=one.ends_at,
            basis_points=one.basis_points,
            fixed_minor=one.fixed_minor,
            max_benefit_minor=one.max_benefit_minor,
            min_face_minor=one.min_face_minor,
            budget_left_minor=budget_left_minor,
            uses_left=uses_left,
        )


def _is_for(one: Promotion, *, rail: str, carrier: str, trigger: str) -> bool:
    """The audience; an empty list is everyone. By hand counts only where it is named."""
    is_trigger = trigger in one.triggers or (not one.triggers and trigger != Trigger.MANUAL)
    is_rail = not one.rails or rail in one.rails
    return is_trigger and is_rail and (not one.carriers or carrier in one.carriers)


# A line is its number and its card, not its row: one that is removed and put in again, or is
# another person's now, has used what it has used. Either by its own index, so no OR.
_USES = """
WITH same AS (
  SELECT id AS line_id, id AS as_id FROM lines_line WHERE id = ANY(%b)
  UNION SELECT l.id, s.id FROM lines_line l JOIN lines_line s ON s.msisdn = l.msisdn
    WHERE l.id = ANY(%b) AND l.msisdn <> ''
  UNION SELECT l.id, s.id FROM lines_line l JOIN lines_line s ON s.iccid = l.iccid
    WHERE l.id = ANY(%b) AND l.iccid <> '')
SELECT u.promotion_id, same.line_id, count(*) AS uses
FROM same JOIN billing_promotionuse u ON u.line_id = same.as_id
WHERE u.promotion_id = ANY(%b) AND u.state <> 'released'
GROUP BY u.promotion_id, same.line_id"""


class UsesOfLine(NamedTuple):
    """How often a promotion was used by a line, under whatever row: a row of `_USES`."""

    promotion_id: int
    line_id: int
    uses: int


def _uses_by_line(
    *, promotion_ids: Sequence[int], line_ids: Sequence[int]
) -> dict[tuple[int, int], int]:
    ids = list(line_ids)
    counted = rowsets.read(_USES, [ids, ids, ids, list(promotion_ids)], into=UsesOfLine)
    return {(one.promotion_id, one.line_id): one.uses for one in counted}


def reserve(held: Sequence[tuple[int, int, Quote]]) -> None:
    """Set aside what quotes promise: (recharge id, line id, quote) each, all of them or none.

    Once per recharge, in the transaction that opens it. Raises OfferGone, with nothing reserved,
    where a budget or a line's uses do not suffice: it was quoted from a book that was not locked.
    """
    uses = [
        PromotionUse(
            promotion_id=line.promotion_id,
            recharge_id=recharge_id,
            line_id=line_id,
            amount_minor=line.amount_minor,
        )
        for recharge_id, line_id, given in held
        for line in given.lines
    ]
    if not uses:
        return
    with transaction.atomic():
        for one in _locked({use.promotion_id for use in uses}):
            _take(one, [use for use in uses if use.promotion_id == one.pk])
        PromotionUse.objects.bulk_create(uses)


def _locked(promotion_ids: Iterable[int]) -> list[Promotion]:
    found = Promotion.objects.filter(pk__in=promotion_ids).order_by("pk")
    return list(found.select_for_update(no_key=True))


def _take(one: Promotion, uses: Sequence[PromotionUse]) -> None:
    """Raises OfferGone. The promotion is locked, so what is read here stays true."""
    if one.max_uses_per_line is not None:
        line_ids = [use.line_id for use in uses]
        used = _uses_by_line(promotion_ids=[one.pk], line_ids=line_ids)
        for line_id in set(line_ids):
            if used.get((one.pk, line_id), 0) + line_ids.count(line_id) > one.max_uses_per_line:
                raise OfferGone(one.pk)
    total_minor = sum(use.amount_minor for use in uses)
    after_minor = F("reserved_minor") + F("consumed_minor") + total_minor
    within = Q(budget_minor__isnull=True) | Q(budget_minor__gte=after_minor)
    taken = Promotion.objects.filter(within, pk=one.pk)
    if taken.update(reserved_minor=F("reserved_minor") + total_minor) != 1:
        raise OfferGone(one.pk)


def consume(*, recharge_ids: Sequence[int]) -> None:
    """The recharges were paid: what was reserved for them is spent. A repeat changes nothing."""
    _settle(recharge_ids, to=PromotionUse.State.CONSUMED)


def release(*, recharge_ids: Sequence[int]) -> None:
    """The recharges ended unpaid: what was reserved for them is free. A repeat changes nothing.

    What was consumed stays consumed.
    """
    _settle(recharge_ids, to=PromotionUse.State.RELEASED)


def _settle(recharge_ids: Sequence[int], *, to: PromotionUse.State) -> None:
    """Move uses that are still reserved to `to`, and the promotions' sums with them."""
    reserved = PromotionUse.objects.filter(
        recharge__in=recharge_ids, state=PromotionUse.State.RESERVED
    )
    with transaction.atomic():
        _locked(set(reserved.values_list("promotion_id", flat=True)))
        # Read again: under the locks nobody else moves them.
        uses = list(reserved.values_list("pk", "promotion_id", "amount_minor"))
        PromotionUse.objects.filter(pk__in=[pk for pk, _, _ in uses]).update(state=to)
        totals: dict[int, int] = defaultdict(int)
        for _, promotion_id, amount_minor in uses:
            totals[promotion_id] += amount_minor
        for promotion_id, total_minor in totals.items():
            spent_minor = total_minor if to == PromotionUse.State.CONSUMED else 0
            Promotion.objects.filter(pk=promotion_id).update(
                reserved_minor=F("reserved_minor") - total_minor,
                consumed_minor=F("consumed_minor") + spent_minor,
            )
