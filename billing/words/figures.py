"""Stored facts, written for a reader: money, instants, counts and names in their language.

Facts are JSON: minor units, ISO 4217 codes, ISO 8601 texts. All are optional. One that is missing
or unreadable gives no figure, and the sentence that needs it gives way to one that does not, so
that no row, however old, can break a page.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from string import Formatter
from zoneinfo import ZoneInfo

from babel.dates import format_skeleton
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _

from billing import money
from billing.words import declines
from lines import zones

_INSTANTS = (
    "at",
    "until",
    "observed_at",
    "next_at",
    "earliest_at",
    "latest_at",
    "expires_at",
    "runs_out_at",
    "cancel_until",
)
_NAMES = ("line", "label")
_OTHERS = {
    "schedule": gettext_lazy("the scheduled one"),
    "low_balance": gettext_lazy("the one for the low balance"),
    "expiry": gettext_lazy("the one before the validity ends"),
    "manual": gettext_lazy("the one by hand"),
}
_RAILS = {
    "alipay": gettext_lazy("Alipay"),
    "wechat": gettext_lazy("WeChat Pay"),
    "stripe": gettext_lazy("your bank card"),
}

_BETWEEN_HAN = re.compile(r"(?<=[\u4e00-\u9fff，。：；]) (?=[\u4e00-\u9fff])")

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Phrasing:
    """A title and a body, each as alternatives: the first whose figures are all known is used.

    The last of `titles` and of the first of `parts` needs no figure. Further parts are left out
    where none of their alternatives can be written.
    """

    titles: tuple[Text, ...]
    parts: tuple[tuple[Text, ...], ...]


def told(title: Text, *sentences: Text) -> Phrasing:
    """One title, and one sentence in as many forms as there are `sentences`."""
    return Phrasing(titles=(title,), parts=(sentences,))


def written(
    facts: Mapping[str, object], *, timezone: str = "", at: datetime | None = None
) -> dict[str, str]:
    """The figures of `facts` in the active language, under the names the sentences use.

    `balance_minor` becomes `balance`; `until` becomes `until` and, without the hour, `until_day`.
    Dates in the year of `at` are written without it. Never raises.
    """
    zone = zones.zone_of(timezone or zones.DEFAULT)
    figures = _amounts(facts) | _instants(facts, zone=zone, at=at) | _counts(facts)
    figures |= {name: str(facts[name]) for name in _NAMES if facts.get(name)}
    return figures | _names(facts)


def first_written(alternatives: Iterable[Text], figures: Mapping[str, str]) -> str:
    """The first of `alternatives` whose figures are all known, with them filled in; or ""."""
    for alternative in alternatives:
        text = str(alternative)
        if fields(text) <= figures.keys():
            return closed_up(text.format_map(figures))
    return ""


def closed_up(text: str) -> str:
    """Without the space that a figure's place keeps in Chinese, where a name in Chinese fills it:
    "¥50 已充入妈妈的手机", but "¥50 已充入 Mum"."""
    return _BETWEEN_HAN.sub("", text)


def fields(text: str) -> set[str]:
    """The names of the figures a sentence needs."""
    return {name for _literal, name, _spec, _conversion in Formatter().parse(text) if name}


def title_of(phrasing: Phrasing, figures: Mapping[str, str]) -> str:
    return first_written(phrasing.titles, figures)


def body_of(phrasing: Phrasing, figures: Mapping[str, str]) -> str:
    """The parts that can be written, one after another as the language does it."""
    found = [first_written(part, figures) for part in phrasing.parts]
    return joined([text for text in found if text])


def joined(sentences: Sequence[str]) -> str:
    """Sentences in a row: with a space between them, and none in Chinese."""
    return ("" if _is_chinese() else " ").join(sentences)


def day_text(day: date, *, at: datetime | None = None) -> str:
    """ "Nov 30" or "11月30日"; with its year where `at` is of another one, or not given."""
    skeleton = "MMMd" if at is not None and day.year == at.year else "yMMMd"
    return str(format_skeleton(skeleton, day, locale="zh_Hans" if _is_chinese() else "en"))


def instant_text(instant: datetime, *, zone: ZoneInfo, at: datetime | None = None) -> str:
    """ "Nov 30 at 09:00", on the line's own clock."""
    local = instant.astimezone(zone)
    local_at = at.astimezone(zone) if at else None
    return _("{day} at {time}").format(
        day=day_text(local.date(), at=local_at), time=f"{local:%H:%M}"
    )


