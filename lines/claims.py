"""What a person types about a line, checked: a claim, not yet a line. Errors name their field."""

from collections.abc import Callable
from typing import ClassVar, TypeVar

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from lines import identifiers, zones
from lines.identifiers import ActivationCode, InvalidIdentifier
from lines.models import LIVE_STATUSES, Carrier, Line, LineProof, LineStatus

LONGEST_LABEL = 40
_LONGEST_OID = 64

Parsed = TypeVar("Parsed")


class WrongField(InvalidIdentifier):
    """What was typed in `field` will not do. Show `sentence` there; nothing was written."""

    def __init__(self, field: str, sentence: str | Promise) -> None:
        super().__init__(sentence)
        self.field = field


class NumberTaken(Exception):
    """The number (or card) in `field` is live already. Show `sentence`; nothing was written."""

    _SENTENCES: ClassVar[dict[str, str | Promise]] = {
        "msisdn": _(
            "Someone else verified this number after your code was sent. Ask for a new code."
        ),
        "iccid": _(
            "This card is verified by someone else here. Compare the ICCID, or ask them to remove"
            " it first."
        ),
    }

    def __init__(self, field: str, *, is_own: bool = False) -> None:
        super().__init__(field)
        self.field = field
        own = _("This is among your lines already.")
        self.sentence: str | Promise = own if is_own else self._SENTENCES[field]


def parsed(name: str, parse: Callable[[str], Parsed], text: str) -> Parsed:
    """What `parse` makes of `text`. Raises WrongField for the field `name`."""
    try:
        return parse(text)
    except InvalidIdentifier as refusal:
        raise WrongField(name, refusal.sentence) from refusal


def profile(*, activation_code: str, smdp_address: str, matching_id: str) -> ActivationCode:
    """The code as pasted, or made of its parts; given both ways, they must say the same."""
    has_parts = bool(smdp_address.strip() or matching_id.strip())
    if has_parts and not activation_code.strip():
        return _of_parts(smdp_address, matching_id)
    whole = parsed("activation_code", identifiers.parse_activation_code, activation_code)
    if len(whole.oid) > _LONGEST_OID:
        raise WrongField("activation_code", _("The server's OID in it is too long."))
    bare = ActivationCode(whole.smdp_address, whole.matching_id)
    if has_parts and _of_parts(smdp_address, matching_id) != bare:
        raise WrongField(
            "activation_code", _("It does not match the address and ID below. Give one of them.")
        )
    return whole


def _of_parts(smdp_address: str, matching_id: str) -> ActivationCode:
    return ActivationCode(
        smdp_address=parsed("smdp_address", identifiers.parse_smdp_address, smdp_address),
        matching_id=parsed("matching_id", identifiers.parse_matching_id, matching_id),
    )


def number_and_card(*, msisdn: str, iccid: str) -> tuple[str, str]:
    """An eSIM's number and ICCID, one of which may be left out. Raises WrongField."""
    number = parsed("msisdn", identifiers.parse_msisdn, msisdn) if msisdn.strip() else ""
    card = parsed("iccid", identifiers.parse_iccid, iccid).value if iccid.strip() else ""
    if not number and not card:
        raise WrongField("iccid", _("Enter the number, or the ICCID of an eSIM without one."))
    return number, card


def label(text: str) -> str:
    """A line's name: one line of printable text, maybe empty. Raises WrongField."""
    name = "".join(char for char in " ".join(text.split()) if char.isprintable())
    if len(name) > LONGEST_LABEL:
        sentence = _("A name has at most {most} characters, this has {count}.")
        raise WrongField("label", format_lazy(sentence, most=LONGEST_LABEL, count=len(name)))
    return name


def check_place(*, carrier: Carrier, timezone: str) -> None:
    """Raises WrongField for a carrier not served, or a time zone that is none."""
    if not carrier.is_enabled:
        raise WrongField("carrier", _("This carrier is not served now. Choose another one."))
    if not zones.is_zone(timezone):
        raise WrongField("timezone", _("There is no such time zone. Choose one of the list."))


def check_free(line: Line) -> None:
    """Raises NumberTaken. A courtesy: only the database's constraint holds against a race.

    A number that another owner has proven may be claimed: whose it is today, a code will say, and
    until then nobody learns that it is known here. A card may not, but with that number.
    """
    own = Q(owner=line.owner) & (
        Q(status__in=LIVE_STATUSES) | Q(status=LineStatus.UNVERIFIED, verified_at__isnull=False)
    )
    others = ~Q(owner=line.owner) & Q(status__in=LIVE_STATUSES)
    if line.msisdn:
        others &= ~Q(msisdn=line.msisdn)
    for name, held in (("msisdn", own), ("iccid", own), ("iccid", others)):
        value = getattr(line, name)
        if value and Line.objects.filter(held, **{name: value}).exclude(pk=line.pk).exists():
            raise NumberTaken(name, is_own=held is own)


def locked(line: Line) -> dict[int, Line]:
    """Every line of the number, whoever's, locked in the one order; without a number, this one."""
    of_number = Q(msisdn=line.msisdn) if line.msisdn else Q(pk=line.pk)
    same = Line.objects.filter(of_number).order_by("pk")
    return {one.pk: one for one in same.select_for_update(no_key=True)}


def outweighed(same: dict[int, Line], line: Line, *, by: LineProof) -> list[Line]:
    """Other owners' live lines of the number, all proven before that code went out.

    The code's own time counts, not that of its entry: one that was sent before another proved the
    number says only who held it then. Raises NumberTaken.
    """
    holders = [one for one in same.values() if one.is_live and one.pk != line.pk]
    for one in holders:
        is_own = one.owner_id == line.owner_id
        if is_own or (one.verified_at is not None and one.verified_at >= by.sent_at):
            raise NumberTaken("msisdn", is_own=is_own)
    return holders
