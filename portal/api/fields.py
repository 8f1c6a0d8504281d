"""What a field of a request may be. Strict: a number is no text, an unknown name is no slip."""

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any, NoReturn

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.money import MAX_AMOUNT_MINOR
from lines import identifiers, zones

# PostgreSQL and Python disagree about years far from ours, and nothing here is from there.
EARLIEST_YEAR, LATEST_YEAR = 2000, 2100


class Out(serializers.Serializer[Any]):
    """What is answered. Only reads."""


class In(serializers.Serializer[Any]):
    """What is asked. Only validates; a name it does not know is refused, since it may be a typo."""

    default_error_messages = {"invalid": _("Send a JSON object here.")}

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, Mapping) else set()
        sentence = _("There is no such field. Check its spelling.")
        errors: Any = {str(name): [sentence] for name in sorted(unknown)}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as refusal:
            others: Any = refusal.detail
            raise serializers.ValidationError({**others, **errors}) from refusal
        if errors:
            raise serializers.ValidationError(errors)
        return values


class TextField(serializers.CharField):
    """Text, as JSON text: 1 is not "1"."""

    default_error_messages = {"max_length": _("Write at most {max_length} characters.")}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeField(serializers.IntegerField):
    """A whole number, as a JSON number: neither "1" nor true nor 1.0."""

    default_error_messages = {
        "invalid": _("Write a whole number, without quotes."),
        "min_value": _("Write a number of at least {min_value}."),
        "max_value": _("Write a number of at most {max_value}."),
    }

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class MinorField(WholeField):
    """An amount in minor units of the currency beside it."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("min_value", 1)
        super().__init__(max_value=MAX_AMOUNT_MINOR, **kwargs)


class YesNoField(serializers.BooleanField):
    """true or false: neither "true" nor 1."""

    default_error_messages = {"invalid": _("Write true or false, without quotes.")}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class ChoiceField(serializers.ChoiceField):
    """One of the names it lists."""

    default_error_messages = {"invalid_choice": _("Write one of: {choices}.")}

    def fail(self, key: str, **facts: Any) -> NoReturn:
        super().fail(key, choices=", ".join(map(str, self.choices)), **facts)


class InstantField(serializers.DateTimeField):
    """An instant: ISO 8601 with its offset. Without one, it could be any of 25 hours."""

    default_error_messages = {
        "invalid": _("Write an ISO 8601 time, such as 2026-11-22T09:00:00+08:00."),
        "no_offset": _("Add the offset, such as Z or +08:00."),
        "far": _("This time is too far from now."),
    }

    def to_internal_value(self, value: Any) -> datetime:
        parsed = _parsed(value)
        if parsed is None:
            self.fail("invalid")
        if parsed.tzinfo is None:
            self.fail("no_offset")
        if not EARLIEST_YEAR < parsed.year < LATEST_YEAR:
            self.fail("far")
        return parsed


class ValidityField(serializers.DateTimeField):
    """Until when a line is valid, as it was written: beside a balance it is never worth refusing
    that (rule 10), and whose zone a day is of, the line knows."""

    def to_internal_value(self, value: Any) -> Any:
        return value


def _parsed(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) > 40 or "T" not in value.upper():
        return None
    try:
        return parse_datetime(value)
    except ValueError:
        return None


class DayField(serializers.DateField):
    """A day of the line's own calendar: 2026-11-22."""

    default_error_messages = {"far": _("This day is too far from now.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(input_formats=["%Y-%m-%d"], **kwargs)

    def to_internal_value(self, value: Any) -> date:
        if not isinstance(value, str):
            self.fail("invalid", format="YYYY-MM-DD")
        day: date = super().to_internal_value(value)
        if not EARLIEST_YEAR < day.year < LATEST_YEAR:
            self.fail("far")
        return day


@extend_schema_field({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"})
class HourField(serializers.RegexField):
    """A time of day in the line's zone: "09:00"."""

    default_error_messages = {"invalid": _("Write a time of day such as 09:00.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(r"\A([01][0-9]|2[0-3]):[0-5][0-9]\Z", **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        value = super().run_validation(data)
        return time.fromisoformat(value) if isinstance(value, str) else value

    def to_representation(self, value: Any) -> str:
        return f"{value:%H:%M}"


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": 64})
class ZoneField(TextField):
    """An IANA time zone, such as Asia/Shanghai."""

    default_error_messages = {"no_zone": _("Write an IANA time zone, such as Asia/Shanghai.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        if not zones.is_zone(name):
            self.fail("no_zone")
        return name


class MsisdnField(TextField):
    """A mobile number: E.164, or as it is written at home."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return identifiers.parse_msisdn(super().to_internal_value(data))
        except identifiers.InvalidIdentifier as refusal:
            raise serializers.ValidationError(str(refusal.sentence)) from refusal


class IccidField(TextField):
    """A card's number, with or without blanks and the filler F."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return identifiers.parse_iccid(super().to_internal_value(data)).value
        except identifiers.InvalidIdentifier as refusal:
            raise serializers.ValidationError(str(refusal.sentence)) from refusal


def reference() -> TextField:
    """The public name of one of the caller's objects; whether it is there, the view looks up."""
    return TextField(min_length=1, max_length=26)
