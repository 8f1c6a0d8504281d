"""What a payment rail can do and how it answers; every adapter in this package speaks this.

- A reference is committed by the caller before an adapter sees it, and only it may be sent twice.
- An adapter never guesses. What it could not read or verify is `Unknown`.
- An adapter touches no database and reads no clock and no settings; it gets them when it is built.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Protocol

from billing.calendar import Hours
from billing.gateways.limits import TryLimit


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call over the wire, kept as evidence. Secrets are masked before it is built."""

    kind: str  # the rail's own name of the call, e.g. "alipay.trade.pay"
    reference: str  # our reference the call was about
    request: str
    response: str  # empty when no answer came
    is_verified: bool  # the answer's signature was checked and good
    error: str = ""  # why there is no usable answer


# --- what may come back -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The money moved. The caller still compares amount and currency with what it asked."""

    provider_ref: str
    amount_minor: int
    currency: str
    at: datetime | None = None  # the rail's own time of the effect


@dataclass(frozen=True, slots=True)
class Pending:
    """Accepted, not final, and normal for this rail: ask again, send nothing."""

    provider_ref: str = ""
    ask_again_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A definite answer with the rail's code, whose meaning is data (`DeclineCode`).
    `is_merchants`: not the payer, a limit of ours is to blame: somebody must hear of it."""

    code: str
    message: str = ""
    is_merchants: bool = False


@dataclass(frozen=True, slots=True)
class ActionRequired:
    """The payer must confirm at `url` before the rail will charge."""

    url: str
    provider_ref: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """The reference is spent and nothing of it is kept; a further try needs a new one."""

    provider_ref: str = ""
    code: str = ""
    is_given_back: bool = False  # it was taken first, so the rail's books hold both


@dataclass(frozen=True, slots=True)
class NotFound:
    """The rail has never heard of the reference. Believed only after a grace period."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Anything else: a timeout, a 5xx, an answer that cannot be read or verified."""

    reason: str
    is_ours: bool = False  # a *question* refused for our key or contract: ours to mend, at once
    wait: timedelta = timedelta(0)  # before it is to be called about this again
    is_too_fast: bool = False  # it wants to be called less often


Outcome = Succeeded | Pending | Refused | ActionRequired | Closed | NotFound | Unknown


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome and the evidence for it."""

    outcome: Outcome
    exchanges: tuple[Exchange, ...] = ()


# --- bindings ---------------------------------------------------------------------------------


class BindingStatus(StrEnum):
    """A binding as the rail sees it now."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """What a signing page is asked for. `binding_ref` may be sent again: same agreement."""

    binding_ref: str
    return_url: str  # the browser comes back here
    notify_url: str  # the rail tells us here
    account_label: str = ""  # what the payer sees, e.g. a masked line
    max_charge_minor: int | None = None
    payer_ip: str = ""  # of the browser that will be sent there; some rails ask for it
    language: str = "zh-hans"  # of the page, where the rail has more than one


@dataclass(frozen=True, slots=True)
class SigningPage:
    """Where to send the browser; and the rail's own number of it, if told, for `get_binding`."""

    url: str
    provider_ref: str = ""


class SigningNotStarted(Exception):
    """The rail gave no signing page: it is away, or it refused. The text names no secret."""


@dataclass(frozen=True, slots=True)
class BindingFacts:
    """What the rail says about one binding."""

    status: BindingStatus
    provider_ref: str = ""  # agreement_no, contract_id, payment method id
    label: str = ""  # masked account as the rail gives it, e.g. "li***@163.com"
    fingerprint: str = ""  # the same for the same instrument, however often it is bound
    expires_at: datetime | None = None
    signed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BindingAnswer:
    """Facts about a binding, or `Unknown`/`NotFound`/`Refused`, and the evidence."""

    outcome: BindingFacts | Unknown | NotFound | Refused
    exchanges: tuple[Exchange, ...] = ()


