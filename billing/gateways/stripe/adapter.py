"""Stripe as a payment rail: the calls of `billing.gateways.base.Gateway`, spoken to Stripe."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
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
    NotNeeded,
    Preparation,
    RefundRequest,
    SigningPage,
    StatementRow,
    UnreadableRow,
)
from billing.gateways.limits import TryLimit
from billing.gateways.stripe import codes, disputes, events, statement
from billing.gateways.stripe.account import Account, account_from
from billing.gateways.stripe.bindings import Bindings
from billing.gateways.stripe.charges import KEY_LIFETIME, Charges
from billing.gateways.stripe.refunds import Refunds
from billing.gateways.stripe.wire import Wire

# Stripe's least charge is about half a US dollar: HK$4.00 or ¥4.00 in the highest of our figures.
_MIN_CHARGE_MINOR = 400
# Searching lags behind by a minute, and a charge is sometimes found by searching alone.
_NOT_FOUND_GRACE = timedelta(minutes=5)
# The schemes' own, the strictest of each span, since the card's scheme is not known beforehand:
# Mastercard's 10 in a day (with those its 35 in 30 days are not reached by one amount's ladder) and
# Visa's 15 in 30 days (20 since May 2025 at some acquirers).
_TRIES = (TryLimit(10, timedelta(days=1)), TryLimit(15, timedelta(days=30)))
_STATEMENT_READY = time(0, 30)  # live books: only the last minutes of a day are still settling


def _utc_now() -> datetime:
    return datetime.now(UTC)


class StripeGateway:
    """One merchant's Stripe. Safe to share between threads."""

    def __init__(self, *, account: Account, wire: Wire, clock: Callable[[], datetime]) -> None:
        self._account, self._wire, self._clock = account, wire, clock
        self._bindings = Bindings(wire=wire, clock=clock)
        self._charges = Charges(
            account=account,
            wire=wire,
            clock=clock,
            facts_of=lambda card: self._bindings.get("", card),
        )
        self._refunds = Refunds(account=account, wire=wire, find=self._charges.find)

    @classmethod
    def from_settings(
        cls,
        values: Mapping[str, str],
        *,
        timeout_s: int,
        clock: Callable[[], datetime] = _utc_now,
    ) -> Self:
        """Build from the STRIPE_* settings (`billing.gateways.configuration`).

        `timeout_s` bounds each request; `clock` gives aware instants. Raises ValueError with a
        sentence naming the setting at fault, never its value.
        """
        account = account_from(values)
        return cls(account=account, wire=Wire(account, timeout_s=timeout_s), clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """What cards allow: any hour, at once, no announcement; one key is good for a day."""
        return Capabilities(
            rail="stripe",
            currencies=self._account.currencies,
            min_amount_minor=_MIN_CHARGE_MINOR,
            max_amount_minor=self._account.max_charge_minor,
            # A key replays its decline for a day, so a further try takes a new one.
            can_reuse_reference_after_decline=False,
            reference_lifetime=KEY_LIFETIME,
            not_found_grace=_NOT_FOUND_GRACE,
            waits=codes.WAITS,
            tries=_TRIES,
            statement_currencies=self._account.currencies,
            statement_timezone="UTC",
            statement_ready=_STATEMENT_READY,
        )

    # --- bindings -----------------------------------------------------------------------------

    def start_binding(self, *, request: BindingRequest) -> SigningPage:
        """Stripe's hosted page; no card number passes through us. Raises SigningNotStarted."""
        return self._bindings.start(request)

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """Ask by "cus_…/pm_…", by the page "cs_…", or by our reference among recent pages.

        The first answer about a signed page attaches the card, should it not be, and marks it with
        `binding_ref`; every further one only reads.
        """
        return self._bindings.get(binding_ref, provider_ref)

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """Remove the card, or close the page nobody signed. May be called twice."""
        return self._bindings.revoke(binding_ref, provider_ref)

    # --- charges ------------------------------------------------------------------------------

    def prepare_charge(self, *, request: ChargeRequest, due_at: datetime) -> Preparation:
        """Cards want no announcement."""
        del request, due_at
        return Preparation(NotNeeded())

    def charge(self, *, request: ChargeRequest) -> Answer:
        """Take the money without its payer, at most once per reference. May be called twice.

        Where the bank wants the payer: ActionRequired with the bank's page, made under the
        request's `return_url` (or STRIPE_RETURN_URL); without one, Refused. Past the reference's
        lifetime (`first_sent_at`) nothing is sent, and the charge is looked for instead.
        """
        return self._charges.charge(request)

    def query(
        self, *, reference: str, provider_ref: str = "", provider_binding_ref: str = ""
    ) -> Answer:
        """What became of a charge: by "pi_…", else among its payer's, else by searching."""
        return self._charges.query(reference, provider_ref, provider_binding_ref)

    def cancel(self, *, reference: str) -> Answer:
        """Closed, NotFound; Unknown for one that is paid, which only a refund gives back."""
        return self._charges.cancel(reference)

    # --- refunds ------------------------------------------------------------------------------

    def refund(self, *, request: RefundRequest) -> Answer:
        """Give back, at most once per `refund_ref`, also when sent again after days."""
        return self._refunds.refund(request)

    def query_refund(self, *, refund_ref: str, charge_ref: str) -> Answer:
        """Succeeded, Pending, Refused (it failed), NotFound or Unknown."""
        return self._refunds.query(refund_ref, charge_ref)

    # --- statements and notifications ---------------------------------------------------------

    def statement(self, *, day: date) -> Iterator[StatementRow | UnreadableRow]:
        """The balance transactions of one UTC day. Raises StatementNotReady before the first."""
        return statement.read(self._wire, day=day, clock=self._clock)

    def parse_notification(
        self, *, headers: Mapping[str, str], body: bytes, query: Mapping[str, str], at: datetime
    ) -> tuple[Notification, Acknowledgement]:
        """Verify and read a webhook's event. Raises BadNotification."""
        del query
        return events.read(body, headers=headers, account=self._account, at=at), events.ACCEPTED

    @staticmethod
    def dispute_standing(*, claims: str) -> DisputeStanding:
        """What a dispute's notification says, by its own word for it."""
        return disputes.standing(claims)
