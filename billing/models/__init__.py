from billing.models.bindings import Binding, BindingState, Rail, SpendingCap
from billing.models.evidence import InboundNotification, RailCall
from billing.models.ledger import Transfer, TransferKind
from billing.models.notices import Channel, Notice, NoticeDelivery, NoticeKind
from billing.models.promotions import Promotion, PromotionUse
from billing.models.recharges import DeclineCode, PaymentAttempt, Recharge, RechargeMove, Refund
from billing.models.rules import Consent, Decision, Rule, TopUpMode

__all__ = [
    "Binding",
    "BindingState",
    "Channel",
    "Consent",
    "Decision",
    "DeclineCode",
    "InboundNotification",
    "Notice",
    "NoticeDelivery",
    "NoticeKind",
    "PaymentAttempt",
    "Promotion",
    "PromotionUse",
    "Rail",
    "RailCall",
    "Recharge",
    "RechargeMove",
    "Refund",
    "Rule",
    "SpendingCap",
    "TopUpMode",
    "Transfer",
    "TransferKind",
]
