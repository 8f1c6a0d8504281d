"""What a person types about a line, checked: a claim, not yet a line. Errors name their field."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from lines import identifiers, zones
from lines.identifiers import ActivationCode, InvalidIdentifier
from lines.models import LIVE_STATUSES, Carrier, Line, LineStatus

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

    def __init__(self, field: str, *, is_own: bool = False) -> None:
        super().__init__(field)
        self.field = field
        self.sentence: str | Promise = (
            _("This is among your lines already.")
            if is_own
            else _("This line is verified by someone else here. Ask them to remove it first.")
        )


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
    bare = replace(whole, oid="", needs_confirmation_code=False)
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
    """Raises NumberTaken. A courtesy: only the database's constraint holds against a race."""
    held = Q(status__in=LIVE_STATUSES) | Q(
        status=LineStatus.UNVERIFIED, verified_at__isnull=False, owner=line.owner
    )
    for name in ("msisdn", "iccid"):
        value = getattr(line, name)
        same = Line.objects.filter(held, **{name: value}) if value else Line.objects.none()
        holders = set(same.exclude(pk=line.pk).values_list("owner", flat=True))
        if holders:
            raise NumberTaken(name, is_own=line.owner.pk in holders)
