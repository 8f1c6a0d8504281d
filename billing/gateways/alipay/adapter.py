"""Alipay as a payment rail: the calls of `billing.gateways.base.Gateway`, spoken to Alipay.

Each call makes one request, or two where the first's answer must be made sure of; what the answers
mean is in `trades`, `agreements`, `notifications` and `bill`.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import IO, Self

from cryptography.hazmat.primitives.asymmetric import rsa

from billing.gateways.alipay import agreements, bill, codes, instants, notifications, orders, trades
from billing.gateways.alipay.client import AlipayClient, NoAnswer, Reply
from billing.gateways.alipay.contract import Contract, Period, contract_from
from billing.gateways.alipay.signing import load_private_key, load_public_key
from billing.gateways.base import (
    Acknowledgement,
    Answer,
    BindingAnswer,
    BindingFacts,
    BindingRequest,
    BindingStatus,
    Capabilities,
    ChargeRequest,
    Exchange,
    NotFound,
    Noticed,
    Notification,
    NotNeeded,
    Outcome,
    Pending,
    Preparation,
    RefundRequest,
    Refused,
    SigningPage,
    StatementNotReady,
    StatementRow,
    Unknown,
    UnreadableRow,
)
from billing.money import InvalidAmount, from_decimal_text

# A bill's URL lives for 30 seconds: a slow start is worth one more.
_BILL_TRIES = 2
_NO_BILL = frozenset({"BILL_NOT_EXIST", "NO_BILL_DATA"})
_SPOOLED_BYTES = 4 * 1024 * 1024


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AlipayGateway:
    """One merchant's Alipay. Safe to share between threads."""

    def __init__(
        self, *, contract: Contract, client: AlipayClient, alipay_key: rsa.RSAPublicKey
    ) -> None:
        self._contract = contract
        self._client = client
        self._alipay_key = alipay_key

    @classmethod
    def from_settings(
        cls,
        values: Mapping[str, str],
        *,
        timeout_s: int,
        clock: Callable[[], datetime] = _utc_now,
    ) -> Self:
        """Build from the ALIPAY_* settings (`billing.gateways.configuration`).

        `timeout_s` bounds each request; `clock` gives aware instants (requests carry the time).
        Raises ValueError with a sentence naming the setting at fault, never its value.
        """
        contract = contract_from(values)
        private_key = load_private_key(
            values.get("ALIPAY_PRIVATE_KEY", ""), setting="ALIPAY_PRIVATE_KEY"
        )
        alipay_key = load_public_key(
            values.get("ALIPAY_PUBLIC_KEY", ""), setting="ALIPAY_PUBLIC_KEY"
        )
        # The console shows both public keys on one page, and this mix-up fails every answer.
        if alipay_key.public_numbers() == private_key.public_key().public_numbers():
            raise ValueError(
                "ALIPAY_PUBLIC_KEY must be Alipay's public key, not the application's own."
            )
        client = AlipayClient(
            contract=contract,
            private_key=private_key,
            alipay_key=alipay_key,
            timeout_s=timeout_s,
            clock=clock,
        )
        return cls(contract=contract, client=client, alipay_key=alipay_key)

    @property
    def capabilities(self) -> Capabilities:
        """What this merchant's product allows (§1.1: partly from third parties, so configured)."""
        period = self._contract.period if self._contract.is_cycle else None
        return Capabilities(
            rail="alipay",
            currencies=frozenset({trades.CURRENCY}),
            max_amount_minor=self._contract.max_charge_minor,
            max_charges_per_day=1 if period else None,
            last_day_of_month=28 if period else 31,
            must_prepare=self._contract.is_cycle and period is not None,
            settles_within=timedelta(days=1) if self._contract.async_type else timedelta(0),
            min_interval=period.shortest_interval if period else timedelta(0),
            # A declined trade may still be open, so a further try takes a new number.
            can_reuse_reference_after_decline=False,
            reference_lifetime=None,
            statement_currencies=frozenset({trades.CURRENCY}),
        )

    # --- bindings -----------------------------------------------------------------------------

    def start_binding(self, *, request: BindingRequest) -> SigningPage:
        """A signed URL of Alipay's signing page. Offline; the same reference, the same agreement.

        Raises ValueError for a reference that is not 1-32 ASCII letters and digits.
        """
        today = instants.beijing_date(self._client.now())
        url = self._client.page_url(
            method="alipay.user.agreement.page.sign",
            content=agreements.signing_content(request, contract=self._contract, today=today),
            notify_url=request.notify_url,
            return_url=request.return_url,
        )
        return SigningPage(url)

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """Ask by the agreement's number, or by ours where that is not known yet."""
        reply = self._agreement("alipay.user.agreement.query", binding_ref, provider_ref)
        facts = agreements.facts(reply, binding_ref=binding_ref, at=self._client.now())
        return BindingAnswer(facts, (reply.exchange,))

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """End the agreement; one that is already gone counts as ended. May be called twice."""
        reply = self._agreement("alipay.user.agreement.unsign", binding_ref, provider_ref)
        revoked = BindingFacts(BindingStatus.REVOKED, provider_ref)
        if reply.code == codes.SUCCESS or reply.sub_code in codes.NO_SUCH_AGREEMENT:
            return BindingAnswer(revoked, (reply.exchange,))
        if reply.sub_code == "USER_AGREEMENT_STATUS_NOT_NORMAL":
            # Stopped already, or not yet begun: only the agreement itself tells which.
            asked = self.get_binding(binding_ref=binding_ref, provider_ref=provider_ref)
            evidence = (reply.exchange, *asked.exchanges)
            if _is_over(asked.outcome):
                return BindingAnswer(revoked, evidence)
            return BindingAnswer(trades.refusal(reply), evidence)
        return BindingAnswer(trades.refusal(reply), (reply.exchange,))

    def _agreement(self, method: str, binding_ref: str, provider_ref: str) -> Reply:
        content = agreements.identifiers(
            binding_ref=binding_ref, provider_ref=provider_ref, contract=self._contract
        )
        return self._client.call(method=method, content=content, reference=binding_ref)

    # --- charges ------------------------------------------------------------------------------

    def prepare_charge(self, *, request: ChargeRequest, due_at: datetime) -> Preparation:
        """Nothing for 商家扣款. For 周期扣款, move the plan to the due day if that lies later.

        Alipay takes a 周期扣款 deduction only near the planned date, and plans can only be put
        off. May be called twice: a plan already there is not moved again.
        """
        period = self._contract.period if self._contract.is_cycle else None
        if period is None:
            return Preparation(NotNeeded())
        reply = self._agreement("alipay.user.agreement.query", "", request.provider_binding_ref)
        planned = _planned_date(reply)
        if planned is None:
            untold = Unknown("the plan is not told")
            refused = untold if reply.code == codes.SUCCESS else trades.refusal(reply)
            return Preparation(refused, (reply.exchange,))
        due = instants.beijing_date(due_at)
        if due <= planned:
            return Preparation(self._window(request, period, planned, reply), (reply.exchange,))
        moved = self._postpone(request, due)
        evidence = (reply.exchange, moved.exchange)
        if moved.code != codes.SUCCESS:
            return Preparation(trades.refusal(moved), evidence)
        return Preparation(self._window(request, period, due, reply), evidence)

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

    def _window(
        self, request: ChargeRequest, period: Period, planned: date, reply: Reply
    ) -> Noticed:
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

    def charge(self, *, request: ChargeRequest) -> Answer:
        """Deduct, at most once per reference. A trade that exists already is asked for.

        May be called twice with the same request, after the caller's grace period.
        """
        wrong = orders.wrong_charge(request)
        if wrong is not None:
            return Answer(wrong)
        reply = self._client.call(
            method="alipay.trade.pay",
            content=orders.pay_content(request, self._contract),
            reference=request.reference,
            notify_url=request.notify_url,
        )
        outcome = trades.paid(reply, reference=request.reference)
        if isinstance(outcome, Refused) and outcome.code in codes.ASK_THE_TRADE:
            return self._ask_instead(reply, request.reference)
        if isinstance(outcome, Refused) and outcome.code in codes.LEAVES_OPEN:
            return self._closed_first(reply, outcome, request.reference)
        return Answer(outcome, (reply.exchange,))

    def _ask_instead(self, reply: Reply, reference: str, *before: Exchange) -> Answer:
        """The code says that the trade exists: its state is the outcome, not the code."""
        asked = self.query(reference=reference)
        outcome = asked.outcome
        if isinstance(outcome, NotFound):
            outcome = Unknown(f"{reply.sub_code}, yet no such trade is found")
        return Answer(outcome, (*before, reply.exchange, *asked.exchanges))

    def _closed_first(self, reply: Reply, declined: Refused, reference: str) -> Answer:
        """A decline is final once its trade cannot be paid any more: closed, or never made.

        One that cannot be closed is Unknown, so no new number follows while it may be paid.
        """
        closing = self._client.call(
            method="alipay.trade.close", content={"out_trade_no": reference}, reference=reference
        )
        if closing.code == codes.SUCCESS or closing.sub_code in codes.CANNOT_BE_PAID:
            return Answer(declined, (reply.exchange, closing.exchange))
        if closing.sub_code in codes.ASK_THE_TRADE:
            return self._ask_instead(closing, reference, reply.exchange)
        uncertain = Unknown(f"{declined.code}, and its trade may be open: {closing.explain()}")
        return Answer(uncertain, (reply.exchange, closing.exchange))

    def query(
        self, *, reference: str, provider_ref: str = "", provider_binding_ref: str = ""
    ) -> Answer:
        """What became of a charge: Succeeded, Pending, Closed, NotFound or Unknown.

        Closed with code "REFUNDED": it was paid and all of it given back, so nothing is kept.
        """
        reply = self._client.call(
            method="alipay.trade.query",
            content={"out_trade_no": reference},
            reference=reference,
        )
        return Answer(trades.found(reply, reference=reference), (reply.exchange,))

    def cancel(self, *, reference: str) -> Answer:
        """Close an unpaid trade, give back a paid one: Closed, NotFound or Unknown."""
        reply = self._client.call(
            method="alipay.trade.cancel",
            content={"out_trade_no": reference},
            reference=reference,
        )
        return Answer(trades.canceled(reply), (reply.exchange,))

    # --- refunds ------------------------------------------------------------------------------

    def refund(self, *, request: RefundRequest) -> Answer:
        """Give back, at most once per `refund_ref`.

        `fund_change=N` means that this call moved nothing: a repeat, or not yet. So Alipay is
        asked, and only what it shows as refunded is Succeeded.
        """
        wrong = orders.wrong_refund(request)
        if wrong is not None:
            return Answer(wrong)
        reply = self._client.call(
            method="alipay.trade.refund",
            content=orders.refund_content(request),
            reference=request.refund_ref,
        )
        outcome = trades.refunded(reply, amount_minor=request.amount_minor)
        if not isinstance(outcome, Pending):
            return Answer(outcome, (reply.exchange,))
        asked = self.query_refund(refund_ref=request.refund_ref, charge_ref=request.charge_ref)
        sure: Outcome = asked.outcome
        if isinstance(sure, NotFound):
            sure = Unknown("accepted, but not shown as refunded yet")
        return Answer(sure, (reply.exchange, *asked.exchanges))

    def query_refund(self, *, refund_ref: str, charge_ref: str) -> Answer:
        """What became of a refund: Succeeded, Pending, Refused (it failed), NotFound, Unknown."""
        reply = self._client.call(
            method="alipay.trade.fastpay.refund.query",
            content={"out_trade_no": charge_ref, "out_request_no": refund_ref},
            reference=refund_ref,
        )
        return Answer(trades.refund_found(reply, refund_ref=refund_ref), (reply.exchange,))

    # --- statements and notifications ---------------------------------------------------------

    def statement(self, *, day: date) -> Iterator[StatementRow | UnreadableRow]:
        """Alipay's bill of one Beijing day. Raises StatementNotReady before the first row.

        Bills come on the next day after about 09:00. A day without a trade has none either, and
        Alipay's codes do not tell the two apart: the caller decides how long it waits.
        """
        file = tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES)  # noqa: SIM115
        try:
            self._download_bill(day, file)
            rows = _closing(file, bill.rows(file))
        except BaseException:
            file.close()
            raise
        return rows

    def _download_bill(self, day: date, file: IO[bytes]) -> None:
        for tries_left in reversed(range(_BILL_TRIES)):
            url = self._bill_url(day)
            try:
                file.seek(0)
                file.truncate()
                self._client.download(url, into=file)
            except NoAnswer as error:
                if not tries_left:
                    raise StatementNotReady(f"The bill did not arrive: {error}.") from error
            else:
                file.seek(0)
                return

    def _bill_url(self, day: date) -> str:
        reply = self._client.call(
            method="alipay.data.dataservice.bill.downloadurl.query",
            content={"bill_type": "trade", "bill_date": day.isoformat()},
            reference=day.isoformat(),
        )
        url = reply.text("bill_download_url")
        if reply.code == codes.SUCCESS and url:
            return url
        if reply.sub_code in _NO_BILL:
            raise StatementNotReady(f"Alipay has no bill for {day} (yet): {reply.sub_code}.")
        raise StatementNotReady(f"Alipay did not say where its bill is: {reply.explain()}.")

    def parse_notification(
        self, *, headers: Mapping[str, str], body: bytes, query: Mapping[str, str], at: datetime
    ) -> tuple[Notification, Acknowledgement]:
        """Verify and read what was posted to a notify URL or to the application gateway."""
        notification = notifications.read(
            body,
            alipay_key=self._alipay_key,
            app_id=self._contract.app_id,
            seller_id=self._contract.seller_id,
            at=at,
        )
        return notification, notifications.ACCEPTED


def _closing(
    file: IO[bytes], rows: Iterator[StatementRow | UnreadableRow]
) -> Iterator[StatementRow | UnreadableRow]:
    with file:
        yield from rows


def _is_over(outcome: BindingFacts | Unknown | NotFound | Refused) -> bool:
    if isinstance(outcome, BindingFacts):
        return outcome.status in (BindingStatus.REVOKED, BindingStatus.EXPIRED)
    return isinstance(outcome, NotFound)


def _planned_date(reply: Reply) -> date | None:
    """`next_deduct_time` of an agreement with a plan; None where it is not told."""
    if reply.code != codes.SUCCESS:
        return None
    try:
        return date.fromisoformat(reply.text("next_deduct_time")[:10])
    except ValueError:
        return None