def days_text(count: int) -> str:
    return ngettext("{count} day", "{count} days", count).format(count=count)


def _duration_text(seconds: int) -> str:
    """ "2 seconds", "5 minutes", "3 hours": rounded up, in the largest unit of which it has two."""
    if seconds >= 2 * 3600:
        count = -(-seconds // 3600)
        return ngettext("{count} hour", "{count} hours", count).format(count=count)
    if seconds >= 2 * 60:
        count = -(-seconds // 60)
        return ngettext("{count} minute", "{count} minutes", count).format(count=count)
    return ngettext("{count} second", "{count} seconds", seconds).format(count=seconds)


def rail_name(code: str, *, name: str = "", name_en: str = "") -> str:
    """A rail as people call it: in words of ours where it is known, else in the operator's."""
    if code in _RAILS:
        return str(_RAILS[code])
    return name if _is_chinese() else name_en or name


def _is_chinese() -> bool:
    return not (get_language() or "").startswith("en")


def _amounts(facts: Mapping[str, object]) -> dict[str, str]:
    """Every amount, and the pair that shows a low balance where the balance really is low.

    A discount or bonus of nothing is not worth a sentence.
    """
    currency, locale = facts.get("currency"), get_language() or "en"
    if not isinstance(currency, str) or not _is_currency(currency):
        return {}
    amounts = {
        key.removesuffix("_minor"): value
        for key, value in facts.items()
        if key.endswith("_minor") and isinstance(value, int) and not isinstance(value, bool)
    }
    balance, threshold = amounts.get("effective", amounts.get("balance")), amounts.get("threshold")
    if balance is not None and threshold is not None and balance < threshold:
        amounts |= {"low_balance": balance, "low_threshold": threshold}
    if "face" in amounts and "price" in amounts:
        amounts.setdefault("discount", amounts["face"] - amounts["price"])
    return {
        name: money.format_short(amount_minor, currency, locale)
        for name, amount_minor in amounts.items()
        if amount_minor or name not in ("discount", "bonus")
    }


def _is_currency(code: str) -> bool:
    try:
        money.minor_digits(code)
    except money.UnknownCurrency:
        return False
    return True


def _instants(
    facts: Mapping[str, object], *, zone: ZoneInfo, at: datetime | None
) -> dict[str, str]:
    figures = {}
    local_at = at.astimezone(zone) if at else None
    for name in _INSTANTS:
        if instant := _instant(facts.get(name)):
            figures[name] = instant_text(instant, zone=zone, at=at)
            figures[f"{name}_day"] = day_text(instant.astimezone(zone).date(), at=local_at)
    if day := _day(facts.get("local_date")):
        figures["local_date"] = day_text(day, at=local_at)
    return figures


def _instant(value: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return instant if instant is not None and instant.tzinfo is not None else None


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _counts(facts: Mapping[str, object]) -> dict[str, str]:
    figures = {}
    for name in ("cap_count", "spent_count"):
        if isinstance(count := facts.get(name), int):
            text = ngettext("{count} recharge", "{count} recharges", count)
            figures[name] = text.format(count=count)
    if isinstance(rules := facts.get("rules"), int) and rules > 0:
        figures["rules"] = ngettext("{count} line", "{count} lines", rules).format(count=rules)
    if isinstance(took_s := facts.get("took_s"), int):
        figures["took"] = _duration_text(took_s)
    if isinstance(days := facts.get("days"), int):
        figures["days"] = days_text(days)
    return figures


def _names(facts: Mapping[str, object]) -> dict[str, str]:
    def text(key: str) -> str:
        return str(facts.get(key) or "")

    rail = rail_name(text("rail"), name=text("rail_name"), name_en=text("rail_name_en"))
    carrier = text("carrier_name") if _is_chinese() else text("carrier_name_en")
    named = {
        "rail": rail,
        "carrier": carrier or text("carrier_name"),
        "other_trigger": str(_OTHERS.get(text("other_trigger"), "")),
        "decline_message": declines.because(text("decline_code")),
    }
    return {name: value for name, value in named.items() if value}
