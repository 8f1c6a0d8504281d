"""The names of a line: number, card, chip, subscriber and activation code. Parse and mask them.

Each parser takes what a person typed and returns the canonical form, or raises
`InvalidIdentifier` with a sentence that says what to do. A sentence never holds the value itself:
it ends in logs, and whoever has an activation code has the line.

The law: docs/rules.md, Identifiers.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

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
_MAX_LINK = 600  # but a link that carries an activation code is, with its percent signs

_FIGURES = re.compile(r"[0-9]+")
_NUMBER = re.compile(r"\+?[0-9]+")
_CARD = re.compile(r"[0-9A-Z]+")
_CARD_FILLER = re.compile(r"\AF{1,2}|F{1,2}\Z")  # a 19 or 18 digit number padded to octets
# A mainland number is 11 figures, or 13 where it is for data.
_MAINLAND_FIGURES = re.compile(r"1[3-9][0-9]{9}|14[0-9]{11}|106[0-9]{10}")
# A cell that was taken for a quantity: "+491511234567.0" is another person's number once the
# point goes, and "8.94E+18" has lost its last figures.
_CELL = re.compile(r"[+']?[0-9]{7,}[.,]0+|[0-9]([.,][0-9]+)?E\+?[0-9]+", re.IGNORECASE)
_CELL_FIGURES = 15  # as many as a spreadsheet keeps of a quantity; the rest become noughts
_TOO_LONG = _("This is too long. Enter only the number or the code itself.")
_DAMAGED = _("A spreadsheet has changed this number. Copy it from its source, as text.")
_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MATCHING_ID = re.compile(r"[A-Za-z0-9-]*")
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_CI_KEY = re.compile(r"([0-9A-Fa-f]{2}){1,32}")


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
    ci_key: str = ""  # since SGP.22 v3: whose root key the server's certificate goes back to
    tells_device_change: bool = False  # since v3: deleting it for another phone is reported

    @property
    def text(self) -> str:
        """What a person types into a phone: `1$host$matching-id[$oid[$1[$ci-key[$1]]]]`."""
        told = [
            self.oid,
            "1" if self.needs_confirmation_code else "",
            self.ci_key,
            "1" if self.tells_device_change else "",
        ]
        while told and not told[-1]:
            told.pop()
        return "$".join(["1", self.smdp_address, self.matching_id, *told])

    @property
    def qr_text(self) -> str:
        """The form a QR code carries: only there does the `LPA:` belong."""
        return f"LPA:{self.text}"


def parse_msisdn(text: str, *, region: str = "CN") -> str:
    """A mobile number as E.164, e.g. "+8613800000021". Raises InvalidIdentifier.

    `region` (ISO 3166) is assumed where no country code is given. The carrier is never inferred:
    numbers are ported. A number that the library does not know is taken, since possession is
    proven by a code that is sent to it; `msisdn_warning` asks to compare it.
    """
    digits = _figures(_without_tel(text), "()./-")
    if not digits:
        raise InvalidIdentifier(_("Enter the mobile number."))
    if not _NUMBER.fullmatch(digits):
        raise InvalidIdentifier(
            _("Write the number in figures only, with + and the country code if it is abroad.")
        )
    number = _read_number(digits, region)
    # A carrier's dialling prefix (17951…) is quietly dropped by the library. In a form it is far
    # likelier a slip, and what is left would be a stranger's number.
    if number is None or number.preferred_domestic_carrier_code or not _may_exist(number):
        raise InvalidIdentifier(
            _("No such number. Check each digit; a number abroad starts with + and its country.")
        )
    kind = phonenumbers.number_type(number)
    if kind not in _MOBILE and kind != PhoneNumberType.UNKNOWN:
        raise InvalidIdentifier(_("This is not a mobile number. Enter the number of the line."))
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def msisdn_warning(msisdn: str) -> str | None:
    """A sentence about a number that `parse_msisdn` took though the library does not know it."""
    number = _read_number(msisdn, None)
    if number is None or phonenumbers.is_valid_number(number):
        return None
    return gettext("This number is of a kind we do not know. Check each digit of it.")


def _without_tel(text: str) -> str:
    """What a `tel:` link calls (RFC 3966), its country put before it where it stands apart."""
    link = typed.plain(text)
    if link[:4].lower() != "tel:":
        return text
    called, *more = unquote(link[4:]).split(";")
    told = {name.lower(): value for name, _is, value in (one.partition("=") for one in more)}
    country = told.get("phone-context", "")
    if "ext" in told or "isub" in told:  # an extension of it is no line of its own
        return f"{called};"
    return called if called.startswith("+") or not country.startswith("+") else country + called


def _may_exist(number: PhoneNumber) -> bool:
    """Whether the library knows it, or it has at least the shape of its country's numbers."""
    if phonenumbers.is_valid_number(number):
        return True
    if number.country_code == _MAINLAND:
        national = phonenumbers.national_significant_number(number)
        return _MAINLAND_FIGURES.fullmatch(national) is not None
    reason = phonenumbers.is_possible_number_with_reason(number)
    return reason == phonenumbers.ValidationResult.IS_POSSIBLE


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

    The check digit must be right. Two kinds of card stand without, and `Iccid.warning` asks to
    compare them: mainland ones (8986…), which may hold letters or lack it, and a number of 18
    figures, which is what is printed where the last of 19 is left out.
    """
    value = _CARD_FILLER.sub("", _figures(text).upper())
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
    is_mainland = value.startswith("8986")
    if not value.isdigit() and not is_mainland:
        raise InvalidIdentifier(_("This ICCID may hold figures only. Compare it with the card."))
    if value.isdigit() and _luhn_holds(value):
        return Iccid(value)
    if len(value) > 18 and not value[_CELL_FIGURES:].strip("0"):
        raise InvalidIdentifier(_DAMAGED)
    if is_mainland:
        sentence = _("The check digit of this ICCID cannot be verified. Compare it with the card.")
        return Iccid(value, str(sentence))
    if len(value) == 18:
        return Iccid(value, gettext("This ICCID seems to lack its last digit. Look at the card."))
    raise InvalidIdentifier(
        _("The check digit of this ICCID is wrong. Compare it with the card, digit by digit.")
    )


def mask_iccid(iccid: str) -> str:
    """ "8944 **** 0222". Never raises."""
    return _ends(iccid)


def parse_eid(text: str) -> str:
    """The number of an eSIM chip: 32 digits, and mod 97 leaves 1. Raises InvalidIdentifier."""
    value = _figures(text)
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
        if not value[_CELL_FIGURES:].strip("0"):
            raise InvalidIdentifier(_DAMAGED)
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
    value = _figures(text)
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
    """Read `[LPA:]1$host$matching-id[$oid[$1[$ci-key[$1]]]]`, or a link that installs it.

    The last two fields came with SGP.22 v3. Raises InvalidIdentifier.
    """
    code = _without_link(_compact(text, "", longest=_MAX_LINK))
    if len(code) > _MAX_TYPED:
        raise InvalidIdentifier(_TOO_LONG)
    if not code:
        raise InvalidIdentifier(_("Paste the activation code, or scan its QR code."))
    if code[:4].upper() == "LPA:":
        code = code[4:]
    version, *rest = code.split("$")
    while len(rest) > 2 and not rest[-1]:  # fields that say nothing, where nothing comes after
        rest.pop()
    if version != "1" or not 2 <= len(rest) <= 6:
        raise InvalidIdentifier(
            _("An activation code looks like LPA:1$server$code. Paste the whole of it.")
        )
    host, matching_id, oid, flag, ci_key, change = [*rest, "", "", "", ""][:6]
    if oid and not _OID.fullmatch(oid):
        raise InvalidIdentifier(
            _("The server's OID in this activation code is wrong. Paste it again, unchanged.")
        )
    is_key = not ci_key or _CI_KEY.fullmatch(ci_key) is not None
    if not is_key or {flag, change} - {"", "1"}:
        raise InvalidIdentifier(
            _("The end of this activation code is not understood. Paste it again, unchanged.")
        )
    return ActivationCode(
        smdp_address=parse_smdp_address(host),
        matching_id=parse_matching_id(matching_id),
        oid=oid,
        needs_confirmation_code=flag == "1",
        ci_key=ci_key,
        tells_device_change=change == "1",
    )


def _without_link(code: str) -> str:
    """The code that an install link carries (`https://…?carddata=LPA:1$…`); else as it is."""
    if code[:8].lower() != "https://":
        return code
    try:
        carried = [value for _name, value in parse_qsl(urlsplit(code).query)]
    except ValueError:  # brackets of no address
        return code
    return next((value for value in carried if value[:4].upper() == "LPA:"), code)


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


def _figures(text: str, separators: str = "-") -> str:
    """`_compact`, of what is a number: one that a spreadsheet took for a quantity is refused."""
    if _CELL.fullmatch(_compact(text, "")):
        raise InvalidIdentifier(_DAMAGED)
    return _compact(text, separators)


def _compact(text: str, separators: str, *, longest: int = _MAX_TYPED) -> str:
    """`text` folded to ASCII without spaces and `separators`; too long a text is refused."""
    if len(text) > longest:
        raise InvalidIdentifier(_TOO_LONG)
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
