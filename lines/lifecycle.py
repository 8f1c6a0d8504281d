"""A line's life: put in, proven, renamed, suspended and back, given another SIM, gone.

A line that is put in is only somebody's claim. It goes live when its owner has shown that they
hold it: by a code sent to the number, or, for a data-only eSIM, by its activation code and the
carrier's word that the card exists. A number or a card is live for one owner at a time; the
database holds that. Of two owners of a number, it is whose code was sent later: carriers give a
number to somebody else when it has lain idle. A card stays with whoever was first.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from lines import claims, deliveries, identifiers, proof_codes
from lines.carriers import Row
from lines.carriers.base import Balance, CarrierAdapter, LineAddress, NotFound
from lines.claims import NumberTaken, WrongField
from lines.identifiers import ActivationCode
from lines.models import Carrier, EsimProfile, Line, LineKind, LineStatus
from lines.models.lines import GONE_STATUSES
from lines.proof_codes import ProofRequest, TooManyCodes

__all__ = ["NumberTaken", "ProofRequest", "TooManyCodes", "WrongField"]


class WrongCode(Exception):
    """Not the code that was sent. With no `tries_left`, only a new code helps."""

    field = "code"

    def __init__(self, tries_left: int) -> None:
        super().__init__(f"{tries_left} tries left")
        self.tries_left = tries_left


class CodeExpired(Exception):
    """No code that still holds: too old, used, tried too often, or none was asked for."""

    field = "code"


class NotProvable(Exception):
    """There is nothing to prove in this way: the line is live or gone, or has no number."""


class NotAtCarrier(Exception):
    """The carrier has no such card. Check the ICCID, and the carrier chosen."""

    field = "iccid"


class CarrierSilent(Exception):
    """The carrier did not answer, so nothing is known. Try again later."""


class IllegalStatus(ValueError):
    """A line that is gone stays gone, and one that is not proven does not go live."""


class NotYours(Exception):
    """Only its owner sees an activation code; an edge answers 404."""


class NoActivationCode(Exception):
    """The line has no eSIM profile that could still be installed."""


class Carriers(Protocol):
    """`lines.carriers`, or what stands in for it in a test."""

    def adapter_for(self, carrier: Row) -> CarrierAdapter: ...


# --- putting a line in --------------------------------------------------------------------------


def add_fm(
    *,
    owner: Any,
    carrier: Carrier,
    msisdn: str,
    iccid: str,
    label: str = "",
    timezone: str,
    at: datetime,
) -> Line:
    """Put in a physical card, not verified yet. Raises WrongField (InvalidIdentifier), NumberTaken.

    An earlier one of the same owner and number that was never proven is replaced, so this may be
    called twice. Where an ICCID only earns a warning, `identifiers.parse_iccid` gives its sentence.
    """
    number = claims.parsed("msisdn", identifiers.parse_msisdn, msisdn)
    card = claims.parsed("iccid", identifiers.parse_iccid, iccid).value
    line = _claim(
        kind=LineKind.FM,
        owner=owner,
        carrier=carrier,
        msisdn=number,
        iccid=card,
        label=claims.label(label),
        timezone=timezone,
        created_at=at,
    )
    with transaction.atomic():
        _replace_unproven(line)
        line.save()
    return line


def add_esim(
    *,
    owner: Any,
    carrier: Carrier,
    activation_code: str = "",
    smdp_address: str = "",
    matching_id: str = "",
    eid: str = "",
    iccid: str = "",
    msisdn: str = "",
    label: str = "",
    timezone: str,
    at: datetime,
) -> Line:
    """Put in an eSIM, by its activation code or that code's parts; as `add_fm` otherwise.

    It needs a number, or an ICCID where it is for data only.
    """
    code = claims.profile(
        activation_code=activation_code, smdp_address=smdp_address, matching_id=matching_id
    )
    chip = claims.parsed("eid", identifiers.parse_eid, eid) if eid.strip() else ""
    if not code.matching_id and not chip:
        raise WrongField("eid", _("Without a matching ID the EID is needed. Enter it too."))
    number, card = claims.number_and_card(msisdn=msisdn, iccid=iccid)
    line = _claim(
        kind=LineKind.ESIM,
        owner=owner,
        carrier=carrier,
        msisdn=number,
        iccid=card,
        label=claims.label(label),
        timezone=timezone,
        created_at=at,
    )
    with transaction.atomic():
        _replace_unproven(line)
        line.save()
        _save_profile(line, code, eid=chip)
    return line


def _claim(*, carrier: Carrier, timezone: str, **given: Any) -> Line:
    """An unsaved line that nobody else holds, at a carrier that is served."""
    claims.check_place(carrier=carrier, timezone=timezone)
    line = Line(carrier=carrier, timezone=timezone, currency=carrier.currency, **given)
    claims.check_free(line)
    return line


def _save_profile(line: Line, code: ActivationCode, *, eid: str) -> None:
    EsimProfile.objects.create(
        line=line,
        eid=eid,
        smdp_address=code.smdp_address,
        matching_id=code.matching_id,
        oid=code.oid,
        needs_confirmation_code=code.needs_confirmation_code,
        ci_key=code.ci_key,
        tells_device_change=code.tells_device_change,
    )


def _replace_unproven(line: Line) -> None:
    """Forget the owner's earlier, unproven tries at the same line: one claim, one row."""
    same = Q(msisdn=line.msisdn) if line.msisdn else Q(iccid=line.iccid, msisdn="")
    Line.objects.filter(
        same, owner=line.owner, status=LineStatus.UNVERIFIED, verified_at__isnull=True
    ).update(status=LineStatus.REMOVED, poll_at=None)


