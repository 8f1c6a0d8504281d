"""What the books are made of. Amounts are in fen."""

from dataclasses import dataclass, field
from datetime import datetime

# contract_termination_mode
EXPIRED, BY_USER, BY_API, ACCOUNT_CLOSED = "1", "2", "3", "5"


@dataclass(frozen=True, slots=True)
class Payer:
    """A person who pays. `daily_limit_minor` is what all deductions of a day may add up to."""

    openid: str
    name: str
    bank_type: str
    balance_minor: int
    daily_limit_minor: int
    is_frozen: bool = False
    note_zh: str = ""
    note_en: str = ""


DEMO_PAYERS = (
    Payer(
        "oUpF8uN95-Ptaags6E_roPHg7AG1", "林晓", "CFT", 500_000_00, 50_000_00,
        note_zh="零钱充足", note_en="plenty of money",
    ),
    Payer(
        "oUpF8uMEb4qRXf22hE3X68TekuK2", "陈一", "CMB_DEBIT", 12_00, 5_000_00,
        note_zh="零钱很少", note_en="little money",
    ),
    Payer(
        "oUpF8uMuAJO_M2pxb1Q9zNjWeS63", "周宁", "CFT", 8_000_00, 5_000_00, is_frozen=True,
        note_zh="支付功能已冻结", note_en="account frozen",
    ),
    Payer(
        "oUpF8uD3xT9bQm5vW2kLhYpRzN74", "苏禾", "ICBC_DEBIT", 30_000_00, 200_00,
        note_zh="每日限额 ¥200", note_en="¥200 a day at most",
    ),
)  # fmt: skip


@dataclass(slots=True)
class Signing:
    """One page that asks for consent, from the request for it to the payer's decision."""

    token: str
    made_at: datetime
    via: str  # official_account, h5, app
    plan_id: str
    contract_code: str
    display_account: str
    request_serial: str
    notify_url: str
    sign_type: str
    return_to: str
    opened_at: datetime | None = None
    is_over: bool = False


@dataclass(slots=True)
class Contract:
    """One payer's consent."""

    contract_id: str
    contract_code: str
    plan_id: str
    openid: str
    display_account: str
    request_serial: str
    notify_url: str
    sign_type: str
    signed_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""
    remark: str = ""

    def is_active(self, now: datetime) -> bool:
        return self.ended_at is None and now < self.expires_at


@dataclass(slots=True)
class Announcement:
    """A 预扣费通知: one deduction may follow, in its days and up to its amount."""

    contract_id: str
    amount_minor: int
    opens_at: datetime
    closes_at: datetime
    terms: dict[str, object]  # as they were sent, to tell a repeat from another one
    is_used: bool = False

    def stands(self, now: datetime) -> bool:
        return not self.is_used and now < self.closes_at


@dataclass(slots=True)
class Order:
    """One deduction under one out_trade_no."""

    out_trade_no: str
    transaction_id: str
    amount_minor: int
    body: str
    attach: str
    contract_id: str
    openid: str
    notify_url: str
    sign_type: str
    accepted_at: datetime
    due_at: datetime
    doom: str = ""  # a fault's order: this is how it ends
    paid_at: datetime | None = None
    closed_at: datetime | None = None
    failure: str = ""

    @property
    def is_waiting(self) -> bool:
        return self.paid_at is None and self.closed_at is None


@dataclass(slots=True)
class Refund:
    """Part of an order given back, or on its way."""

    out_refund_no: str
    refund_id: str
    out_trade_no: str
    amount_minor: int
    reason: str
    notify_url: str
    accepted_at: datetime
    due_at: datetime
    doom: str = ""
    status: str = "PROCESSING"
    done_at: datetime | None = None


@dataclass(slots=True)
class Delivery:
    """One notification and what became of it. v3's headers are made anew for every try."""

    number: str
    url: str
    about: dict[str, str]  # its fields before signing or sealing; read by tests
    body: str
    waits_s: list[int] = field(default_factory=list)
    is_v3: bool = False
    tries: int = 0
    waits: int = 0  # how often a further try was put on the agenda
    is_accepted: bool = False
    is_over: bool = False
    answer: str = ""
