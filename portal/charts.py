"""Pictures drawn on the server: a balance and where it leads, and spending by month.

SVG by classes and presentation attributes only, so that the content policy needs no exception;
`keepline.css` gives the colours, light and dark. Each has its text alternative. Pure: no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from billing.rules.forecast import Points, Reading
from portal import wording

_MOST_POINTS = 120  # more is not seen at this width, and every page would carry it


@dataclass(frozen=True, slots=True)
class Size:
    """The drawing's own units; the page scales it. `label_width` is kept free on the right."""

    width: int
    height: int
    label_width: int = 34


MINI = Size(330, 70)
LARGE = Size(390, 130)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where instants and amounts lie on the drawing."""

    begins: datetime
    ends: datetime
    low_minor: int
    high_minor: int
    size: Size

    def x(self, at: datetime) -> str:
        width = 10 * (self.size.width - self.size.label_width - 4)
        return _tenths(20 + (at - self.begins) * width // (self.ends - self.begins))

    def y(self, amount_minor: int, *, below: int = 0) -> str:
        height = 10 * (self.size.height - 12)
        down = (self.high_minor - amount_minor) * height // (self.high_minor - self.low_minor)
        return _tenths(60 + down + 10 * below)

    def point(self, reading: Reading) -> str:
        return f"{self.x(reading.observed_at)} {self.y(reading.balance_minor)}"


def balance(
    points: Points, *, threshold_minor: int | None, currency: str, size: Size = MINI
) -> SafeString:
    """The balance as a line, the forecast dotted, the threshold dashed; "" before there is one."""
    if len(points.past) < 2:
        return SafeString("")
    frame = _frame(points, threshold_minor, size)
    return format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>',
        size.width,
        size.height,
        _balance_words(points, threshold_minor, currency),
        _threshold(frame, threshold_minor, currency),
        format_html('<path class="past" d="{}"></path>', _past_path(frame, points.past)),
        _ahead(frame, points.ahead),
        _now(frame, points.past[-1]),
    )


def months(
    totals: Sequence[tuple[date, int]], *, currency: str, size: Size = Size(326, 84, 0)
) -> SafeString:
    """Spending by month as bars, oldest first; its text alternative says each month's total."""
    if not totals:
        return SafeString("")
    top = max(max(minor for _month, minor in totals), 1)
    step = 10 * size.width // len(totals)
    heights = [max(20, minor * 10 * (size.height - 26) // top) for _month, minor in totals]
    bars = (
        (
            "bar" if minor else "bar empty",
            _tenths(index * step + step // 6),
            _tenths(10 * (size.height - 18) - height),
            _tenths(step * 2 // 3),
            _tenths(height),
        )
        for index, ((_month, minor), height) in enumerate(zip(totals, heights, strict=True))
    )
    labels = (
        (_tenths(index * step + step // 2), size.height - 4, month.month)
        for index, (month, _minor) in enumerate(totals)
    )
    return format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>',
        size.width,
        size.height,
        "; ".join(
            f"{month:%Y-%m} {wording.short_money(minor, currency)}" for month, minor in totals
        ),
        format_html_join(
            "",
            '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="2.5"></rect>',
            bars,
        ),
        format_html_join("", '<text x="{}" y="{}" text-anchor="middle">{}</text>', labels),
    )


def _tenths(tenths: int) -> str:
    """A coordinate; whole tenths, so that no amount is ever a float, not even on a drawing."""
    return f"{tenths // 10}.{tenths % 10}"


def _frame(points: Points, threshold_minor: int | None, size: Size) -> _Frame:
    every = [*points.past, *points.ahead]
    begins, ends = every[0].observed_at, every[-1].observed_at
    amounts = [reading.balance_minor for reading in every] + [threshold_minor or 0, 0]
    low, high = min(amounts), max(amounts)
    return _Frame(
        begins=begins,
        ends=max(ends, begins + timedelta(minutes=1)),
        low_minor=low,
        high_minor=max(high, low + 1),
        size=size,
    )


def _past_path(frame: _Frame, past: Sequence[Reading]) -> str:
    """Down is a slope; up is a recharge, which happens at once."""
    thinned = _thinned(past)
    parts = [f"M{frame.point(thinned[0])}"]
    for earlier, later in pairwise(thinned):
        if later.balance_minor > earlier.balance_minor:
            parts.append(f"L{frame.x(later.observed_at)} {frame.y(earlier.balance_minor)}")
        parts.append(f"L{frame.point(later)}")
    return "".join(parts)


def _thinned(past: Sequence[Reading]) -> list[Reading]:
    """At most so many readings; each jump keeps both its ends, or it would become a slope."""
    if len(past) <= _MOST_POINTS:
        return list(past)
    every = -(-len(past) // _MOST_POINTS)
    last = len(past) - 1
    return [
        reading
        for index, reading in enumerate(past)
        if index % every == 0
        or index == last
        or reading.balance_minor > past[index - 1].balance_minor
        or past[index + 1].balance_minor > reading.balance_minor
    ]


def _ahead(frame: _Frame, ahead: Sequence[Reading]) -> SafeString:
    if not ahead:
        return SafeString("")
    path = "M" + "L".join(frame.point(reading) for reading in ahead)
    return format_html('<path class="ahead" d="{}"></path>', path)


def _now(frame: _Frame, last: Reading) -> SafeString:
    return format_html(
        '<circle class="now" cx="{}" cy="{}" r="4.5"></circle>',
        frame.x(last.observed_at),
        frame.y(last.balance_minor),
    )


def _threshold(frame: _Frame, threshold_minor: int | None, currency: str) -> SafeString:
    if threshold_minor is None:
        return SafeString("")
    y, size = frame.y(threshold_minor), frame.size
    return format_html(
        '<line class="threshold" x1="2" x2="{}" y1="{}" y2="{}"></line>'
        '<text class="threshold-label" x="{}" y="{}" text-anchor="end">{}</text>',
        size.width - size.label_width,
        y,
        y,
        size.width,
        frame.y(threshold_minor, below=4),
        wording.short_money(threshold_minor, currency),
    )


def _balance_words(points: Points, threshold_minor: int | None, currency: str) -> str:
    first, last = points.past[0], points.past[-1]
    sentence = _("Balance from %(first)s to %(last)s.") % {
        "first": wording.full_money(first.balance_minor, currency),
        "last": wording.full_money(last.balance_minor, currency),
    }
    if points.ahead:
        sentence += " " + _("At this pace %(amount)s on %(day)s.") % {
            "amount": wording.full_money(points.ahead[-1].balance_minor, currency),
            "day": wording.day(points.ahead[-1].observed_at.date()),
        }
    if threshold_minor is not None:
        sentence += " " + _("Low below %(amount)s.") % {
            "amount": wording.short_money(threshold_minor, currency)
        }
    return sentence
