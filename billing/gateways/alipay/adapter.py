"""Alipay as a payment rail: the calls of `billing.gateways.base.Gateway`, spoken to Alipay.

Each call makes one request, or two where the first's answer must be made sure of. What is sent is
in `orders` and `agreements`, what the answers mean in `trades`, `agreements` and `bill`.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa

from billing.gateways.alipay import notifications, statement, trades
from billing.gateways.alipay.bindings import Bindings
from billing.gateways.alipay.charges import Charges
from billing.gateways.alipay.client import AlipayClient
from billing.gateways.alipay.contract import Contract, contract_from
from billing.gateways.alipay.plans import Plans
from billing.gateways.alipay.refunds import Refunds
from billing.gateways.alipay.signing import load_private_key, load_public_key
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


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AlipayGateway:
    """One merchant's Alipay. Safe to share between threads."""

    def __init__(
        self, *, contract: Contract, client: AlipayClient, alipay_key: rsa.RSAPublicKey
    ) -> None:
        self._contract, self._client, self._alipay_key = contract, client, alipay_key
        self._bindings = Bindings(contract=contract, client=client)
        self._plans = Plans(
            contract=contract,
            client=client,
            agreement_of=lambda number: self._bindings.query("", number),
        )
        self._charges = Charges(contract=contract, client=client)
        self._refunds = Refunds(client=client)

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
        return self._bindings.start(request)

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """Ask by the agreement's number, or by ours where that is not known yet."""
        return self._bindings.get(binding_ref, provider_ref)

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """End the agreement; one that is already gone counts as ended. May be called twice."""
        return self._bindings.revoke(binding_ref, provider_ref)

    # --- charges ------------------------------------------------------------------------------

    def prepare_charge(self, *, request: ChargeRequest, due_at: datetime) -> Preparation:
        """Nothing for 商家扣款. For 周期扣款, move the plan to the due day if that lies later.

        May be called twice: a plan already there is not moved again.
        """
        return self._plans.prepare(request, due_at)

    def charge(self, *, request: ChargeRequest) -> Answer:
        """Deduct, at most once per reference. A trade that exists already is asked for.

        May be called twice with the same request, after the caller's grace period.
        """
        return self._charges.charge(request)

    def query(
        self, *, reference: str, provider_ref: str = "", provider_binding_ref: str = ""
    ) -> Answer:
        """What became of a charge: Succeeded, Pending, Closed, NotFound or Unknown."""
        del provider_ref, provider_binding_ref
        return self._charges.query(reference)

    def cancel(self, *, reference: str) -> Answer:
        """Close an unpaid trade, give back a paid one: Closed, NotFound or Unknown."""
        return self._charges.cancel(reference)

    # --- refunds ------------------------------------------------------------------------------

    def refund(self, *, request: RefundRequest) -> Answer:
        """Give back, at most once per `refund_ref`. Only what Alipay shows as refunded is
        Succeeded."""
        return self._refunds.refund(request)

    def query_refund(self, *, refund_ref: str, charge_ref: str) -> Answer:
        """What became of a refund: Succeeded, Pending, Refused (it failed), NotFound, Unknown."""
        return self._refunds.query(refund_ref, charge_ref)

    # --- statements and notifications ---------------------------------------------------------

    def statement(self, *, day: date) -> Iterator[StatementRow | UnreadableRow]:
        """Alipay's bill of one Beijing day. Raises StatementNotReady before the first row."""
        return statement.read(self._client, day=day)

    def parse_notification(
        self, *, headers: Mapping[str, str], body: bytes, query: Mapping[str, str], at: datetime
    ) -> tuple[Notification, Acknowledgement]:
        """Verify and read what was posted to a notify URL or to the application gateway."""
        del headers, query
        notification = notifications.read(
            body,
            alipay_key=self._alipay_key,
            app_id=self._contract.app_id,
            seller_id=self._contract.seller_id,
            at=at,
        )
        return notification, notifications.ACCEPTED

    @staticmethod
    def dispute_standing(*, claims: str) -> DisputeStanding:
        """Alipay tells of no disputes this way."""
        del claims
        return DisputeStanding.OPEN