# --- proving it ---------------------------------------------------------------------------------


def send_proof(*, line: Line, carriers: Carriers, at: datetime) -> bool:
    """Text a new code to the line's number; False: the carrier did not take it.

    A data-only eSIM has no number to text, so it is proven by its card at once: True means live.
    Not inside a transaction. Raises TooManyCodes, NotProvable, NumberTaken, CarrierNotConfigured.
    """
    if not line.msisdn:
        try:
            prove_by_card(line=line, carriers=carriers, at=at)
        except (NotAtCarrier, CarrierSilent):
            return False
        return True
    adapter = carriers.adapter_for(line.carrier)
    request = request_proof(line=line, at=at)
    with translation.override(line.owner.language):
        text = gettext(
            "Keepline: {code} is your code to verify this line, for 10 minutes. Tell it to nobody."
        ).format(code=request.code)
    return adapter.send_code(address=_address(line), text=text)


def request_proof(*, line: Line, at: datetime) -> ProofRequest:
    """A fresh code for the line's number; any earlier one ends. The caller sends it.

    At most three within an hour for a line and for a number, whoever's lines it is on. Raises
    TooManyCodes, and NotProvable for a line that is live or gone or has no number.
    """
    with transaction.atomic():
        # Locking every claim to this number makes their requests queue: the count below is true.
        locked = claims.locked(line)
        if not line.msisdn or locked[line.pk].status != LineStatus.UNVERIFIED:
            raise NotProvable(line.public_id)
        return proof_codes.issue(line=locked[line.pk], at=at)


def prove(
    *, line: Line, code: str, at: datetime, gave_way: Callable[[Line], object] | None = None
) -> Line:
    """Make the line live by the last code sent. A line that is live already is left as it is.

    Another owner's line of that number, proven before the code was sent, ends: `gave_way` is told
    of it in the same transaction. What charges it looks at its status, told or not; whoever has
    money in hand calls `billing.plans.handovers.prove`, which tells its owner too.

    A wrong try is counted for good, so never call this inside a transaction. Raises WrongCode,
    CodeExpired, NumberTaken (someone was later, or has the card), NotProvable.
    """
    with transaction.atomic(durable=True):
        same = claims.locked(line)
        locked = _provable(same[line.pk])
        if locked.is_live:
            return locked
        proof = proof_codes.last(line=locked, at=at)
        if proof is None:
            raise CodeExpired
        is_right = proof_codes.is_right(proof=proof, code=code)
        if is_right:
            proof.used_at = at
            for old in claims.outweighed(same, locked, by=proof):
                _end(old)
                if gave_way is not None:
                    gave_way(old)
            _go_live(locked, at=at)
        else:
            proof.tries_left -= 1
        proof.save(update_fields=["used_at", "tries_left"])
    if not is_right:
        raise WrongCode(proof.tries_left)
    return locked


def prove_by_card(*, line: Line, carriers: Carriers, at: datetime) -> Line:
    """Make a data-only eSIM live: its owner has the activation code, its carrier knows the card.

    Asks the carrier for the card's balance, outside any transaction. May be called again. Raises
    NotProvable, NotAtCarrier, CarrierSilent, NumberTaken, CarrierNotConfigured.
    """
    if line.is_live:
        return line
    if line.msisdn or not EsimProfile.objects.filter(line=line).exclude(matching_id="").exists():
        raise NotProvable(line.public_id)
    answer = carriers.adapter_for(line.carrier).balance(address=_address(line))
    with transaction.atomic():
        deliveries.record_calls(answer.exchanges, at=at)
    if isinstance(answer.outcome, NotFound):
        raise NotAtCarrier
    if not isinstance(answer.outcome, Balance):
        raise CarrierSilent
    with transaction.atomic():
        locked = _provable(Line.objects.select_for_update(no_key=True).get(pk=line.pk))
        if not locked.is_live:
            _go_live(locked, at=at)
    return locked


