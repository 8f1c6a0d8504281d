"""Recharges that their owners ask for now: checked, opened, and left to the executor."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from billing import money, nudges
from billing.calendar import day_key, month_key
from billing.gateways.base import Capabilities
from billing.models import Binding, Recharge, Rule
from billing.recharges.machine import Move, OpenRecharge, write_history
from billing.rules import gathering
from billing.rules.caps import CapReached, check_caps
from billing.states import OPEN_STATES, RechargeState, Trigger
from lines.models import Line
from lines.people import Person
from lines.references import new_reference

__all__ = ["CapReached"]

GRACE = timedelta(hours=1)


class NotSold(Exception):
    """The carrier does not sell that amount."""


class LineNotLive(Exception):
    """The line is not active, so nothing is charged for it."""


class BindingNotUsable(Exception):
    """The payment method is not active, or is paused."""


class NotPayable(Exception):
    """The payment method's rail takes no such amount, or none in the line's currency. Show
    `sentence` at `field`; nothing was written."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(field)
        self.field = field
        self.sentence = sentence


def recharge(
    *,
    line: Line,
    binding: Binding,
    face_minor: int,
    owner: Person,
    idempotency_key: str,
    ladder_s: Sequence[int] = (),
    capabilities: Capabilities | None = None,
    at: datetime,
) -> Recharge:
    """Open a recharge its owner asked for now, and nudge the executor: both or neither.

    `face_minor` is in minor units of the line's currency. The same `idempotency_key` gives the
    same recharge. A rail that must be told first, or is closed now (`capabilities`), takes it
    later, and it waits as long. Raises LineNotLive, BindingNotUsable, NotSold, NotPayable,
    CapReached, OpenRecharge.
    """
    period_key = f"hand:{idempotency_key}"[:40]
    existing = Recharge.objects.filter(line=line, trigger=Trigger.MANUAL, period_key=period_key)
    if found := existing.first():
        return found
    _check(line=line, binding=binding, face_minor=face_minor)
    _check_rail(line=line, rail=capabilities, face_minor=face_minor)
    try:
        with transaction.atomic():
            Line.objects.select_for_update(no_key=True).get(pk=line.pk)
            Rule.objects.select_for_update(no_key=True).filter(line=line).first()
            if found := existing.first():
                return found
            if open_for(line=line):  # seen, not waited for: inserting beside it could deadlock
                raise OpenRecharge(line.public_id)
            moves_at = gathering.moves_at(capabilities, at=at, signed_at=binding.signed_at)
            check_caps(line=line, binding=binding, amount_minor=face_minor, at=moves_at)
            opened = _insert(
                line=line,
                binding=binding,
                face_minor=face_minor,
                owner=owner,
                period_key=period_key,
                ladder_s=ladder_s,
                moves_at=moves_at,
                at=at,
            )
            nudges.money()
    except IntegrityError as error:
        raise OpenRecharge(line.public_id) from error
    return opened


def _check(*, line: Line, binding: Binding, face_minor: int) -> None:
    if not line.is_live:
        raise LineNotLive(line.public_id)
    if not binding.is_usable or binding.owner_id != line.owner_id:
        raise BindingNotUsable(binding.ref)
    if not line.carrier.sells(face_minor):
        raise NotSold(str(face_minor))


def _check_rail(*, line: Line, rail: Capabilities | None, face_minor: int) -> None:
    """The rail's own limits, as a plan is held to them."""
    if rail is None:
        return
    if line.currency not in rail.currencies:
        sentence = _("This payment method cannot pay in {currency}. Choose another.")
        raise NotPayable("binding", sentence.format(currency=line.currency))
    if rail.max_amount_minor is not None and face_minor > rail.max_amount_minor:
        sentence = _("This payment method pays at most {most} at once. Choose a smaller amount.")
        raise NotPayable("face_minor", sentence.format(most=_text(line, rail.max_amount_minor)))
    if face_minor < rail.min_amount_minor:
        sentence = _("This payment method pays at least {least} at once. Choose a larger amount.")
        raise NotPayable("face_minor", sentence.format(least=_text(line, rail.min_amount_minor)))


def _text(line: Line, amount_minor: int) -> str:
    return money.format_short(amount_minor, line.currency, get_language() or "en")


def _insert(
    *,
    line: Line,
    binding: Binding,
    face_minor: int,
    owner: Person,
    period_key: str,
    ladder_s: Sequence[int],
    moves_at: datetime,
    at: datetime,
) -> Recharge:
    recharge = Recharge.objects.create(
        ref=new_reference(),
        line=line,
        owner_id=owner.pk,
        binding=binding,
        rail=binding.rail_id,
        sim_generation=line.sim_generation,
        trigger=Trigger.MANUAL,
        period_key=period_key,
        state=RechargeState.DUE,
        reason="opened",
        face_minor=face_minor,
        price_minor=face_minor,
        currency=line.currency,
        ladder_s=list(ladder_s),
        cap_day=day_key(moves_at, line.timezone),
        cap_month=month_key(moves_at, line.timezone),
        created_at=at,
        due_at=at,
        expires_at=moves_at + GRACE,
        act_at=at,
    )
    opened = Move(recharge.pk, "", RechargeState.DUE, "opened", at, actor_id=owner.pk)
    write_history([opened], at=at)
    return recharge


def open_for(*, line: Line) -> Recharge | None:
    """The recharge under way on a line, if there is one."""
    return Recharge.objects.filter(line=line, state__in=OPEN_STATES).first()