# --- calls ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """One deduction. `reference` is committed, at most 32 of [A-Za-z0-9_], and idempotent."""

    reference: str
    provider_binding_ref: str
    amount_minor: int
    currency: str
    description: str  # shown to the payer; no secrets, no full numbers
    notify_url: str
    first_sent_at: datetime | None = None  # when this reference was first sent, if it was
    return_url: str = ""  # where a payer who must confirm comes back to


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Give back part or all of a charge. `refund_ref` never changes on a retry."""

    refund_ref: str
    charge_ref: str
    provider_charge_ref: str
    amount_minor: int
    charged_minor: int
    currency: str
    reason: str


@dataclass(frozen=True, slots=True)
class NotNeeded:
    """The rail asks for no announcement before a charge."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """The rail announced a charge: no earlier, no later, no more than this."""

    earliest_charge_at: datetime
    latest_charge_at: datetime
    max_amount_minor: int


@dataclass(frozen=True, slots=True)
class Preparation:
    """What became of announcing a charge, and the evidence for it."""

    outcome: NotNeeded | Noticed | Refused | Unknown
    exchanges: tuple[Exchange, ...] = ()


class StatementKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    FEE = "fee"  # of the rail itself, belonging to no one payment
    REFUND_FAILED = "refund_fail"  # a refund that the rail lists as not made: no money moved
    DISPUTE = "dispute"  # money the rail took back for a payer who disputed a charge
    DISPUTE_WON = "dispute_won"  # and gave us again
    REFUND_BACK = "refund_back"  # a refund that came back to us, though it had succeeded


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One line of a rail's statement. Amounts are positive, `kind` gives the side; a fee, a FEE's
    amount too, is above zero where it was taken and below zero where it was given back."""

    line_number: int
    kind: StatementKind
    our_ref: str
    provider_ref: str
    amount_minor: int
    fee_minor: int
    currency: str
    at: datetime | None
    refund_ref: str = ""
    dispute_ref: str = ""  # the rail's own number of a dispute: a payment may have two


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """One that could not be read, and what could be of whose it is; the rest goes on."""

    line_number: int
    text: str
    reason: str
    our_ref: str = ""
    provider_ref: str = ""
    refund_ref: str = ""


class StatementNotReady(Exception):
    """The rail has not made that day's statement yet; ask again later."""


class NotificationKind(StrEnum):
    CHARGE = "charge"
    BINDING = "binding"
    REFUND = "refund"
    DISPUTE = "dispute"
    OTHER = "other"  # genuine, and about nothing that is acted on: acknowledged and kept


class DisputeStanding(StrEnum):
    """How a payer's dispute stands, as one message has it."""

    OPEN = "open"  # or a word that nobody has listed: never taken for an end
    WON = "won"  # over: the money is ours
    DROPPED = "dropped"  # over without a verdict: nothing was taken
    LOST = "lost"  # over: the payer's bank keeps it


