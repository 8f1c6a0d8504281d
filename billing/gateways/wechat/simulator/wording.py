"""The fields of answers and notifications, as WeChat Pay names and writes them."""

import secrets
from datetime import datetime

from billing.gateways.wechat.simulator import instants
from billing.gateways.wechat.simulator.records import EXPIRED, Contract, Order, Refund, Signing
from billing.gateways.wechat.simulator.refusals import words_of
from billing.gateways.wechat.simulator.state import Simulator

SIGNED, NOT_SIGNED, IN_PROGRESS = "0", "1", "9"
_STATE_WORDS = {
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "CLOSED": "订单已关闭",
    "ACCEPT": "已接收，等待扣款",
}
Fields = dict[str, str]


def common(simulator: Simulator) -> Fields:
    """What answers and most notifications begin with."""
    return {
        "return_code": "SUCCESS",
        "return_msg": "OK",
        "appid": simulator.app_id,
        "mch_id": simulator.mch_id,
        "nonce_str": secrets.token_hex(16),
    }


# --- contracts --------------------------------------------------------------------------------


def contract_answer(contract: Contract, now: datetime) -> Fields:
    fields = {
        "contract_id": contract.contract_id,
        "plan_id": contract.plan_id,
        "openid": contract.openid,
        "request_serial": contract.request_serial,
        "contract_code": contract.contract_code,
        "contract_display_account": contract.display_account,
        "contract_state": SIGNED if contract.is_active(now) else NOT_SIGNED,
        "contract_signed_time": instants.dashed(contract.signed_at),
        "contract_expired_time": instants.dashed(contract.expires_at),
        # The vendor's sample has these in a success too.
        "err_code": "0",
        "err_code_des": "SUCCESS",
    }
    if contract.is_active(now):
        return fields
    return fields | {
        "contract_terminated_time": instants.dashed(contract.ended_at or contract.expires_at),
        "contract_termination_mode": contract.ended_by or EXPIRED,
        "contract_termination_remark": contract.remark,
    }


def signing_answer(signing: Signing) -> Fields:
    """A page was opened for it and nobody has decided yet."""
    return {
        "plan_id": signing.plan_id,
        "request_serial": signing.request_serial,
        "contract_code": signing.contract_code,
        "contract_display_account": signing.display_account,
        "contract_state": IN_PROGRESS,
        "err_code": "0",
        "err_code_des": "SUCCESS",
    }


def signed_notice(simulator: Simulator, contract: Contract) -> Fields:
    return _contract_notice(simulator, contract) | {
        "change_type": "ADD",
        "operate_time": instants.dashed(contract.signed_at),
        "contract_expired_time": instants.dashed(contract.expires_at),
    }


def ended_notice(simulator: Simulator, contract: Contract) -> Fields:
    return _contract_notice(simulator, contract) | {
        "change_type": "DELETE",
        "operate_time": instants.dashed(contract.ended_at or simulator.time.now()),
        "contract_termination_mode": contract.ended_by,
    }


def _contract_notice(simulator: Simulator, contract: Contract) -> Fields:
    """Without appid and nonce_str, as in the vendor's sample."""
    return {
        "return_code": "SUCCESS",
        "result_code": "SUCCESS",
        "return_msg": "OK",
        "mch_id": simulator.mch_id,
        "contract_code": contract.contract_code,
        "openid": contract.openid,
        "plan_id": contract.plan_id,
        "contract_id": contract.contract_id,
        "request_serial": contract.request_serial,
    }


def contract_resource(simulator: Simulator, notice: Fields) -> dict[str, object]:
    """The same over v3."""
    names = ("contract_id", "contract_code", "plan_id", "openid", "change_type", "operate_time")
    resource = {name: notice[name] for name in names}
    return {"mchid": simulator.mch_id, "appid": simulator.app_id, **resource}


# --- orders -----------------------------------------------------------------------------------


def trade_state(simulator: Simulator, order: Order) -> str:
    """REFUND as soon as any part of it is on its way back."""
    if order.paid_at is not None:
        return "REFUND" if simulator.books.refunds_of(order.out_trade_no) else "SUCCESS"
    return "CLOSED" if order.closed_at is not None else "ACCEPT"


def order_answer(simulator: Simulator, order: Order) -> Fields:
    state = trade_state(simulator, order)
    fields = {
        "trade_state": state,
        "trade_state_desc": _STATE_WORDS[state],
        "out_trade_no": order.out_trade_no,
        "attach": order.attach,
    }
    if order.paid_at is not None:
        return fields | _payment(simulator, order, order.paid_at)
    if order.failure and simulator.settings.tells_why:
        return fields | {"err_code": order.failure, "err_code_des": words_of(order.failure)}
    return fields


