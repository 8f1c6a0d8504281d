"""What a carrier can do for a line, and how it answers; every adapter here speaks this.

The credit leg follows the same rules as the payment leg: the reference is committed before the
call, an unreadable answer is `Unknown`, and an adapter touches no database, clock or settings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from lines.validity import Validity


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call over the wire, kept as evidence. Numbers and secrets are masked in it."""

    kind: str  # e.g. "POST /topupBalance"
    reference: str
    request: str
    response: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class LineAddress:
    """How a carrier knows a line: by its number, or by its card where it has no number."""

    msisdn: str  # E.164, may be empty for a data-only eSIM
    iccid: str

    @property
    def resource(self) -> str:
        return self.msisdn or self.iccid


@dataclass(frozen=True, slots=True)
class Balance:
    """What the carrier says of a line. `balance_minor` may be negative."""

    balance_minor: int
    currency: str
    observed_at: datetime
    valid_until: Validity  # None: it has no end
    status: str  # "active", "suspended", "expired"; "" where it says nothing that we know
    reserved_minor: int = 0


@dataclass(frozen=True, slots=True)
class Credited:
    """The line has the money. `credited_minor` is the carrier's own figure."""

    carrier_ref: str
    credited_minor: int
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """Taken on, not final: ask again, send nothing."""

    carrier_ref: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A definite no. `is_permanent`: trying again cannot help (number gone, not this carrier's)."""

    code: str
    message: str = ""
    is_permanent: bool = False


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """A definite no to us, not to the line: our token, our contract. Nothing was done."""

    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Reversed:
    """Credited before, taken back by the carrier since."""

    carrier_ref: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """The carrier has no such order. Believed only after a grace period."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A timeout, a 5xx, an answer that cannot be read."""

    reason: str
    is_too_fast: bool = False  # it wants to be called less often


CreditOutcome = Credited | Accepted | Rejected | NotAllowed | Reversed | NotFound | Unknown


@dataclass(frozen=True, slots=True)
class CreditAnswer:
    outcome: CreditOutcome
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class BalanceAnswer:
    outcome: Balance | NotFound | NotAllowed | Unknown
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """Credit `amount_minor` to a line. `reference` is ours: a ULID, the same on every retry."""

    reference: str
    address: LineAddress
    amount_minor: int
    currency: str


class CarrierEventKind(StrEnum):
    TOPUP = "topup"  # one of ours has gone on: it is asked about
    BALANCE = "balance"  # a line's moved, by whatever


@dataclass(frozen=True, slots=True)
class CarrierEvent:
    """A verified message from the carrier: a reason to ask, never the truth by itself."""

    dedupe_id: str
    kind: CarrierEventKind
    reference: str  # ours where the carrier echoes it, else empty
    carrier_ref: str
    claims: str  # the carrier's word for what happened
    body_masked: str = ""
    # The number or card as the carrier names it, "" when it does not: how a balance finds its line.
    resource: str = field(default="", repr=False)


class BadEvent(Exception):
    """Forged, stale or malformed: refuse it, log it, change nothing."""


@dataclass(frozen=True, slots=True)
class CarrierStatementRow:
    """One credit or reversal in the carrier's own books."""

    line_number: int
    kind: str  # "credit" or "reversal"
    our_ref: str
    carrier_ref: str
    amount_minor: int
    currency: str
    at: datetime | None
    names: tuple[str, ...] = field(default=(), repr=False)  # the numbers or cards it says it is of


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row of the statement that could not be read; the rest goes on. No value is in `reason`.

    What could be read of whose it is goes with it, so that it is one difference and not two.
    """

    line_number: int
    reason: str
    our_ref: str = ""
    carrier_ref: str = ""


class StatementUnavailable(Exception):
    """The carrier's books could not be read to their end; ask again later.

    `is_ours`: it refused *us*, so that somebody has to mend our token or contract.
    """

    def __init__(self, reason: str, *, is_ours: bool = False) -> None:
        super().__init__(reason)
        self.is_ours = is_ours


class CarrierAdapter(Protocol):
    """A carrier's system. Every call has a deadline, opens no transaction and may be repeated."""

    @property
    def can_query_by_reference(self) -> bool:
        """False: after an unknown outcome nothing may be sent again; a person decides."""

    def balance(self, *, address: LineAddress) -> BalanceAnswer: ...

    def credit(self, *, request: CreditRequest) -> CreditAnswer:
        """Credit once. Only a carrier that can be asked by reference may be sent it again."""

    def query(self, *, reference: str, address: LineAddress, carrier_ref: str = "") -> CreditAnswer:
        """What became of a credit of this line. An answer about another line says nothing."""

    def reverse(self, *, request: CreditRequest, carrier_ref: str) -> CreditAnswer:
        """Take a credit back, for a refund after delivery. `Reversed` on success.

        `request.reference` is the reversal's own reference, a new one, the same on every retry.
        """

    def send_code(self, *, address: LineAddress, text: str) -> bool:
        """Send a short text to the number, to prove who holds it. False: not sent."""

    def statement(self, *, day: date) -> Iterator[CarrierStatementRow | UnreadableRow]:
        """The carrier's own books for one day, streamed. Raises StatementUnavailable."""

    def parse_event(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> CarrierEvent:
        """Verify and read a message. Raises BadEvent."""
