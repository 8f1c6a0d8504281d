"""The simulator's state: payers, contracts, orders, refunds, announcements, notifications.

Every change is one entry of the journal, applied by the same code when it happens and when the
journal is read again at a start: what is remembered is what was written down. Amounts are in fen.
"""

import threading
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, datetime, timedelta

from billing.gateways.simulation.agenda import VirtualClock
from billing.gateways.simulation.journal import Entry, Journal
from billing.gateways.wechat.simulator.instants import day
from billing.gateways.wechat.simulator.records import (
    DEMO_PAYERS,
    Announcement,
    Contract,
    Delivery,
    Order,
    Refund,
    Signing,
)
from billing.gateways.wechat.simulator.settings import Settings


class Books:
    """All state behind one lock; hold `lock` from looking to recording."""

    def __init__(self, journal: Journal, clock: VirtualClock, settings: Settings) -> None:
        self.lock = threading.RLock()
        self.settings = settings
        self.payers = {payer.openid: payer for payer in DEMO_PAYERS}
        self.contracts: dict[str, Contract] = {}
        self.signings: dict[str, Signing] = {}
        self.orders: dict[str, Order] = {}
        self.refunds: dict[str, Refund] = {}
        self.announcements: dict[str, Announcement] = {}
        self.deliveries: dict[str, Delivery] = {}
        self._by_code: dict[tuple[str, str], str] = {}
        self._signing_by_code: dict[str, str] = {}
        self._by_transaction: dict[str, str] = {}
        self._orders_of: dict[str, list[Order]] = defaultdict(list)
        self._refunds_of: dict[str, list[Refund]] = defaultdict(list)
        self._paid: dict[tuple[str, date], list[Order]] = defaultdict(list)
        self._attempts: Counter[tuple[str, date]] = Counter()
        self._journal = journal
        self._clock = clock
        for entry in journal.entries():
            self._apply(entry)

    # --- asking -------------------------------------------------------------------------------

    def entries(self, *, kind: str = "", since: int = 0) -> list[Entry]:
        return self._journal.entries(kind=kind, since=since)

    def contract(
        self, *, contract_id: str = "", plan_id: str = "", contract_code: str = ""
    ) -> Contract | None:
        """By WeChat Pay's number, or by the merchant's: then the latest that was signed by it."""
        number = contract_id or self._by_code.get((plan_id, contract_code), "")
        return self.contracts.get(number)

    def signing_of(self, contract_code: str) -> Signing | None:
        return self.signings.get(self._signing_by_code.get(contract_code, ""))

    def order(self, *, out_trade_no: str = "", transaction_id: str = "") -> Order | None:
        return self.orders.get(out_trade_no or self._by_transaction.get(transaction_id, ""))

    def orders_of(self, contract_id: str) -> list[Order]:
        return self._orders_of[contract_id]

    def refunds_of(self, out_trade_no: str) -> list[Refund]:
        """Oldest first."""
        return self._refunds_of[out_trade_no]

    def refunded_minor(self, out_trade_no: str) -> int:
        """Given back or promised."""
        parts = self._refunds_of[out_trade_no]
        return sum(part.amount_minor for part in parts if part.status != "REFUNDCLOSE")

    def attempts_on(self, contract_id: str, on: date) -> int:
        return self._attempts[contract_id, on]

    def count_attempt(self, contract_id: str, on: date) -> None:
        """Not in the journal: a restart forgives attempts, and nothing else."""
        self._attempts[contract_id, on] += 1

    def paid_on(self, openid: str, on: date) -> list[Order]:
        """What a payer paid on one day in Beijing."""
        return self._paid[openid, on]

    def number(self, prefix: str, length: int) -> str:
        """A number as WeChat Pay gives them: the day, then a sequence."""
        sequence = f"{self._journal.size + 1:010d}"
        stamp = f"{day(self._clock.now()):%Y%m%d}"
        return f"{prefix}{stamp}{sequence}".ljust(length, "0")[:length]

    # --- recording ----------------------------------------------------------------------------

    def record(self, kind: str, *, when: datetime | None = None, **facts: object) -> Entry:
        """Write an effect down, then let it be so. `when`: if it was due before now."""
        with self.lock:
            at = (when or self._clock.now()).isoformat(timespec="seconds")
            entry = self._journal.append(kind=kind, at=at, facts=facts)
            self._apply(entry)
            return entry

    def _apply(self, entry: Entry) -> None:
        at = datetime.fromisoformat(entry["at"])
        getattr(self, f"_on_{entry['kind']}")(entry, at)

    def _on_clock(self, entry: Entry, at: datetime) -> None:
        self._clock.advance(timedelta(seconds=entry["advance_s"]))

    def _on_settings(self, entry: Entry, at: datetime) -> None:
        self.settings.change(entry["changes"])

    def _on_payer(self, entry: Entry, at: datetime) -> None:
        openid = entry["reference"]
        self.payers[openid] = replace(self.payers[openid], **entry["changes"])

    def _on_signing(self, entry: Entry, at: datetime) -> None:
        signing = Signing(token=entry["token"], made_at=at, **entry["terms"])
        self.signings[signing.token] = signing
        self._signing_by_code[signing.contract_code] = signing.token

    def _on_signing_opened(self, entry: Entry, at: datetime) -> None:
        signing = self.signings[entry["token"]]
        signing.opened_at, signing.return_to = at, entry["return_to"]

    def _on_signing_over(self, entry: Entry, at: datetime) -> None:
        self.signings[entry["token"]].is_over = True

    def _on_contract(self, entry: Entry, at: datetime) -> None:
        contract = Contract(
            contract_id=entry["contract_id"],
            contract_code=entry["reference"],
            signed_at=at,
            expires_at=datetime.fromisoformat(entry["expires_at"]),
            **entry["terms"],
        )
        self.contracts[contract.contract_id] = contract
        self._by_code[contract.plan_id, contract.contract_code] = contract.contract_id

    def _on_contract_ended(self, entry: Entry, at: datetime) -> None:
        contract = self.contracts[entry["contract_id"]]
        contract.ended_at, contract.ended_by = at, entry["mode"]
        contract.remark = entry["remark"]

    def _on_contract_changed(self, entry: Entry, at: datetime) -> None:
        """Its dates were moved by /_control."""
        contract = self.contracts[entry["contract_id"]]
        for name, moved_to in entry["moved"].items():
            setattr(contract, name, datetime.fromisoformat(moved_to))

    def _on_announcement(self, entry: Entry, at: datetime) -> None:
        self.announcements[entry["contract_id"]] = Announcement(
            contract_id=entry["contract_id"],
            amount_minor=entry["amount_minor"],
            opens_at=datetime.fromisoformat(entry["opens_at"]),
            closes_at=datetime.fromisoformat(entry["closes_at"]),
            terms=entry["terms"],
        )

    def _on_order(self, entry: Entry, at: datetime) -> None:
        order = Order(
            out_trade_no=entry["reference"],
            amount_minor=entry["amount_minor"],
            transaction_id=entry["transaction_id"],
            contract_id=entry["contract_id"],
            accepted_at=at,
            due_at=datetime.fromisoformat(entry["due_at"]),
            **entry["terms"],
        )
        self.orders[order.out_trade_no] = order
        self._by_transaction[order.transaction_id] = order.out_trade_no
        self._orders_of[order.contract_id].append(order)

    def _on_charge(self, entry: Entry, at: datetime) -> None:
        """Money leaves the payer."""
        order = self.orders[entry["reference"]]
        order.paid_at = at
        self._paid[order.openid, day(at)].append(order)
        self._move(order.openid, -order.amount_minor)
        announced = self.announcements.get(order.contract_id)
        if announced is not None:
            announced.is_used = True
        if self.settings.merchant_balance_minor >= 0:
            self.settings.merchant_balance_minor += order.amount_minor

    def _on_order_failed(self, entry: Entry, at: datetime) -> None:
        order = self.orders[entry["reference"]]
        order.closed_at, order.failure = at, entry["code"]

    def _on_order_closed(self, entry: Entry, at: datetime) -> None:
        self.orders[entry["reference"]].closed_at = at

    def _on_refund_accepted(self, entry: Entry, at: datetime) -> None:
        refund = Refund(
            out_refund_no=entry["reference"],
            out_trade_no=entry["charge_reference"],
            refund_id=entry["refund_id"],
            amount_minor=entry["amount_minor"],
            accepted_at=at,
            due_at=datetime.fromisoformat(entry["due_at"]),
            **entry["terms"],
        )
        self.refunds[refund.out_refund_no] = refund
        self._refunds_of[refund.out_trade_no].append(refund)
        if self.settings.merchant_balance_minor >= 0:
            self.settings.merchant_balance_minor -= refund.amount_minor

    def _on_refund(self, entry: Entry, at: datetime) -> None:
        """Money comes back to the payer."""
        refund = self.refunds[entry["reference"]]
        refund.status, refund.done_at = "SUCCESS", at
        self._move(self.orders[refund.out_trade_no].openid, refund.amount_minor)

    def _on_refund_failed(self, entry: Entry, at: datetime) -> None:
        refund = self.refunds[entry["reference"]]
        refund.status, refund.done_at = entry["status"], at
        if self.settings.merchant_balance_minor >= 0:
            self.settings.merchant_balance_minor += refund.amount_minor

    def _on_notification(self, entry: Entry, at: datetime) -> None:
        names = ("number", "url", "about", "body", "waits_s", "is_v3")
        delivery = Delivery(**{name: entry[name] for name in names})
        self.deliveries[delivery.number] = delivery

    def _on_notification_over(self, entry: Entry, at: datetime) -> None:
        delivery = self.deliveries[entry["number"]]
        delivery.is_over, delivery.is_accepted = True, entry["is_accepted"]

    def _move(self, openid: str, by_minor: int) -> None:
        payer = self.payers[openid]
        self.payers[openid] = replace(payer, balance_minor=payer.balance_minor + by_minor)
