"""The names of a line: number, card, chip, subscriber and activation code. Parse and mask them.

Each parser takes what a person typed and returns the canonical form, or raises
`InvalidIdentifier` with a sentence that says what to do. A sentence never holds the value itself:
it ends in logs, and whoever has an activation code has the line.

The law: docs/rules.md, Identifiers.
"""

import re
from dataclasses import dataclass, field

import phonenumbers
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from lines import typed

_HIDDEN = "****"
# Recharging, and a code sent to prove who holds the line, both need a mobile number.
_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_MAINLAND = 86
_MAX_TYPED = 300  # nothing genuine is longer; past it a parser only does a stranger's work

_FIGURES = re.compile(r"[0-9]+")
_NUMBER = re.compile(r"\+?[0-9]+")
_CARD = re.compile(r"[0-9A-Z]+")
_CARD_FILLER = re.compile(r"F{1,2}\Z")  # a 19 or 18 digit number padded to whole octets
_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MATCHING_ID = re.compile(r"[A-Za-z0-9-]*")
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


class InvalidIdentifier(ValueError):
    """What was typed is no such identifier. Show `sentence` at the field; write nothing."""

    def __init__(self, sentence: str | Promise) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Iccid:
    """A card's number. `warning` is a sentence where the issuer allows what others forbid."""

    value: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class ActivationCode:
    """What installs an eSIM profile. Secret: whoever installs it has the line."""

    smdp_address: str  # a host name, lower case
    matching_id: str = field(repr=False)  # may be empty; the SM-DP+ then goes by the EID
    oid: str = ""
    needs_confirmation_code: bool = False

    @property
    def text(self) -> str:
        """The form a person types into a phone: `1$host$matching-id[$oid[$1]]`."""
        parts = ["1", self.smdp_address, self.matching_id]
        if self.oid or self.needs_confirmation_code:
            parts.append(self.oid)
        if self.needs_confirmation_code:
            parts.append("1")
        return "$".join(parts)

    @property
    def qr_text(self) -> str:
        """The form a QR code carries: only there does the `LPA:` belong."""
        return f"LPA:{self.text}"


def parse_msisdn(text: str, *, region: str = "CN") -> str:
    """A mobile number as E.164, e.g. "+8613800000021". Raises InvalidIdentifier.

    `region` (ISO 3166) is assumed where no country code is given. The carrier is never inferred:
    numbers are ported.
    """
    digits = _compact(text, "()./-")
    if not digits:
        raise InvalidIdentifier(_("Enter the mobile number."))
    if not _NUMBER.fullmatch(digits):
        raise InvalidIdentifier(
            _("Write the number in figures only, with + and the country code if it is abroad.")
        )
    number = _read_number(digits, region)
    # A carrier's dialling prefix (17951…) is quietly dropped by the library. In a form it is far
    # likelier a slip, and what is left would be a stranger's number.
    if (
        number is None
        or number.preferred_domestic_carrier_code
        or not phonenumbers.is_valid_number(number)
    ):
        raise InvalidIdentifier(
            _("No such number. Check each digit; a number abroad starts with + and its country.")
        )
    if phonenumbers.number_type(number) not in _MOBILE:
        raise InvalidIdentifier(_("This is not a mobile number. Enter the number of the line."))
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def mask_msisdn(msisdn: str) -> str:
    """ "138 **** 0021" for the mainland, "+44 **** 1234" elsewhere. Never raises."""
    number = _read_number(msisdn, None)
    if number is None:
        return _HIDDEN if msisdn else ""
    national = phonenumbers.national_significant_number(number)
    if number.country_code == _MAINLAND and len(national) == 11:
        return f"{national[:3]} {_HIDDEN} {national[-4:]}"
    # Four digits of a six digit number would be most of it.
    shown = national[-4:] if len(national) >= 8 else national[-2:]
    return f"+{number.country_code} {_HIDDEN} {shown}"


def parse_iccid(text: str) -> Iccid:
    """A card's number: starts 89, 18 to 20 characters. Raises InvalidIdentifier.

    The check digit must be right, except on mainland cards (8986…), which may hold letters or
    lack it: there `Iccid.warning` asks to compare, and the number stands.
    """
    value = _CARD_FILLER.sub("", _compact(text, "-").upper())
    if not value:
        raise InvalidIdentifier(_("Enter the ICCID printed on the card."))
    if not _CARD.fullmatch(value) or not value.startswith("89"):
        raise InvalidIdentifier(
            _("An ICCID starts with 89. Copy the long number printed on the card.")
        )
    if not 18 <= len(value) <= 20:
        raise InvalidIdentifier(
            format_lazy(
                _("An ICCID has 18 to 20 digits, this has {count}. Copy all of them."),
                count=len(value),
            )
        )
    is_lenient = value.startswith("8986")
    if not value.isdigit() and not is_lenient:
        raise InvalidIdentifier(_("This ICCID may hold figures only. Compare it with the card."))
    if value.isdigit() and _luhn_holds(value):
        return Iccid(value)
    if not is_lenient:
        raise InvalidIdentifier(
            _("The check digit of this ICCID is wrong. Compare it with the card, digit by digit.")
        )
    return Iccid(
        value,
        gettext("The check digit of this ICCID cannot be verified. Compare it with the card."),
    )


