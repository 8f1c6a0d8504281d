"""One reported row: what it says, or why it is refused.

A row that is plainly good is read here, in a few microseconds. Any other goes through the
serializer, which says what is wrong with it, or finds that it may be written that way too.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from billing import rowsets
from billing.money import MAX_AMOUNT_MINOR
from billing.rules.balances import Reading
from billing.rules.readings import Became
from lines import validity, zones
from lines.models import LIVE_STATUSES, Carrier
from lines.validity import UNSAID
from portal.api import card_numbers
from portal.api.errors import problem_of
from portal.api.fields import EARLIEST_YEAR, LATEST_YEAR
from portal.api.refusals import CardNumber
from portal.api.serializers.lines import MOST_MINOR, ReadingIn

Result = dict[str, Any]

# Stands for a row of a stream that held a card number: nothing of it is looked at.
CARD = object()
_NAMES = ("line", "msisdn", "iccid")
_FIELDS = frozenset(
    {*_NAMES, "balance_minor", "reserved_minor", "currency", "observed_at", "sequence"}
    | {"valid_until"}
)
_LONGEST_INSTANT = 40
_MOST_SEQUENCE = 2**63 - 1
_LIVE = [status.value for status in LIVE_STATUSES]
_LINES = """
SELECT id, public_id, msisdn, iccid, currency, timezone FROM lines_line
WHERE carrier_id = %b AND status = ANY(%b) AND {named} = ANY(%b)"""
_COLUMNS = {"line": "public_id", "msisdn": "msisdn", "iccid": "iccid"}


class Said(NamedTuple):
    """What a row says, of a line named in one way."""

    name: str
    value: str
    currency: str
    balance_minor: int
    observed_at: datetime
    reserved_minor: int
    sequence: int | None
    valid_until: Any  # as written; UNSAID where it is not


class Named(NamedTuple):
    """One row of `_LINES`."""

    id: int
    public_id: str
    msisdn: str
    iccid: str
    currency: str
    timezone: str


def read(items: Sequence[Any], *, carrier: Carrier) -> list[Reading | Result]:
    """Each row as a reading of a line of the carrier's, or the result of its refusal."""
    said: list[Said | Result] = [_plainly(item) or _carefully(item) for item in items]
    known = _lines([one for one in said if isinstance(one, Said)], carrier=carrier)
    for index, one in enumerate(said):
        if isinstance(one, Said) and one.name != "line" and (one.name, one.value) not in known:
            said[index] = _carefully(items[index])  # it may be written otherwise
    known |= _lines(
        [one for one in said if isinstance(one, Said) and (one.name, one.value) not in known],
        carrier=carrier,
    )
    return [one if isinstance(one, dict) else _reading(one, known) for one in said]


def holds_card_number(items: Iterable[Any]) -> bool:
    """Whether a row holds one where it could: in what is plainly read there is no room for it."""
    return any(
        card_numbers.holds_one(item)
        for item in items
        if (said := _plainly(item)) is None or said.valid_until is not UNSAID
    )


def result_of(became: Became) -> Result:
    if became in (Became.APPLIED, Became.KEPT):
        return {"result": became.value}
    if became is Became.FROM_THE_FUTURE:
        sentence = _("The balance is dated in the future. Check the sender's clock.")
        return refused(ValidationError({"observed_at": [sentence]}), code=became.value)
    sentence = _("It could not be kept. Send it again later.")
    return refused(ValidationError([sentence]), code=became.value)


def refused(error: Exception, *, code: str = "") -> Result:
    problem = problem_of(error)
    if problem is None:
        raise error
    return {
        "result": "refused",
        "code": code or problem.code,
        "detail": problem.detail,
        "errors": dict(problem.errors),
    }


# --- what it says ---------------------------------------------------------------------------------


def _plainly(item: Any) -> Said | None:
    """None: not as it is mostly written."""
    if type(item) is not dict or not item.keys() <= _FIELDS:
        return None
    names = [name for name in _NAMES if name in item]
    observed_at = _instant(item.get("observed_at"))
    if len(names) != 1 or observed_at is None:
        return None
    value, sequence = item[names[0]], item.get("sequence")
    reserved_minor = item.get("reserved_minor", 0)
    currency: Any = item.get("currency")
    balance_minor: Any = item.get("balance_minor")
    is_plain = (
        _is_code(value, longest=26)
        and _is_code(currency, longest=3)
        and type(balance_minor) is int
        and -MOST_MINOR <= balance_minor <= MOST_MINOR
        and type(reserved_minor) is int
        and 0 <= reserved_minor <= MAX_AMOUNT_MINOR
        and (sequence is None or (type(sequence) is int and 0 <= sequence <= _MOST_SEQUENCE))
    )
    if not is_plain:
        return None
    until = item.get("valid_until", UNSAID)
    return Said(
        names[0], value, currency, balance_minor, observed_at, reserved_minor, sequence, until
    )


def _is_code(value: Any, *, longest: int) -> bool:
    """Short, and nothing in it that a field would take off."""
    return type(value) is str and 3 <= len(value) <= longest and value.lstrip("+").isalnum()


def _instant(text: Any) -> datetime | None:
    if type(text) is not str or len(text) > _LONGEST_INSTANT or "T" not in text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    is_near = EARLIEST_YEAR < instant.year < LATEST_YEAR
    return instant if instant.tzinfo is not None and is_near else None


def _carefully(item: Any) -> Said | Result:
    if item is CARD:
        return refused(CardNumber())
    # REST framework has words of its own for null: let it be as wrong as any other non-object.
    row = ReadingIn(data=[] if item is None else item)
    if not row.is_valid():
        return refused(ValidationError(row.errors))
    values = row.validated_data
    name = next(name for name in _NAMES if name in values)
    return Said(
        name,
        values[name],
        values["currency"],
        values["balance_minor"],
        values["observed_at"],
        values["reserved_minor"],
        values.get("sequence"),
        values.get("valid_until", UNSAID),
    )


# --- of which line --------------------------------------------------------------------------------


def _lines(said: Sequence[Said], *, carrier: Carrier) -> dict[tuple[str, str], Named]:
    """The carrier's proven lines that are named, by the name used. Any other is not there."""
    found: dict[tuple[str, str], Named] = {}
    for name, named in _COLUMNS.items():
        values = [one.value for one in said if one.name == name]
        if values:
            params = [carrier.pk, _LIVE, values]
            rows = rowsets.read(_LINES.format(named=named), params, into=Named)
            found |= {(name, getattr(row, named)): row for row in rows}
    return found


def _reading(said: Said, known: Mapping[tuple[str, str], Named]) -> Reading | Result:
    line = known.get((said.name, said.value))
    if line is None:
        sentence = _("There is no such line of this carrier here.")
        return refused(ValidationError({said.name: [sentence]}), code="unknown_line")
    if said.currency != line.currency:
        sentence = _("This line is kept in %(currency)s.") % {"currency": line.currency}
        return refused(ValidationError({"currency": [sentence]}), code="currency_differs")
    until = said.valid_until
    if until is not UNSAID:
        until = validity.parsed(until, zone=zones.zone_of(line.timezone))
    return Reading(
        line.id, said.balance_minor, said.observed_at, said.reserved_minor, said.sequence, until
    )
