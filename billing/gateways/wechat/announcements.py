"""Announcing a charge days before (预扣费通知): when it may then be made, and what answers mean.

The day of the notice and those after it wait; then come the days on which the charge may be made.
The vendor's text counts them in two ways, so both numbers are settings.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from urllib.parse import quote

from billing.calendar import Hours
from billing.gateways.base import (
    ChargeRequest,
    Noticed,
    NotNeeded,
    Preparation,
    Refused,
    Unknown,
)
from billing.gateways.wechat import codes, instants, orders
from billing.gateways.wechat.orders import CURRENCY
from billing.gateways.wechat.terms import NoticeMode, Terms
from billing.gateways.wechat.v3_client import V3Client, V3Reply

KIND = "v3/papay/contracts/notify"
HOURS = Hours(opens=time(7), closes=time(22), timezone="Asia/Shanghai")

# The vendor's page: what holds where the days are not named, and the most that may be named.
_USUAL_WINDOW_DAYS = 7
_BACK_OFF_STATUS = 429


class Announcements:
    """The call that tells a payer of a charge. Without the keys of v3 nobody need."""

    def __init__(
        self, *, terms: Terms, client: V3Client | None, clock: Callable[[], datetime]
    ) -> None:
        self._terms, self._clock = terms, clock
        self._client = client if terms.notice_mode is NoticeMode.NOTIFY else None

    def prepare(self, request: ChargeRequest) -> Preparation:
        """Announce a charge; one that is announced already stands as it was first sent."""
        if self._client is None:
            return Preparation(NotNeeded())
        wrong = orders.wrong_charge(request)
        if wrong is not None:
            return Preparation(wrong)
        reply = self._client.post(
            path(request.provider_binding_ref),
            content(request, self._terms),
            kind=KIND,
            reference=request.reference,
        )
        if not reply.is_success and reply.code != codes.ALREADY_NOTICED:
            return Preparation(refusal(reply), (reply.exchange,))
        now = self._clock()
        sent_at = now if reply.is_success else request.first_sent_at or now
        told = noticed(request, terms=self._terms, sent_at=sent_at)
        return Preparation(told, (reply.exchange,))


def path(contract_id: str) -> str:
    """Where a contract's notice is posted."""
    return f"/v3/papay/contracts/{quote(contract_id, safe='')}/notify"


def content(request: ChargeRequest, terms: Terms) -> Mapping[str, object]:
    """The notice's body: the same for a repeat, for another one would be another notice."""
    body: dict[str, object] = {
        "mchid": terms.mch_id,
        "appid": terms.app_id,
        "estimated_amount": {"amount": request.amount_minor, "currency": CURRENCY},
    }
    if terms.notice_window_days != _USUAL_WINDOW_DAYS:
        body["deduct_duration"] = {"count": terms.notice_window_days, "unit": "DAY"}
    return body


def window_length(terms: Terms) -> timedelta:
    """From the first hour of the first day to the last hour of the last one."""
    opens, closes = (timedelta(hours=hour.hour) for hour in (HOURS.opens, HOURS.closes))
    return timedelta(days=terms.notice_window_days - 1) + closes - opens


def noticed(request: ChargeRequest, *, terms: Terms, sent_at: datetime) -> Noticed:
    """When a charge announced at `sent_at` may be made. Beijing's whole days, in its hours."""
    first_day = instants.beijing_date(sent_at) + timedelta(days=terms.notice_wait_days)
    earliest = instants.in_beijing(first_day, HOURS.opens)
    return Noticed(
        earliest_charge_at=earliest,
        latest_charge_at=earliest + window_length(terms),
        max_amount_minor=request.amount_minor,
    )


def refusal(reply: V3Reply) -> Refused | Unknown:
    """An answer other than success. Too many, and too busy, say nothing: it is asked again."""
    is_busy = reply.status == _BACK_OFF_STATUS or reply.status >= 500
    if is_busy or not reply.code or codes.DECLINE_CODES.get(reply.code) == "unknown":
        return Unknown(reply.explain())
    return Refused(reply.code, reply.explain())