def mask_iccid(iccid: str) -> str:
    """ "8944 **** 0222". Never raises."""
    return _ends(iccid)


def parse_eid(text: str) -> str:
    """The number of an eSIM chip: 32 digits, and mod 97 leaves 1. Raises InvalidIdentifier."""
    value = _compact(text, "-")
    if not value:
        raise InvalidIdentifier(_("Enter the EID shown in the phone's settings."))
    if not _FIGURES.fullmatch(value):
        raise InvalidIdentifier(_("An EID holds figures only. Copy it from the phone's settings."))
    if len(value) != 32:
        raise InvalidIdentifier(
            format_lazy(
                _("An EID has 32 digits, this has {count}. Copy all of them."), count=len(value)
            )
        )
    if int(value) % 97 != 1:
        raise InvalidIdentifier(
            _("The check digits of this EID are wrong. Compare it with the phone's settings.")
        )
    return value


def mask_eid(eid: str) -> str:
    """ "8904 **** 1235". Never raises."""
    return _ends(eid)


def parse_imsi(text: str) -> str:
    """A subscriber identity: 6 to 15 digits (MCC 3, MNC 2 or 3, MSIN). Raises InvalidIdentifier.

    Where MNC ends and MSIN begins depends on the country, so the whole is kept as one string.
    """
    value = _compact(text, "-")
    if not value:
        raise InvalidIdentifier(_("Enter the IMSI."))
    if not _FIGURES.fullmatch(value):
        raise InvalidIdentifier(_("An IMSI holds figures only."))
    if not 6 <= len(value) <= 15:
        raise InvalidIdentifier(
            format_lazy(_("An IMSI has at most 15 digits, this has {count}."), count=len(value))
            if len(value) > 15
            else _("This IMSI is too short. Copy all of its digits.")
        )
    return value


def mask_imsi(imsi: str) -> str:
    """ "4600 **** 6789". Never raises."""
    return _ends(imsi)


def parse_activation_code(text: str) -> ActivationCode:
    """Read `[LPA:]1$host$matching-id[$oid[$1]]`. Raises InvalidIdentifier."""
    code = _compact(text, "")
    if not code:
        raise InvalidIdentifier(_("Paste the activation code, or scan its QR code."))
    if code[:4].upper() == "LPA:":
        code = code[4:]
    version, *rest = code.split("$")
    if version != "1" or not 2 <= len(rest) <= 4:
        raise InvalidIdentifier(
            _("An activation code looks like LPA:1$server$code. Paste the whole of it.")
        )
    host, matching_id, oid, flag = [*rest, "", ""][:4]
    if len(rest) == 4 and flag != "1":
        raise InvalidIdentifier(
            _("The end of this activation code is not understood. Paste it again, unchanged.")
        )
    if oid and not _OID.fullmatch(oid):
        raise InvalidIdentifier(
            _("The server's OID in this activation code is wrong. Paste it again, unchanged.")
        )
    return ActivationCode(
        smdp_address=parse_smdp_address(host),
        matching_id=parse_matching_id(matching_id),
        oid=oid,
        needs_confirmation_code=flag == "1",
    )


def parse_smdp_address(text: str) -> str:
    """The server that holds a profile, as a lower-case host name. Raises InvalidIdentifier."""
    host = _compact(text, "").lower()
    labels = host.split(".")
    is_name = len(host) <= 253 and len(labels) >= 2 and all(map(_HOST_LABEL.fullmatch, labels))
    # A last label of figures only would be an IP address, which no SM-DP+ certificate names.
    if not is_name or labels[-1].isdigit():
        raise InvalidIdentifier(
            _("The SM-DP+ address must be a server's name, such as smdp.example.com.")
        )
    return host


def parse_matching_id(text: str) -> str:
    """The part of an activation code that names the profile; may be empty. Case is kept."""
    matching_id = _compact(text, "")
    if not _MATCHING_ID.fullmatch(matching_id):
        raise InvalidIdentifier(_("A matching ID holds letters, figures and hyphens only."))
    return matching_id


def mask_matching_id(matching_id: str) -> str:
    """ "**** F815": the end only, since the rest is a secret. Never raises."""
    if len(matching_id) < 12:
        return _HIDDEN if matching_id else ""
    return f"{_HIDDEN} {matching_id[-4:]}"


def _compact(text: str, separators: str) -> str:
    """`text` folded to ASCII without spaces and `separators`; too long a text is refused."""
    if len(text) > _MAX_TYPED:
        raise InvalidIdentifier(_("This is too long. Enter only the number or the code itself."))
    return "".join(char for char in typed.plain(text) if char != " " and char not in separators)


def _read_number(digits: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(digits, region, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return None


def _luhn_holds(digits: str) -> bool:
    """Luhn's check over all of `digits`, the last of them being the check digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0


def _ends(value: str) -> str:
    """The first and last four of a long value; nothing of a short one."""
    if len(value) < 12:
        return _HIDDEN if value else ""
    return f"{value[:4]} {_HIDDEN} {value[-4:]}"
