"""The simulator's state: payers, agreements, trades. Changed by journal entries and nothing else.

Every change is one entry, applied by the same code when it happens and when the journal is read
again at a start, so that what is remembered is what was written down. Amounts are in fen.
"""

import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TypedDict

from billing.gateways.alipay.simulator.instants import day
from billing.gateways.simulation.agenda import VirtualClock
from billing.gateways.simulation.journal import Entry, Journal

WAITING, PAID, CLOSED, FINISHED = (
    "WAIT_BUYER_PAY",
    "TRADE_SUCCESS",
    "TRADE_CLOSED",
    "TRADE_FINISHED",
)
REFUNDABLE_FOR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Payer:
    """A person who pays. `daily_limit_minor` is what all deductions of a day may add up to."""

    payer_id: str
    name: str
    logon_id: str
    balance_minor: int
    daily_limit_minor: int
    is_frozen: bool = False
    note_zh: str = ""
    note_en: str = ""


class Rules(TypedDict, total=False):
    """The rhythm and limits as they were signed; none of it without a rhythm."""

    unit: str  # DAY or MONTH
    count: int
    first: str  # a date
    single_minor: int
    total_minor: int | None
    total_payments: int | None


@dataclass(slots=True)
class Agreement:
    """One payer's consent."""

    agreement_no: str
    external_agreement_no: str
    payer_id: str
    status: str
    product_code: str
    personal_product_code: str
    sign_scene: str
    external_logon_id: str
    notify_url: str
    signed_at: datetime
    invalid_at: datetime | None
    rules: Rules
    next_deduct: date | None
    paid_count: int = 0
    paid_minor: int = 0


@dataclass(frozen=True, slots=True)
class Refund:
    """Money given back; `reference` is the out_request_no."""

    reference: str
    amount_minor: int
    at: datetime
    is_told: bool = False  # what the payer's bank does with it


@dataclass(slots=True)
class Trade:
    """One deduction under one out_trade_no."""

    out_trade_no: str
    trade_no: str
    amount_minor: int
    subject: str
    product_code: str
    agreement_no: str
    payer_id: str
    notify_url: str
    created_at: datetime
    expires_at: datetime | None
    retry_type: str = ""  # empty: synchronous
    paid_at: datetime | None = None
    closed_at: datetime | None = None
    refunds: dict[str, Refund] = field(default_factory=dict)

    @property
    def refunded_minor(self) -> int:
        return sum(refund.amount_minor for refund in self.refunds.values())

    def status(self, now: datetime) -> str:
        if self.paid_at is None:
            is_over = self.expires_at is not None and now >= self.expires_at
            return CLOSED if self.closed_at or is_over else WAITING
        if self.refunded_minor == self.amount_minor:
            return CLOSED
        return FINISHED if now - self.paid_at >= REFUNDABLE_FOR else PAID


DEMO_PAYERS = (
    Payer(
        "2088100000000011", "林晓", "lin***@example.cn", 500_000_00, 50_000_00,
        note_zh="余额充足", note_en="plenty of money",
    ),
    Payer(
        "2088100000000022", "陈一", "chen***@example.cn", 12_00, 5_000_00,
        note_zh="余额很少", note_en="little money",
    ),
    Payer(
        "2088100000000033", "周宁", "138****0033", 8_000_00, 5_000_00, is_frozen=True,
        note_zh="账户已冻结", note_en="account frozen",
    ),
)  # fmt: skip


