"""The colours of states, as in the portal: green is done, amber needs a person, red went wrong."""

from billing.models import BindingState, DifferenceState, NoticeDelivery, StatementState
from billing.states import AttemptState, RechargeState, RefundState, SettlementState

RECHARGE: dict[str, str] = {
    RechargeState.COMPLETED: "good",
    RechargeState.REVIEW: "warn",
    RechargeState.PAYMENT_UNKNOWN: "warn",
    RechargeState.DELIVERY_UNKNOWN: "warn",
    RechargeState.ACTION_REQUIRED: "warn",
    RechargeState.DECLINED: "warn",
    RechargeState.REFUNDING: "warn",
    RechargeState.UNDELIVERABLE: "bad",
    RechargeState.REVERSED: "bad",
    RechargeState.FAILED: "bad",
    RechargeState.MISSED: "bad",
}
ATTEMPT: dict[str, str] = {
    AttemptState.SUCCEEDED: "good",
    AttemptState.UNKNOWN: "warn",
    AttemptState.DECLINED: "bad",
}
REFUND: dict[str, str] = {
    RefundState.SUCCEEDED: "good",
    RefundState.REQUESTED: "warn",
    RefundState.UNKNOWN: "warn",
    RefundState.REFUSED: "bad",
}
SETTLEMENT: dict[str, str] = {
    SettlementState.APPROVED: "good",
    SettlementState.REQUESTED: "warn",
}
BINDING: dict[str, str] = {
    BindingState.ACTIVE: "good",
    BindingState.SUSPENDED: "warn",
    BindingState.REVOKED: "bad",
    BindingState.EXPIRED: "bad",
}
NOTICE_DELIVERY: dict[str, str] = {
    NoticeDelivery.State.SENT: "good",
    NoticeDelivery.State.FAILED: "bad",
}
STATEMENT: dict[str, str] = {
    StatementState.DONE: "good",
    StatementState.FAILED: "bad",
}
DIFFERENCE: dict[str, str] = {
    DifferenceState.OPEN: "warn",
    DifferenceState.RESOLVED: "good",
}
