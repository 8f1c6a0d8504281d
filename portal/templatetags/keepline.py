"""What templates need to speak like `portal.wording`, and to show a field with its error."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from django import template
from django.forms import BoundField, CheckboxInput
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString

from billing.models import Rail
from lines import zones
from lines.identifiers import mask_iccid
from lines.models import Carrier
from portal import wording

register = template.Library()


@register.filter
def money(amount_minor: int, currency: str) -> str:
    return wording.full_money(amount_minor, currency)


@register.filter
def short_money(amount_minor: int, currency: str) -> str:
    return wording.short_money(amount_minor, currency)


@register.filter
def age(then: datetime) -> str:
    return wording.age(then, timezone.now())


@register.filter
def balance_age(then: datetime) -> str:
    """ "balance updated 4 minutes ago", in one sentence: Chinese puts no space before words."""
    return wording.balance_age(then, timezone.now())


@register.filter
def moment(then: datetime) -> str:
    return wording.moment(then, timezone.now())


@register.filter
def day(value: date) -> str:
    return wording.day(value)


@register.filter
def full_day(value: date) -> str:
    return wording.full_day(value)


@register.filter
def local_day(instant: datetime, zone: str = "") -> str:
    """The day of an instant where the line is, or where the reader is."""
    return wording.day(_local(instant, zone).date())


@register.filter
def local_full_day(instant: datetime, zone: str = "") -> str:
    return wording.full_day(_local(instant, zone).date())


@register.filter
def full_moment(instant: datetime) -> str:
    return f"{_local(instant, ''):%Y-%m-%d %H:%M:%S}"


@register.filter
def is_ahead(instant: datetime | None) -> bool:
    return instant is not None and instant > timezone.now()


@register.filter
def masked_iccid(iccid: str) -> str:
    return mask_iccid(iccid)


def _local(instant: datetime, zone: str) -> datetime:
    return timezone.localtime(instant, zones.zone_of(zone) if zone else None)


@register.filter
def tile_day(value: date) -> str:
    return wording.tile_day(value)


@register.filter
def weekday(value: date) -> str:
    return wording.weekday(value)


@register.filter
def month(value: date) -> str:
    return wording.month(value)


@register.filter
def device(user_agent: str) -> str:
    return wording.device(user_agent)


@register.filter
def listed(words: Iterable[object]) -> str:
    return wording.listed(words)


@register.filter
def rail_name(rail: Rail) -> str:
    return wording.rail(rail)


@register.filter
def carrier_name(carrier: Carrier) -> str:
    return wording.carrier(carrier)


@register.simple_tag
def field(bound: BoundField, kind: str = "") -> SafeString:
    """One field: its label, input, help and errors, tied together for a screen reader.

    `kind`: "code" for a one-time code, "grid" for short options side by side.
    """
    part = "_field"
    if isinstance(bound.field.widget, CheckboxInput):
        part = "_check"
    elif bound.use_fieldset:
        part = "_options"
    return render_to_string(f"portal/{part}.html", {"field": bound, "kind": kind})


@register.inclusion_tag("portal/_errors.html")
def errors(form: Any) -> dict[str, Any]:
    """What is wrong with `form`, on top, each with a link to its field."""
    return {"form": form}