class Books:
    """All state behind one lock; hold `lock` from looking to recording."""

    def __init__(self, journal: Journal, clock: VirtualClock) -> None:
        self.lock = threading.RLock()
        self.payers = {payer.payer_id: payer for payer in DEMO_PAYERS}
        self.agreements: dict[str, Agreement] = {}
        self.trades: dict[str, Trade] = {}
        self._by_external: dict[str, str] = {}
        self._by_trade_no: dict[str, str] = {}
        self._spent: dict[tuple[str, date], int] = defaultdict(int)
        self._journal = journal
        self._clock = clock
        for entry in journal.entries():
            self._apply(entry)

    def record(self, kind: str, **facts: object) -> Entry:
        """Write an effect down, then let it be so."""
        with self.lock:
            at = self._clock.now().isoformat(timespec="seconds")
            entry = self._journal.append(kind=kind, at=at, facts=facts)
            self._apply(entry)
            return entry

    def entries(self, *, kind: str = "", since: int = 0) -> list[Entry]:
        return self._journal.entries(kind=kind, since=since)

    def by_external(self, external_agreement_no: str) -> Agreement | None:
        return self.agreements.get(self._by_external.get(external_agreement_no, ""))

    def trade(self, *, out_trade_no: str = "", trade_no: str = "") -> Trade | None:
        return self.trades.get(out_trade_no or self._by_trade_no.get(trade_no, ""))

    def spent_on(self, payer_id: str, on: date) -> int:
        """What a payer's deductions of one day add up to, in fen."""
        return self._spent[payer_id, on]

    def next_number(self, now: datetime, digits: int) -> str:
        """A number as Alipay makes them: the day, then figures. Unique for the journal's life."""
        with self.lock:
            return f"{day(now):%Y%m%d}{self._journal.size + 1:0{digits - 8}d}"

    # --- one method per kind of entry ---------------------------------------------------------

    def _apply(self, entry: Entry) -> None:
        getattr(self, f"_on_{entry['kind']}")(entry, datetime.fromisoformat(entry["at"]))

    def _on_clock(self, entry: Entry, at: datetime) -> None:
        self._clock.advance(timedelta(seconds=entry["advance_s"]))

    def _on_payer(self, entry: Entry, at: datetime) -> None:
        payer_id = entry["reference"]
        self.payers[payer_id] = replace(self.payers[payer_id], **entry["changes"])

    def _on_agreement_signed(self, entry: Entry, at: datetime) -> None:
        until, planned = entry["invalid_at"], entry["next_deduct"]
        agreement = Agreement(
            agreement_no=entry["agreement_no"],
            external_agreement_no=entry["reference"],
            payer_id=entry["payer_id"],
            status=entry["status"],
            signed_at=at,
            invalid_at=datetime.fromisoformat(until) if until else None,
            next_deduct=date.fromisoformat(planned) if planned else None,
            **entry["terms"],
        )
        self.agreements[agreement.agreement_no] = agreement
        self._by_external[agreement.external_agreement_no] = agreement.agreement_no

    def _on_agreement_ended(self, entry: Entry, at: datetime) -> None:
        self.agreements[entry["agreement_no"]].status = "STOP"

    def _on_agreement_changed(self, entry: Entry, at: datetime) -> None:
        """Its end, its plan's next date, or its limits were moved."""
        agreement = self.agreements[entry["agreement_no"]]
        if "invalid_at" in entry:
            agreement.invalid_at = datetime.fromisoformat(entry["invalid_at"])
        if "next_deduct" in entry:
            agreement.next_deduct = date.fromisoformat(entry["next_deduct"])
        agreement.rules = agreement.rules | entry.get("rules", {})

    def _on_trade_opened(self, entry: Entry, at: datetime) -> None:
        until = entry["expires_at"]
        trade = Trade(
            out_trade_no=entry["reference"],
            trade_no=entry["trade_no"],
            amount_minor=entry["amount_minor"],
            created_at=at,
            expires_at=datetime.fromisoformat(until) if until else None,
            **entry["terms"],
        )
        self.trades[trade.out_trade_no] = trade
        self._by_trade_no[trade.trade_no] = trade.out_trade_no

    def _on_trade_closed(self, entry: Entry, at: datetime) -> None:
        self.trades[entry["reference"]].closed_at = at

    def _on_charge(self, entry: Entry, at: datetime) -> None:
        """Money leaves the payer. A synchronous trade is opened by the same entry."""
        if entry["reference"] not in self.trades:
            self._on_trade_opened(entry, at)
        trade = self.trades[entry["reference"]]
        trade.paid_at = at
        self._move(trade.payer_id, -trade.amount_minor)
        self._spent[trade.payer_id, day(at)] += trade.amount_minor
        agreement = self.agreements[trade.agreement_no]
        agreement.paid_count += 1
        agreement.paid_minor += trade.amount_minor
        if entry["next_deduct"]:
            agreement.next_deduct = date.fromisoformat(entry["next_deduct"])

    def _on_refund(self, entry: Entry, at: datetime) -> None:
        trade = self.trades[entry["charge_reference"]]
        told = entry.get("is_told", False)
        refund = Refund(entry["reference"], entry["amount_minor"], at, told)
        trade.refunds[refund.reference] = refund
        self._move(trade.payer_id, refund.amount_minor)

    def _move(self, payer_id: str, by_minor: int) -> None:
        payer = self.payers[payer_id]
        self.payers[payer_id] = replace(payer, balance_minor=payer.balance_minor + by_minor)
