"""预扣费通知: announcing a deduction, and holding the deduction to what was announced.

Days are Beijing's. The day of the announcement and the next wait; then the deduction may come for
as many days as the announcement asks for (`deduct_duration`), or for `Settings.window_days`. The
vendor's document says 1 to 3 in one place and 7 by default in another: 1 to 7 are taken.
"""

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from billing.gateways.wechat.simulator.instants import BEIJING, day
from billing.gateways.wechat.simulator.records import Announcement, Contract
from billing.gateways.wechat.simulator.refusals import Refusal
from billing.gateways.wechat.simulator.state import Simulator

_OPENS_AT, _CLOSES_AT = time(7), time(22)
_MOST_DAYS = 7


def announce(
    simulator: Simulator, contract: Contract, content: Mapping[str, object], now: datetime
) -> None:
    """Keep an announcement. Raises Refusal: RESOURCE_ALREADY_EXISTS for a repeat of the one that
    stands, INVALID_REQUEST for another one beside it, PARAM_ERROR for what is none."""
    books = simulator.books
    days, amount_minor = _terms(simulator, content)
    terms = {"count": days, "amount": amount_minor}
    with books.lock:
        standing = books.announcements.get(contract.contract_id)
        if standing is not None and standing.stands(now):
            if standing.terms == terms:
                raise Refusal("RESOURCE_ALREADY_EXISTS", "已成功发送通知，无需重复调用")
            raise Refusal(
                "INVALID_REQUEST", "已发送过扣费前通知，需要等本次扣费完成后再发起新的扣费前通知"
            )
        first = day(now) + timedelta(days=simulator.settings.wait_days)
        last = first + timedelta(days=days - 1)
        books.record(
            "announcement",
            reference=contract.contract_code,
            contract_id=contract.contract_id,
            amount_minor=amount_minor,
            opens_at=datetime.combine(first, _OPENS_AT, BEIJING).isoformat(),
            closes_at=datetime.combine(last, _CLOSES_AT, BEIJING).isoformat(),
            terms=terms,
        )


def _terms(simulator: Simulator, content: Mapping[str, object]) -> tuple[int, int]:
    """Days and fen."""
    duration = content.get("deduct_duration")
    days: object = simulator.settings.window_days
    if duration is not None:
        if not isinstance(duration, dict) or duration.get("unit") != "DAY":
            raise Refusal("PARAM_ERROR", "deduct_duration.unit")
        days = duration.get("count")
    if type(days) is not int or not 1 <= days <= _MOST_DAYS:
        raise Refusal("PARAM_ERROR", "deduct_duration.count")
    estimated = content.get("estimated_amount")
    if not isinstance(estimated, dict) or estimated.get("currency", "CNY") != "CNY":
        raise Refusal("PARAM_ERROR", "estimated_amount")
    amount = estimated.get("amount")
    if type(amount) is not int or amount <= 0:
        raise Refusal("PARAM_ERROR", "estimated_amount.amount")
    return days, amount


def check(simulator: Simulator, contract: Contract, amount_minor: int, now: datetime) -> None:
    """Raises Refusal INVALID_REQUEST for a deduction that was not announced like this."""
    announced: Announcement | None = simulator.books.announcements.get(contract.contract_id)
    if announced is None or not announced.stands(now):
        raise Refusal("INVALID_REQUEST", "需要先下发扣费前通知才能发起扣费")
    if now < announced.opens_at:
        raise Refusal("INVALID_REQUEST", "扣费等待期内不能发起扣费")
    if amount_minor > announced.amount_minor:
        raise Refusal("INVALID_REQUEST", "扣费金额不能高于预计扣费金额")
