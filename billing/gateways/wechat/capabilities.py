"""What a merchant's terms allow, as the core reads it."""

from datetime import time, timedelta

from billing.gateways.base import Capabilities
from billing.gateways.wechat import announcements, codes
from billing.gateways.wechat.orders import CURRENCY
from billing.gateways.wechat.terms import NoticeMode, Terms

# Between WeChat Pay's telling the payer and its deduction, where it is WeChat Pay that tells.
DELAY = timedelta(hours=24)
# After signing: a deduction asked for in that time is made at once, whatever the template says.
FRESH = timedelta(hours=12)

_SETTLES_WITHIN = timedelta(minutes=10)
_SETTLES_LATE_BY = timedelta(hours=1)
# Long enough for a request under way; the same number sent again is the same deduction anyway.
_GRACE = timedelta(minutes=5)
_BILL_READY = time(10)  # of the next day, in Beijing


def capabilities_of(terms: Terms) -> Capabilities:
    """The rail's limits under `terms`. How the vendor counts days is configured."""
    mode = terms.notice_mode
    is_ours, is_wechats = mode is NoticeMode.NOTIFY, mode is NoticeMode.AFTER_24H
    return Capabilities(
        rail="wechat",
        currencies=frozenset({CURRENCY}),
        max_amount_minor=terms.max_charge_minor,
        max_charges_per_day=terms.max_charges_per_day,
        hours=announcements.HOURS,
        must_prepare=is_ours,
        notice=timedelta(days=terms.notice_wait_days if is_ours else 0),
        window=announcements.window_length(terms) if is_ours else None,
        announcement_stands=is_ours,
        not_announced_code=codes.INVALID_REQUEST if is_ours else "",
        delay=DELAY if is_wechats else timedelta(0),
        no_delay_for=FRESH if is_wechats else timedelta(0),
        settles_within=DELAY + _SETTLES_LATE_BY if is_wechats else _SETTLES_WITHIN,
        # One deduction under way per contract in 24 hours, where a payer is told first.
        min_interval=timedelta(0) if mode is NoticeMode.NONE else DELAY,
        # A failed order is closed, and its number spent.
        can_reuse_reference_after_decline=False,
        reference_lifetime=None,
        waits=codes.WAITS,
        not_found_grace=_GRACE,
        statement_currencies=frozenset({CURRENCY}),
        statement_ready=_BILL_READY,
    )