def order_notice(simulator: Simulator, order: Order) -> Fields:
    fields = common(simulator) | {
        "out_trade_no": order.out_trade_no,
        "contract_id": order.contract_id,
        "attach": order.attach,
    }
    if order.sign_type != "MD5":
        fields["sign_type"] = order.sign_type
    if order.paid_at is not None:
        paid = _payment(simulator, order, order.paid_at)
        return fields | paid | {"result_code": "SUCCESS", "trade_state": "SUCCESS"}
    if simulator.settings.odd_failures:
        return fields | {"result_code": "SUCCESS", "bank_type": "CFT", "is_subscribe": "N"}
    return fields | {
        "result_code": "FAIL",
        "err_code": order.failure,
        "err_code_des": words_of(order.failure),
        "trade_state": "CLOSED",
        "total_fee": str(order.amount_minor),
    }


def _payment(simulator: Simulator, order: Order, paid_at: datetime) -> Fields:
    return {
        "openid": order.openid,
        "is_subscribe": "N",
        "trade_type": "PAP",
        "bank_type": simulator.books.payers[order.openid].bank_type,
        "total_fee": str(order.amount_minor),
        "fee_type": "CNY",
        "cash_fee": str(order.amount_minor),
        "transaction_id": order.transaction_id,
        "time_end": instants.packed(paid_at),
        "contract_id": order.contract_id,
    }


def order_resource(simulator: Simulator, order: Order) -> dict[str, object]:
    resource: dict[str, object] = {
        "mchid": simulator.mch_id,
        "appid": simulator.app_id,
        "out_trade_no": order.out_trade_no,
        "contract_id": order.contract_id,
        "trade_type": "PAP",
        "trade_state": trade_state(simulator, order),
        "attach": order.attach,
        "amount": {"total": order.amount_minor, "currency": "CNY"},
    }
    if order.paid_at is None:
        return resource | {"err_code": order.failure}
    return resource | {
        "transaction_id": order.transaction_id,
        "success_time": instants.rfc3339(order.paid_at),
        "payer": {"openid": order.openid},
        "bank_type": simulator.books.payers[order.openid].bank_type,
    }


# --- refunds ----------------------------------------------------------------------------------


def refund_answer(order: Order, refund: Refund) -> Fields:
    return {
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "out_refund_no": refund.out_refund_no,
        "refund_id": refund.refund_id,
        "refund_channel": "ORIGINAL",
        "refund_fee": str(refund.amount_minor),
        "total_fee": str(order.amount_minor),
        "fee_type": "CNY",
        "cash_fee": str(order.amount_minor),
        "cash_refund_fee": str(refund.amount_minor),
    }


def refunds_answer(order: Order, refunds: list[Refund], *, count: int) -> Fields:
    """`count`: of all refunds of the order, of which `refunds` is a page."""
    fields = {
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "total_fee": str(order.amount_minor),
        "fee_type": "CNY",
        "cash_fee": str(order.amount_minor),
        "refund_count": str(len(refunds)),
        "total_refund_count": str(count),
    }
    for number, refund in enumerate(refunds):
        fields |= {
            f"out_refund_no_{number}": refund.out_refund_no,
            f"refund_id_{number}": refund.refund_id,
            f"refund_channel_{number}": "ORIGINAL",
            f"refund_fee_{number}": str(refund.amount_minor),
            f"refund_status_{number}": refund.status,
            f"refund_account_{number}": "REFUND_SOURCE_RECHARGE_FUNDS",
            f"refund_recv_accout_{number}": "支付用户的零钱",  # the vendor's spelling
            f"refund_success_time_{number}": _when(refund),
        }
    return fields


def refund_notice(simulator: Simulator) -> Fields:
    """Unsigned: all it says is sealed in `req_info`."""
    fields = common(simulator)
    del fields["return_msg"]
    return fields


def refund_sealed(simulator: Simulator, refund: Refund) -> Fields:
    order = simulator.books.orders[refund.out_trade_no]
    return {
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "refund_id": refund.refund_id,
        "out_refund_no": refund.out_refund_no,
        "total_fee": str(order.amount_minor),
        "settlement_total_fee": str(order.amount_minor),
        "refund_fee": str(refund.amount_minor),
        "settlement_refund_fee": str(refund.amount_minor),
        "refund_status": refund.status,
        "success_time": _when(refund),
        "refund_recv_accout": "支付用户的零钱",
        "refund_account": "REFUND_SOURCE_RECHARGE_FUNDS",
        "refund_request_source": "API",
    }


def refund_resource(simulator: Simulator, refund: Refund) -> dict[str, object]:
    order = simulator.books.orders[refund.out_trade_no]
    return {
        "mchid": simulator.mch_id,
        "out_trade_no": order.out_trade_no,
        "transaction_id": order.transaction_id,
        "out_refund_no": refund.out_refund_no,
        "refund_id": refund.refund_id,
        "refund_status": "SUCCESS" if refund.status == "SUCCESS" else "ABNORMAL",
        "success_time": instants.rfc3339(refund.done_at or refund.due_at),
        "user_received_account": "支付用户的零钱",
        "amount": {
            "total": order.amount_minor,
            "refund": refund.amount_minor,
            "payer_total": order.amount_minor,
            "payer_refund": refund.amount_minor,
        },
    }


def _when(refund: Refund) -> str:
    is_good = refund.status == "SUCCESS" and refund.done_at is not None
    return instants.dashed(refund.done_at) if is_good and refund.done_at else ""
