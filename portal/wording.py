"""How the portal says figures and times: with their age, in the reader's language and zone."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from babel.dates import format_date, format_skeleton
from django.utils.timezone import get_current_timezone
from django.utils.translation import get_language, gettext, gettext_lazy, ngettext

from billing import money
from billing.models import Rail
from billing.rules.caps import CapReached
from billing.words import figures, reasons
from lines.models import Carrier

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


def full_money(amount_minor: int, currency: str) -> str:
    """(1860, "CNY") -> "¥18.60"; decimals always: for balances and receipts."""
    return money.format_minor(amount_minor, currency, get_language() or "en")


def short_money(amount_minor: int, currency: str) -> str:
    """(5000, "CNY") -> "¥50", (4925, "CNY") -> "¥49.25": for plans and sentences."""
    return money.format_short(amount_minor, currency, get_language() or "en")


def age(then: datetime, at: datetime) -> str:
    """How old a figure is: "4 minutes ago"."""
    passed = at - then
    if passed < _MINUTE:
        return gettext("just now")
    for unit, words in (
        (_DAY, lambda n: ngettext("%(n)s day ago", "%(n)s days ago", n)),
        (_HOUR, lambda n: ngettext("%(n)s hour ago", "%(n)s hours ago", n)),
    ):
        if passed >= unit:
            return words(passed // unit) % {"n": passed // unit}
    minutes = passed // _MINUTE
    return ngettext("%(n)s minute ago", "%(n)s minutes ago", minutes) % {"n": minutes}


def balance_age(then: datetime, at: datetime) -> str:
    """ "balance updated just now", "余额 4 分钟前更新"."""
    if at - then < _MINUTE:
        return gettext("balance updated just now")
    return gettext("balance updated %(age)s") % {"age": age(then, at)}


def moment(then: datetime, at: datetime) -> str:
    """Of a timeline: "today 09:12", "yesterday 09:12", "11-18", "2025-11-18"."""
    zone = get_current_timezone()
    local, today = then.astimezone(zone), at.astimezone(zone).date()
    clock = local.strftime("%H:%M")
    if local.date() == today:
        return gettext("today %(clock)s") % {"clock": clock}
    if local.date() == today - _DAY:
        return gettext("yesterday %(clock)s") % {"clock": clock}
    return local.strftime("%m-%d" if local.year == today.year else "%Y-%m-%d")


def day(value: date) -> str:
    """A date with its month in words, without the year: "12月1日", "Dec 1"."""
    return str(format_skeleton("MMMd", value, locale=_locale()))


def full_day(value: date) -> str:
    """The same with its year."""
    return str(format_skeleton("yMMMd", value, locale=_locale()))


def month(value: date) -> str:
    """ "2026年11月", "Nov 2026"."""
    return str(format_skeleton("yMMM", value, locale=_locale()))


def tile_day(value: date) -> str:
    """As on a calendar tile: "11-30", "2-28"."""
    return f"{value.month}-{value.day:02d}"


def weekday(value: date) -> str:
    """ "Mon", "周一"."""
    return str(format_date(value, "ccc", locale=_locale()))


def rail(one: Rail) -> str:
    """A rail as people call it."""
    return figures.rail_name(one.code, name=one.name, name_en=one.name_en)


def cap(reached: CapReached) -> str:
    """Why a recharge asked for now would break a limit, with its figures."""
    language = get_language() or "en"
    return reasons.reason(code=reached.code, facts=reached.facts, language=language).sentence


def carrier(one: Carrier) -> str:
    """A carrier by its name in the reader's language."""
    return one.name if _locale() == "zh_Hans" else one.name_en


def _locale() -> str:
    return "en" if (get_language() or "").startswith("en") else "zh_Hans"


def days(count: int) -> str:
    """ "5 days"."""
    return figures.days_text(count)


# The first that a browser's own words hold: many name others they descend from.
_BROWSERS = {
    "MicroMessenger": gettext_lazy("WeChat"),
    "AlipayClient": gettext_lazy("Alipay"),
    "Edg": "Edge",
    "OPR": "Opera",
    "Firefox": "Firefox",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS": "Mac",
    "Linux": "Linux",
}


def device(user_agent: str) -> str:
    """ "Chrome · Android", or the beginning of what it calls itself."""
    names = [
        next((str(name) for mark, name in known.items() if mark in user_agent), "")
        for known in (_BROWSERS, _SYSTEMS)
    ]
    return " · ".join(filter(None, names)) or user_agent[:40]


def listed(words: Iterable[object]) -> str:
    """ "5, 2" or "5、2"."""
    return ("、" if _locale() == "zh_Hans" else ", ").join(str(word) for word in words)
