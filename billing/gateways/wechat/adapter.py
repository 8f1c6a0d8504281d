"""WeChat Pay as a payment rail: the calls of `billing.gateways.base.Gateway`, spoken to WeChat Pay.

Each call makes one request, or two where the first's answer must be made sure of. What is sent is
in `orders` and `contracts`, what the answers mean in `trades`, `contracts`, `announcements` and
`bill`.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Self

from billing.gateways.base import (
    Acknowledgement,
    Answer,
    BindingAnswer,
    BindingRequest,
    Capabilities,
    ChargeRequest,
    DisputeStanding,
    Notification,
    Preparation,
    RefundRequest,
    SigningPage,
    StatementRow,
    UnreadableRow,
)
from billing.gateways.wechat import notifications, statement, v3_notifications
from billing.gateways.wechat.announcements import Announcements
from billing.gateways.wechat.bindings import Bindings
from billing.gateways.wechat.capabilities import capabilities_of
from billing.gateways.wechat.charges import Charges
from billing.gateways.wechat.client import WechatClient
from billing.gateways.wechat.refunds import Refunds
from billing.gateways.wechat.terms import NoticeMode, Terms, terms_from
from billing.gateways.wechat.v3 import Identity, identity_from
from billing.gateways.wechat.v3_client import V3Client
from billing.gateways.wechat.wire import Wire


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
        self._terms, self._client, self._identity = terms, client, identity
        self._bindings = Bindings(terms=terms, client=client)
        self._announcements = Announcements(terms=terms, client=v3_client, clock=client.now)
        self._refunds = Refunds(client=client)
        self._charges = Charges(
            terms=terms,
            client=client,
            facts_of=lambda contract: self._bindings.get("", contract),
            given_back=self._refunds.given_back,
        )

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
        return self._bindings.start(request)

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """Ask by the contract's number, or by ours where that is not known yet."""
        return self._bindings.get(binding_ref, provider_ref)

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """End the contract; one that is already gone counts as ended. May be called twice."""
        return self._bindings.revoke(binding_ref, provider_ref)

    # --- charges ------------------------------------------------------------------------------

    def prepare_charge(self, *, request: ChargeRequest, due_at: datetime) -> Preparation:
        """Announce the charge where the mode is notify; else WeChat Pay does, or nobody need.

        The window counts from now, or, where WeChat Pay has the notice already, from
        `request.first_sent_at`, when it was first sent: a lost request may have arrived or not.
        The days are fixed by WeChat Pay, so `due_at` moves nothing. May be called twice.
        """
        del due_at
        return self._announcements.prepare(request)

    def charge(self, *, request: ChargeRequest) -> Answer:
        """Apply for a deduction, at most once per reference: at best Pending.

        An order that exists already is asked for. May be called twice with the same request,
        after the caller's grace period.
        """
        return self._charges.charge(request)

    def query(
        self, *, reference: str, provider_ref: str = "", provider_binding_ref: str = ""
    ) -> Answer:
        """What became of a charge: Succeeded, Pending, Closed, NotFound or Unknown."""
        del provider_ref, provider_binding_ref
        return self._charges.query(reference)

    def cancel(self, *, reference: str) -> Answer:
        """Close an order that waits: Closed, NotFound or Unknown.

        A paid one cannot be closed, only refunded, and is Unknown here: `query` tells the rest.
        """
        return self._charges.cancel(reference)

    # --- refunds ------------------------------------------------------------------------------

    def refund(self, *, request: RefundRequest) -> Answer:
        """Apply for a refund, at most once per `refund_ref`: at best Pending."""
        return self._refunds.refund(request)

    def query_refund(self, *, refund_ref: str, charge_ref: str) -> Answer:
        """What became of a refund: Succeeded, Pending, Refused (it failed), NotFound, Unknown."""
        del charge_ref
        return self._refunds.query(refund_ref)

    # --- statements and notifications ---------------------------------------------------------

    def statement(self, *, day: date) -> Iterator[StatementRow | UnreadableRow]:
        """WeChat Pay's bill of one Beijing day. Raises StatementNotReady before the first row."""
        return statement.read(self._client, day=day)

    def parse_notification(
        self, *, headers: Mapping[str, str], body: bytes, query: Mapping[str, str], at: datetime
    ) -> tuple[Notification, Acknowledgement]:
        """Verify and read what was posted to a notify URL, or to the template's."""
        del query
        if v3_notifications.is_v3(headers):
            notification = v3_notifications.read(
                body, headers=headers, identity=self._identity, terms=self._terms, at=at
            )
            return notification, v3_notifications.ACCEPTED
        return notifications.read(body, terms=self._terms, at=at), notifications.ACCEPTED

    @staticmethod
    def dispute_standing(*, claims: str) -> DisputeStanding:
        """WeChat Pay tells of no disputes this way."""
        del claims
        return DisputeStanding.OPEN