def _provable(line: Line) -> Line:
    """The row, if it is live or can yet be. Raises NotProvable."""
    if line.status in GONE_STATUSES:
        raise NotProvable(line.public_id)
    return line


def _end(line: Line) -> None:
    """The carrier gave its number to somebody else. Not removed: its owner is to see what became
    of it."""
    line.status, line.poll_at = LineStatus.TERMINATED, None
    line.save(update_fields=["status", "poll_at"])


def _go_live(line: Line, *, at: datetime) -> None:
    line.status, line.verified_at, line.poll_at = LineStatus.ACTIVE, at, at
    try:
        with transaction.atomic():
            line.save(update_fields=["status", "verified_at", "poll_at"])
    except IntegrityError as error:
        # Not chained: the database's own words name the number.
        diagnosis = getattr(error.__cause__, "diag", None)
        is_card = getattr(diagnosis, "constraint_name", "") == "line_card_proven_once"
        raise NumberTaken("iccid" if is_card else "msisdn") from None


def _address(line: Line) -> LineAddress:
    return LineAddress(msisdn=line.msisdn, iccid=line.iccid)


# --- afterwards ---------------------------------------------------------------------------------


def rename(*, line: Line, label: str, at: datetime) -> Line:
    """Call it something else. Raises WrongField."""
    del at
    line.label = claims.label(label)
    line.save(update_fields=["label"])
    return line


def mark(*, line: Line, status: str, at: datetime) -> Line:
    """Take over what the carrier (or an operator) says of a proven line. May be called twice.

    Raises IllegalStatus: for a line that is gone, and for one not proven that would go live.
    """
    if status in (LineStatus.UNVERIFIED, LineStatus.REMOVED):
        raise IllegalStatus(status)
    with transaction.atomic():
        locked = Line.objects.select_for_update(no_key=True).get(pk=line.pk)
        if locked.status == status:
            return locked
        is_gone = locked.status in GONE_STATUSES
        if is_gone or (not locked.is_live and status not in GONE_STATUSES):
            raise IllegalStatus(f"{locked.status} -> {status}")
        locked.status = status
        if not locked.is_live:
            locked.poll_at = None
        elif status == LineStatus.ACTIVE:
            locked.poll_at = at  # it is back: what it holds now is worth asking
        locked.save(update_fields=["status", "poll_at"])
    return locked


def replace_sim(*, line: Line, iccid: str, at: datetime) -> Line:
    """The line has another card. It must be proven again: the number may be a stranger's by now.

    Its rule stays with the old generation, so nothing is charged until it is confirmed anew. The
    same card again changes nothing. Raises WrongField, NumberTaken, IllegalStatus.
    """
    del at
    card = claims.parsed("iccid", identifiers.parse_iccid, iccid).value
    with transaction.atomic():
        locked = Line.objects.select_for_update(no_key=True).get(pk=line.pk)
        if locked.iccid == card:
            return locked
        if locked.status in GONE_STATUSES:
            raise IllegalStatus(locked.status)
        locked.iccid, locked.status, locked.poll_at = card, LineStatus.UNVERIFIED, None
        claims.check_free(locked)
        locked.sim_generation += 1
        locked.save(update_fields=["iccid", "status", "poll_at", "sim_generation"])
        EsimProfile.objects.filter(line=locked).update(state=EsimProfile.State.DELETED)
    return locked


def remove(*, line: Line, at: datetime) -> Line:
    """Take it off its owner's list; its history stays. Its rule is stopped by billing, before.

    May be called twice.
    """
    del at
    line.status, line.poll_at = LineStatus.REMOVED, None
    line.save(update_fields=["status", "poll_at"])
    return line


def activation_code(*, line: Line, actor: Any) -> ActivationCode:
    """What installs the eSIM: `.text` to type, `.qr_text` to scan. A secret: do not log or cache.

    Raises NotYours for anyone but the owner, staff included, and NoActivationCode.
    """
    if line.owner.pk != actor.pk:
        raise NotYours
    deleted = EsimProfile.State.DELETED
    profile = EsimProfile.objects.filter(line=line).exclude(state=deleted).first()
    if profile is None:
        raise NoActivationCode
    return ActivationCode(
        smdp_address=profile.smdp_address,
        matching_id=profile.matching_id,
        oid=profile.oid,
        needs_confirmation_code=profile.needs_confirmation_code,
        ci_key=profile.ci_key,
        tells_device_change=profile.tells_device_change,
    )