@dataclass(frozen=True, slots=True)
class Notification:
    """A verified notification: a reason to ask the rail, never the truth by itself.

    `dedupe_id` is the same on every repeat. `our_ref` is a charge's or a binding's reference (empty
    when the rail gives only its own), `refund_ref` a REFUND's, `dispute_ref` the rail's own of a
    dispute. What was said last (`said_at`, the rail's time) of each dispute counts.
    """

    kind: NotificationKind
    dedupe_id: str
    our_ref: str
    provider_ref: str = ""
    refund_ref: str = ""
    amount_minor: int | None = None
    currency: str = ""
    claims: str = ""  # what it says happened, in the rail's word
    dispute_ref: str = ""
    said_at: datetime | None = None
    body_masked: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the rail wants to hear, byte for byte."""

    body: str
    content_type: str = "text/plain"
    status: int = 200


class BadNotification(Exception):
    """Forged, stale or malformed: refuse with `acknowledgement`, log, change nothing."""

    def __init__(self, reason: str, acknowledgement: Acknowledgement) -> None:
        super().__init__(reason)
        self.acknowledgement = acknowledgement


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a rail allows. Read by the calendar, the rules and the executor; never by a name."""

    rail: str
    currencies: frozenset[str]
    min_amount_minor: int = 1
    max_amount_minor: int | None = None
    max_charges_per_day: int | None = None
    last_day_of_month: int = 31  # 28: the rail cannot do days 29-31
    hours: Hours | None = None  # in which it takes charges
    must_prepare: bool = False  # `prepare_charge` comes before each charge
    notice: timedelta = timedelta(0)  # from announcing to the earliest charge
    window: timedelta | None = None  # from the earliest charge to the latest
    announcement_stands: bool = False  # until it is used or over: no other one beside it
    not_announced_code: str = ""  # its refusal of a charge for want of a fitting announcement
    delay: timedelta = timedelta(0)  # from a charge that is accepted until the money moves
    no_delay_for: timedelta = timedelta(0)  # after signing, in which it moves at once all the same
    settles_within: timedelta = timedelta(0)  # a normal answer may take this long (`Pending`)
    min_interval: timedelta = timedelta(0)  # between two charges on one binding, also unsettled
    can_reuse_reference_after_decline: bool = False
    reference_lifetime: timedelta | None = None  # past it, the same reference may charge again
    tries: tuple[TryLimit, ...] = ()  # of one instrument, over all that it pays for
    waits: Mapping[str, timedelta] = field(default_factory=dict)  # that a decline's code asks for
    not_found_grace: timedelta = timedelta(minutes=2)  # before NotFound may be believed
    statement_currencies: frozenset[str] = field(default_factory=frozenset)
    statement_timezone: str = "Asia/Shanghai"  # whose days its statements are of
    statement_ready: time = time(9)  # of the next day, there: not worth asking for before

    @property
    def lead(self) -> timedelta:
        """How long before the money is to move this rail must be set to work."""
        return self.notice + self.delay


class Gateway(Protocol):
    """A payment rail. Every call has a deadline, opens no transaction and may be repeated."""

    @property
    def capabilities(self) -> Capabilities: ...

    def start_binding(self, *, request: BindingRequest) -> SigningPage:
        """The page to send the browser to. Offline where the rail allows; idempotent.

        Raises SigningNotStarted, and ValueError for a setting that only this call needs.
        """

    def get_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """Ask the rail about a binding by our reference, or by its own where it is known."""

    def revoke_binding(self, *, binding_ref: str, provider_ref: str) -> BindingAnswer:
        """End it at the rail. A binding that is already gone is REVOKED: success."""

    def prepare_charge(self, *, request: ChargeRequest, due_at: datetime) -> Preparation:
        """Announce, where the rail demands it, a charge wanted at `due_at`. May be called twice:
        what is announced already is not announced again."""

    def charge(self, *, request: ChargeRequest) -> Answer:
        """Take the money, at most once per reference."""

    def query(
        self, *, reference: str, provider_ref: str = "", provider_binding_ref: str = ""
    ) -> Answer:
        """What became of a charge. Changes nothing. `provider_binding_ref`: for rails by payer."""

    def cancel(self, *, reference: str) -> Answer:
        """End an unsettled charge: Closed (nothing taken, or given back), NotFound or Unknown."""

    def refund(self, *, request: RefundRequest) -> Answer:
        """Give money back, at most once per `refund_ref`."""

    def query_refund(self, *, refund_ref: str, charge_ref: str) -> Answer:
        """What became of a refund."""

    def statement(self, *, day: date) -> Iterator[StatementRow | UnreadableRow]:
        """The rail's own books for one local day, streamed.

        Raises StatementNotReady: before the first row, or at the end of one that was cut off.
        """

    def parse_notification(
        self, *, headers: Mapping[str, str], body: bytes, query: Mapping[str, str], at: datetime
    ) -> tuple[Notification, Acknowledgement]:
        """Verify and read a notification. Raises BadNotification."""

    @staticmethod
    def dispute_standing(*, claims: str) -> DisputeStanding:
        """What the `claims` of a dispute's notification mean. Asked of kept ones, also old ones."""
