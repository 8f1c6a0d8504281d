"""WeChat Pay as a payment rail: the calls of `billing.gateways.base.Gateway`, spoken to WeChat Pay.

Each call makes one request, or two where the first's answer must be made sure of; what the answers
mean is in `trades`, `contracts`, `announcements`, `notifications` and `bill`.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import IO, Self

from billing.gateways.base import (
    Acknowledgement,
    Answer,
    BindingAnswer,
    BindingFacts,
    BindingRequest,
    BindingStatus,
    Capabilities,
    ChargeRequest,
    Closed,
    Exchange,
    NotFound,
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
    Succeeded,
    Unknown,
    UnreadableRow,
)
from billing.gateways.wechat import (
    announcements,
    bill,
    codes,
    contracts,
    notifications,
    orders,
    signing_pages,
    trades,
    v3_notifications,
)
from billing.gateways.wechat.capabilities import DELAY, FRESH, capabilities_of
from billing.gateways.wechat.client import Reply, WechatClient
from billing.gateways.wechat.terms import NoticeMode, Terms, terms_from
from billing.gateways.wechat.v3 import Identity, identity_from
from billing.gateways.wechat.v3_client import V3Client
from billing.gateways.wechat.wire import NoAnswer, Wire

APPLY, ORDER_QUERY, CLOSE = "/pay/pappayapply", "/pay/orderquery", "/pay/closeorder"
REFUND, REFUND_QUERY = "/secapi/pay/refund", "/pay/refundquery"
CONTRACT_QUERY, CONTRACT_DELETE = "/papay/querycontract", "/papay/deletecontract"
BILL = "/pay/downloadbill"

_SPOOLED_BYTES = 4 * 1024 * 1024
# A little after the 24 hours, so that one question is enough.
_SLACK = timedelta(minutes=10)
_SOON = timedelta(minutes=1)
# An order is given back in at most 50 parts, told ten at a time.
_MOST_REFUND_PAGES = 6


def _utc_now() -> datetime:
    return datetime.now(UTC)


class WechatGateway:
    """One merchant's WeChat Pay. Safe to share between threads."""

    def __init__(
        self,
        *,
        terms: Terms,
        client: WechatClient,
        identity: Identity | None,
        v3_client: V3Client | None,
    ) -> None:
        self._terms = terms
        self._client = client
        self._identity = identity
        self._v3_client = v3_client

    @classmethod
    def from_settings(
        cls,
        values: Mapping[str, str],
        *,
        timeout_s: int,
        clock: Callable[[], datetime] = _utc_now,
    ) -> Self:
        """Build from the WECHAT_* settings (`billing.gateways.configuration`).

        `timeout_s` bounds each request; `clock` gives aware instants. Reads the client
        certificate's files. Raises ValueError with a sentence naming the setting at fault, never
        its value; the keys of v3 are demanded where WECHAT_NOTICE_MODE is notify.
        """
        terms = terms_from(values)
        identity = identity_from(
            values,
            mch_id=terms.mch_id,
            is_required=terms.notice_mode is NoticeMode.NOTIFY,
        )
        wire = Wire(base_urls=terms.api_urls, timeout_s=timeout_s)
        secure_wire = Wire(
            base_urls=(terms.secure_url,),
            timeout_s=timeout_s,
            client_cert=terms.client_cert,
            ca_path=terms.ca_path,
        )
        client = WechatClient(terms=terms, wire=wire, secure_wire=secure_wire, clock=clock)
        v3_client = V3Client(identity=identity, wire=wire, clock=clock) if identity else None
        return cls(terms=terms, client=client, identity=identity, v3_client=v3_client)

    @property
    def capabilities(self) -> Capabilities:
        """What this merchant's product allows (§2.5; the counts of days are configured)."""
        return capabilities_of(self._terms)

    # --- bindings -----------------------------------------------------------------------------

    def start_binding(self, *, request: BindingRequest) -> SigningPage:
        """The signing page this merchant was granted; see `signing_pages`. May be called twice.

        Offline for official accounts; the others ask WeChat Pay for an address that lives ten
        minutes and works once. Raises SigningNotStarted, and ValueError for a reference that is
        not 1-32 ASCII letters and digits.
        """
        return signing_pages.start(request, terms=self._terms, client=self._client)

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """Ask by the contract's number, or by ours where that is not known yet."""
        reply = self._contract(CONTRACT_QUERY, binding_ref, provider_ref)
        facts = contracts.facts(reply, binding_ref=binding_ref, at=self._client.now())
        return BindingAnswer(facts, (reply.exchange,))

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """End the contract; one that is already gone counts as ended. May be called twice."""
        reply = self._contract(
            CONTRACT_DELETE,
            binding_ref,
            provider_ref,
            contract_termination_remark="ended by the subscriber",
        )
        revoked = BindingFacts(BindingStatus.REVOKED, provider_ref)
        if reply.is_success or reply.code in codes.NO_SUCH_CONTRACT:
            return BindingAnswer(revoked, (reply.exchange,))
        if not reply.code:
            return BindingAnswer(trades.refusal(reply), (reply.exchange,))
        # Ended already, or not yet begun: only the contract itself tells which.
        asked = self.get_binding(binding_ref=binding_ref, provider_ref=provider_ref)
        evidence = (reply.exchange, *asked.exchanges)
        outcome = revoked if _is_over(asked.outcome) else trades.refusal(reply)
        return BindingAnswer(outcome, evidence)

    def _contract(self, path: str, binding_ref: str, provider_ref: str, **more: str) -> Reply:
        named = contracts.identifiers(
            binding_ref=binding_ref, provider_ref=provider_ref, terms=self._terms
        )
        return self._client.call(path, {**named, **more}, reference=binding_ref, has_nonce=False)

    # --- charges ------------------------------------------------------------------------------

    def prepare_charge(self, *, request: ChargeRequest, due_at: datetime) -> Preparation:
        """Announce the charge where the mode is notify; else WeChat Pay does, or nobody need.

        The window counts from now, or, where WeChat Pay has the notice already, from
        `request.first_sent_at`, when it was first sent: a lost request may have arrived or not.
        The days are fixed by WeChat Pay, so `due_at` moves nothing. May be called twice.
        """
        if self._terms.notice_mode is not NoticeMode.NOTIFY or self._v3_client is None:
            return Preparation(NotNeeded())
        wrong = orders.wrong_charge(request)
        if wrong is not None:
            return Preparation(wrong)
        reply = self._v3_client.post(
            announcements.path(request.provider_binding_ref),
            announcements.content(request, self._terms),
            kind=announcements.KIND,
            reference=request.reference,
        )
        if reply.is_success or reply.code == codes.ALREADY_NOTICED:
            now = self._client.now()
            sent_at = now if reply.is_success else request.first_sent_at or now
            noticed = announcements.noticed(request, terms=self._terms, sent_at=sent_at)
            return Preparation(noticed, (reply.exchange,))
        return Preparation(announcements.refusal(reply), (reply.exchange,))

    def charge(self, *, request: ChargeRequest) -> Answer:
        """Apply for a deduction, at most once per reference: at best Pending.

        An order that exists already is asked for. May be called twice with the same request,
        after the caller's grace period.
        """
        wrong = orders.wrong_charge(request)
        if wrong is not None:
            return Answer(wrong)
        reply = self._client.call(
            APPLY, orders.charge_fields(request, self._terms), reference=request.reference
        )
        if reply.code in codes.ACCEPTED_BEFORE:
            return self._accepted_before(reply, request)
        outcome = trades.applied(reply)
        if isinstance(outcome, Pending):
            return self._accepted(reply, request)
        if isinstance(outcome, Refused) and outcome.code in codes.ASK_THE_ORDER:
            return self._ask_instead(reply, request.reference)
        if isinstance(outcome, Refused) and outcome.code == codes.INVALID_REQUEST:
            return self._refused_unless_ordered(reply, outcome, request.reference)
        return Answer(outcome, (reply.exchange,))

    def _accepted(self, reply: Reply, request: ChargeRequest) -> Answer:
        """Says when to ask: a day later, unless the mode or a fresh contract makes it soon."""
        now = self._client.now()
        if self._terms.notice_mode is not NoticeMode.AFTER_24H:
            return Answer(Pending("", now + _SOON), (reply.exchange,))
        asked = self.get_binding(binding_ref="", provider_ref=request.provider_binding_ref)
        again_at = now + (_SOON if _is_fresh(asked.outcome, at=now) else DELAY + _SLACK)
        return Answer(Pending("", again_at), (reply.exchange, *asked.exchanges))

    def _accepted_before(self, reply: Reply, request: ChargeRequest) -> Answer:
        """This number was accepted before, or another one of the contract's is under way.

        The vendor has the same words for both, and an order that waits may not be shown yet. So
        one that is not found waits too; asked again when either is over, it is found or is not.
        """
        asked = self.query(reference=request.reference)
        evidence = (reply.exchange, *asked.exchanges)
        if not isinstance(asked.outcome, Pending | NotFound):
            return Answer(asked.outcome, evidence)
        now = self._client.now()
        is_slow = self._terms.notice_mode is NoticeMode.AFTER_24H
        since = request.first_sent_at or now
        again_at = max(since + DELAY + _SLACK if is_slow else now, now + _SOON)
        return Answer(Pending("", again_at), evidence)

    def _ask_instead(self, reply: Reply, reference: str) -> Answer:
        """The code says that the order exists: its state is the outcome, not the code."""
        asked = self.query(reference=reference)
        outcome = asked.outcome
        if isinstance(outcome, NotFound):
            outcome = Unknown(f"{reply.code}, yet no such order is found")
        return Answer(outcome, (reply.exchange, *asked.exchanges))

    def _refused_unless_ordered(self, reply: Reply, refused: Refused, reference: str) -> Answer:
        """One code for no notice, a wrong hour, and another request under this number: an order
        of that one may well be paid, and then it is the outcome."""
        asked = self.query(reference=reference)
        outcome = refused if isinstance(asked.outcome, NotFound) else asked.outcome
        return Answer(outcome, (reply.exchange, *asked.exchanges))

    def query(
        self, *, reference: str, provider_ref: str = "", provider_binding_ref: str = ""
    ) -> Answer:
        """What became of a charge: Succeeded, Pending, Closed, NotFound or Unknown.

        Closed with code "REFUNDED": it was paid and all of it given back, so nothing is kept.
        """
        reply = self._order(ORDER_QUERY, reference)
        outcome = trades.found(reply, reference=reference)
        if isinstance(outcome, Succeeded) and reply.text("trade_state") == "REFUND":
            return self._in_part_or_whole(reply, outcome, reference)
        return Answer(outcome, (reply.exchange,))

    def _in_part_or_whole(self, reply: Reply, paid: Succeeded, reference: str) -> Answer:
        """REFUND says that something was given back; only the refunds tell how much."""
        amounts: dict[str, int] = {}
        evidence: list[Exchange] = [reply.exchange]
        for page in range(_MOST_REFUND_PAGES):
            offset = {"offset": str(page * trades.REFUNDS_A_PAGE)} if page else {}
            asked = self._order(REFUND_QUERY, reference, **offset)
            evidence.append(asked.exchange)
            more = trades.given_back(asked)
            if more is None:
                return Answer(Unknown("how much was given back is not told"), tuple(evidence))
            is_last = len(more) < trades.REFUNDS_A_PAGE or more.keys() <= amounts.keys()
            amounts |= more
            if is_last:
                break
        is_whole = sum(amounts.values()) >= paid.amount_minor
        outcome: Outcome = Closed(paid.provider_ref, trades.REFUNDED) if is_whole else paid
        return Answer(outcome, tuple(evidence))

    def cancel(self, *, reference: str) -> Answer:
        """Close an order that waits: Closed, NotFound or Unknown.

        A paid one cannot be closed, only refunded, and is Unknown here: `query` tells the rest.
        """
        asked = self.query(reference=reference)
        if isinstance(asked.outcome, Succeeded):
            return Answer(Unknown("it is paid, so it can only be refunded"), asked.exchanges)
        if not isinstance(asked.outcome, Pending):
            return asked
        reply = self._order(CLOSE, reference)
        evidence = (*asked.exchanges, reply.exchange)
        if reply.is_success or reply.code == "ORDERCLOSED":
            return Answer(Closed(asked.outcome.provider_ref, trades.CANCELED), evidence)
        return Answer(Unknown(reply.explain()), evidence)

    def _order(self, path: str, reference: str, **more: str) -> Reply:
        return self._client.call(path, {"out_trade_no": reference, **more}, reference=reference)

    # --- refunds ------------------------------------------------------------------------------

    def refund(self, *, request: RefundRequest) -> Answer:
        """Apply for a refund under the client certificate, at most once per `refund_ref`.

        At best Pending: the money comes back minutes or days later, and `query_refund` tells.
        """
        wrong = orders.wrong_refund(request)
        if wrong is not None:
            return Answer(wrong)
        reply = self._client.call(
            REFUND,
            orders.refund_fields(request),
            reference=request.refund_ref,
            is_secure=True,
        )
        return Answer(trades.refund_applied(reply), (reply.exchange,))

    def query_refund(self, *, refund_ref: str, charge_ref: str) -> Answer:
        """What became of a refund: Succeeded, Pending, Refused (it failed), NotFound, Unknown."""
        reply = self._client.call(REFUND_QUERY, {"out_refund_no": refund_ref}, reference=refund_ref)
        return Answer(trades.refund_found(reply, refund_ref=refund_ref), (reply.exchange,))

    # --- statements and notifications ---------------------------------------------------------

    def statement(self, *, day: date) -> Iterator[StatementRow | UnreadableRow]:
        """WeChat Pay's bill of one Beijing day. Raises StatementNotReady before the first row.

        Bills come on the next day after about 10:00. A day without a trade has none either, and
        WeChat Pay's codes do not tell the two apart: the caller decides how long it waits.
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
        fields = {"bill_date": day.strftime("%Y%m%d"), "bill_type": "ALL", "tar_type": "GZIP"}
        try:
            self._client.download(BILL, fields, into=file)
        except NoAnswer as error:
            raise StatementNotReady(f"The bill did not arrive: {error}.") from error
        file.seek(0)

    def parse_notification(
        self, *, headers: Mapping[str, str], body: bytes, query: Mapping[str, str], at: datetime
    ) -> tuple[Notification, Acknowledgement]:
        """Verify and read what was posted to a notify URL, or to the template's."""
        if v3_notifications.is_v3(headers):
            notification = v3_notifications.read(
                body, headers=headers, identity=self._identity, terms=self._terms, at=at
            )
            return notification, v3_notifications.ACCEPTED
        return notifications.read(body, terms=self._terms, at=at), notifications.ACCEPTED


def _closing(
    file: IO[bytes], rows: Iterator[StatementRow | UnreadableRow]
) -> Iterator[StatementRow | UnreadableRow]:
    with file:
        yield from rows


def _is_over(outcome: BindingFacts | Unknown | NotFound | Refused) -> bool:
    if isinstance(outcome, BindingFacts):
        return outcome.status in (BindingStatus.REVOKED, BindingStatus.EXPIRED)
    return isinstance(outcome, NotFound)


def _is_fresh(outcome: BindingFacts | Unknown | NotFound | Refused, *, at: datetime) -> bool:
    """Signed so recently that deductions are made at once. Not told: asked soon, to be sure."""
    if not isinstance(outcome, BindingFacts) or outcome.signed_at is None:
        return True
    return at - outcome.signed_at < FRESH
