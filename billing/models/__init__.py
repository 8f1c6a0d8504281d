from billing.models.bindings import Binding, BindingState, Rail, SpendingCap
from billing.models.cases import Case
from billing.models.decline_codes import DeclineCode
from billing.models.evidence import InboundNotification, RailCall
from billing.models.ledger import Transfer, TransferKind
from billing.models.notices import Channel, Notice, NoticeDelivery, NoticeKind
from billing.models.outages import Outage, OutageSide
from billing.models.promotions import Promotion, PromotionUse
from billing.models.rates import Rate
from billing.models.recharges import PaymentAttempt, Recharge, RechargeMove, Refund
from billing.models.rules import DEFAULT_CHANNELS, Consent, Decision, Rule, TopUpMode
from billing.models.settlements import Settlement
from billing.models.statements import (
    Difference,
    DifferenceKind,
    DifferenceState,
    SourceKind,
    Statement,
    StatementLine,
    StatementState,
)

__all__ = [
    "DEFAULT_CHANNELS",
    "Binding",
    "BindingState",
    "Case",
    "Channel",
    "Consent",
    "Decision",
    "DeclineCode",
    "Difference",
    "DifferenceKind",
    "DifferenceState",
    "InboundNotification",
    "Notice",
    "NoticeDelivery",
    "NoticeKind",
    "Outage",
    "OutageSide",
    "PaymentAttempt",
    "Promotion",
    "PromotionUse",
    "Rail",
    "RailCall",
    "Rate",
    "Recharge",
    "RechargeMove",
    "Refund",
    "Rule",
    "Settlement",
    "SourceKind",
    "SpendingCap",
    "Statement",
    "StatementLine",
    "StatementState",
    "TopUpMode",
    "Transfer",
    "TransferKind",
]
