"""The deduction plan of a 周期扣款 agreement: when it lets itself be charged, and putting that off.

Alipay takes such a deduction only near the planned date, and a plan can only be put off. 商家扣款
has no plan, and nothing is prepared for it.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from billing.gateways.alipay import codes, instants, trades
from billing.gateways.alipay.client import AlipayClient, Reply
from billing.gateways.alipay.contract import Contract, Period
from billing.gateways.base import ChargeRequest, Noticed, NotNeeded, Preparation, Unknown
from billing.money import InvalidAmount, from_decimal_text


class Plans:
    """The calls about plans. `agreement_of` asks about an agreement by Alipay's number."""

    def __init__(
        self,
        *,
        contract: Contract,
        client: AlipayClient,
        agreement_of: Callable[[str], Reply],
    ) -> None:
        self._client, self._agreement_of = client, agreement_of
        self._period = contract.period if contract.is_cycle else None

    def prepare(self, request: ChargeRequest, due_at: datetime) -> Preparation:
        """Move the plan to the due day if that lies later; one already there is not moved again."""
        if self._period is None:
            return Preparation(NotNeeded())
        reply = self._agreement_of(request.provider_binding_ref)
        planned = _planned_date(reply)
        if planned is None:
            untold = Unknown("the plan is not told")
            refused = untold if reply.code == codes.SUCCESS else trades.refusal(reply)
            return Preparation(refused, (reply.exchange,))
        due = instants.beijing_date(due_at)
        if due <= planned:
            window = _window(request, self._period, planned, reply)
            return Preparation(window, (reply.exchange,))
        moved = self._postpone(request, due)
        evidence = (reply.exchange, moved.exchange)
        if moved.code != codes.SUCCESS:
            return Preparation(trades.refusal(moved), evidence)
        return Preparation(_window(request, self._period, due, reply), evidence)

    def _postpone(self, request: ChargeRequest, to: date) -> Reply:
        return self._client.call(
            method="alipay.user.agreement.executionplan.modify",
            content={
                "agreement_no": request.provider_binding_ref,
                "deduct_time": to.isoformat(),
                "memo": "deduction date moved",
            },
            reference=request.reference,
        )


def _planned_date(reply: Reply) -> date | None:
    """`next_deduct_time` of an agreement with a plan; None where it is not told."""
    if reply.code != codes.SUCCESS:
        return None
    try:
        return date.fromisoformat(reply.text("next_deduct_time")[:10])
    except ValueError:
        return None


def _window(request: ChargeRequest, period: Period, planned: date, reply: Reply) -> Noticed:
    opens = datetime.combine(planned, time.min, instants.BEIJING)
    try:
        quota_minor = from_decimal_text(reply.text("single_quota"), trades.CURRENCY)
    except InvalidAmount:
        quota_minor = request.amount_minor
    return Noticed(
        earliest_charge_at=(opens - timedelta(days=period.early_days)).astimezone(UTC),
        latest_charge_at=(opens + timedelta(days=1, seconds=-1)).astimezone(UTC),
        max_amount_minor=quota_minor,
    )
