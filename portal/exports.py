"""What a subscriber takes away: history as CSV, coming charges as iCalendar. Pure."""

import csv as csv_module
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.utils.timezone import get_current_timezone
from django.utils.translation import gettext as _

from billing import money
from billing.models import Recharge, Rule
from billing.plans.previews import UpcomingCharge
from billing.spreadsheets import BYTE_ORDER_MARK, harmless
from portal import stories, wording

MOST_ROWS = 10_000
_FOLD_AT = 75  # octets, RFC 5545 §3.1


def csv(recharges: Iterable[Recharge]) -> str:
    """One row a recharge, amounts as plain decimals, instants ISO 8601."""
    out = io.StringIO()
    out.write(BYTE_ORDER_MARK)
    writer = csv_module.writer(out)
    writer.writerow(
        [
            _("Opened"),
            _("Line"),
            _("Number"),
            _("What happened"),
            _("Amount"),
            _("Charged"),
            _("Saved"),
            _("Bonus"),
            _("Currency"),
            _("Payment method"),
            _("Reference"),
        ]
    )
    for recharge in recharges:
        writer.writerow([harmless(cell) for cell in _row(recharge)])
    return out.getvalue()


def _row(recharge: Recharge) -> list[str]:
    def decimal(minor: int) -> str:
        return money.to_decimal_text(minor, recharge.currency)

    def once_charged(minor: int) -> str:
        return decimal(minor if recharge.charged_at else 0)

    opened = recharge.created_at.astimezone(get_current_timezone())
    return [
        opened.isoformat(timespec="seconds"),
        recharge.line.label,
        recharge.line.masked,
        stories.title(recharge),
        decimal(recharge.face_minor),
        once_charged(recharge.price_minor),
        once_charged(recharge.discount_minor),
        once_charged(recharge.bonus_minor),
        recharge.currency,
        f"{wording.rail(recharge.binding.rail)} {recharge.binding.label}".strip(),
        recharge.ref,
    ]


def icalendar(coming: Iterable[tuple[Rule, UpcomingCharge]], *, at: datetime) -> str:
    """Coming charges as RFC 5545: one event each, under the same UID whenever it is fetched, and
    from whichever of our hosts."""
    name = _("Keepline: coming charges")
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Keepline//Charges//EN",
        "CALSCALE:GREGORIAN",
        f"X-WR-CALNAME:{_escaped(name)}",
    ]
    for rule, charge in coming:
        if not charge.withheld:  # skipped or paused: a date that will not come about
            lines += _event(rule, charge, at=at)
    lines.append("END:VCALENDAR")
    return "".join(f"{_folded(line)}\r\n" for line in lines)


def _event(rule: Rule, charge: UpcomingCharge, *, at: datetime) -> list[str]:
    amount = wording.short_money(charge.price_minor, rule.currency)
    summary = _("Auto-recharge of %(line)s: %(amount)s") % {
        "line": rule.line.label or rule.line.masked,
        "amount": amount,
    }
    return [
        "BEGIN:VEVENT",
        f"UID:{rule.public_id}-{charge.index}@keepline",
        f"DTSTAMP:{_stamp(at)}",
        f"DTSTART:{_stamp(charge.due_at)}",
        f"DTEND:{_stamp(charge.due_at + timedelta(minutes=15))}",
        f"SUMMARY:{_escaped(summary)}",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _stamp(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _escaped(text: str) -> str:
    for char in ("\\", ";", ","):
        text = text.replace(char, f"\\{char}")
    return text.replace("\r", "").replace("\n", "\\n")


def _folded(line: str) -> str:
    """Lines of at most 75 octets, broken between characters, never inside one."""
    parts, room, current = [], _FOLD_AT, ""
    for char in line:
        size = len(char.encode())
        if size > room:
            parts.append(current)
            current, room = "", _FOLD_AT - 1  # the space that continues it counts
        current += char
        room -= size
    return "\r\n ".join([*parts, current])
