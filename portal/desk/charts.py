"""Pictures for operators, drawn on the server like the portal's: SVG by classes alone."""

from collections.abc import Sequence
from datetime import date

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from portal import wording

_WIDTH, _HEIGHT = 640, 180
_FOOT, _HEAD = 22, 18

Day = tuple[date, int, int]  # charged and given back, minor units


def money_by_day(days: Sequence[Day], *, currency: str) -> SafeString:
    """Two bars a day: charged, and beside it what was given back. Its text says each figure."""
    top = max([1, *(max(charged, returned) for _day, charged, returned in days)])
    step = 10 * _WIDTH // len(days)
    bars = []
    for index, (_day, charged, returned) in enumerate(days):
        left = index * step + step // 8
        bars.append(_bar("charged", left, step * 3 // 8, charged, top))
        bars.append(_bar("returned", left + step * 3 // 8, step * 3 // 8, returned, top))
    labels = [
        (_tenths(index * step + step // 2), _HEIGHT - 5, wording.tile_day(day))
        for index, (day, _charged, _returned) in enumerate(days)
    ]
    return format_html(
        '<svg class="k-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
        '<line class="ground" x1="0" x2="{}" y1="{}" y2="{}"></line>'
        '<text class="top" x="0" y="11">{}</text>{}</svg>',
        _WIDTH,
        _HEIGHT,
        _said(days, currency),
        format_html_join(
            "", '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="2"></rect>', bars
        ),
        _WIDTH,
        _HEIGHT - _FOOT,
        _HEIGHT - _FOOT,
        wording.short_money(top, currency) if top > 1 else "",
        format_html_join(
            "", '<text class="day" x="{}" y="{}" text-anchor="middle">{}</text>', labels
        ),
    )


def _bar(name: str, left: int, width: int, minor: int, top: int) -> tuple[str, str, str, str, str]:
    """Coordinates in tenths; something is never drawn as nothing."""
    height = minor * 10 * (_HEIGHT - _FOOT - _HEAD) // top
    height = max(height, 20) if minor else 0
    y = 10 * (_HEIGHT - _FOOT) - height
    return name, _tenths(left), _tenths(y), _tenths(width), _tenths(height)


def _said(days: Sequence[Day], currency: str) -> str:
    return "; ".join(
        _("%(day)s: %(charged)s charged, %(returned)s given back")
        % {
            "day": day.isoformat(),
            "charged": wording.full_money(charged, currency),
            "returned": wording.full_money(returned, currency),
        }
        for day, charged, returned in days
    )


def _tenths(tenths: int) -> str:
    """A coordinate; whole tenths, so that no amount is ever a float."""
    return f"{tenths // 10}.{tenths % 10}"
