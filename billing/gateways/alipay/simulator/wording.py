"""The fields of answers and notifications, as Alipay names and writes them."""

import json
from datetime import datetime

from billing.gateways.alipay.simulator import instants
from billing.gateways.alipay.simulator.books import Agreement, Payer, Refund, Trade
from billing.gateways.alipay.simulator.money import yuan

DEPOSIT_BACK = "alipay.trade.refund.depositback.completed"


def agreement_answer(agreement: Agreement, payer: Payer) -> dict[str, object]:
    fields: dict[str, object] = {
        "agreement_no": agreement.agreement_no,
        "external_agreement_no": agreement.external_agreement_no,
        "status": agreement.status,
        "sign_time": instants.text(agreement.signed_at),
        "valid_time": instants.text(agreement.signed_at),
        "invalid_time": instants.text(agreement.invalid_at) if agreement.invalid_at else "",
        "alipay_logon_id": payer.logon_id,
        "principal_id": payer.payer_id,
        "pricipal_type": "CARD",  # the vendor's spelling
        "personal_product_code": agreement.personal_product_code,
        "sign_scene": agreement.sign_scene,
        "third_party_type": "PARTNER",
    }
    if agreement.next_deduct is not None:
        fields["next_deduct_time"] = agreement.next_deduct.isoformat()
        fields["single_quota"] = yuan(agreement.rules["single_minor"])
    return fields


def accepted_answer(trade: Trade) -> dict[str, object]:
    return {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "total_amount": yuan(trade.amount_minor),
        "async_payment_mode": "NORMAL_ASYNC",
        "async_pay_apply_status": "S",
    }


def paid_answer(trade: Trade, payer: Payer) -> dict[str, object]:
    return _money(trade, payer) | {"gmt_payment": _at(trade.paid_at)}


def trade_answer(trade: Trade, payer: Payer | None, now: datetime) -> dict[str, object]:
    fields: dict[str, object] = {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "total_amount": yuan(trade.amount_minor),
        "trade_status": trade.status(now),
    }
    if trade.paid_at is None or payer is None:
        return fields | {"receipt_amount": "0.00"}
    return fields | _money(trade, payer) | {"send_pay_date": _at(trade.paid_at)}


def refund_answer(
    trade: Trade, payer: Payer, refund: Refund, *, is_moved: bool
) -> dict[str, object]:
    return {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "buyer_logon_id": payer.logon_id,
        "buyer_user_id": payer.payer_id,
        "fund_change": "Y" if is_moved else "N",
        # All of the trade's refunds, not this one's amount.
        "refund_fee": yuan(trade.refunded_minor),
        "gmt_refund_pay": instants.text(refund.at),
    }


def signed_notice(agreement: Agreement, payer: Payer) -> dict[str, str]:
    return _agreement(agreement, payer) | {
        "notify_type": "dut_user_sign",
        "status": agreement.status,
        "sign_time": instants.text(agreement.signed_at),
        "valid_time": instants.text(agreement.signed_at),
        "invalid_time": _at(agreement.invalid_at),
    }


def unsigned_notice(agreement: Agreement, payer: Payer, now: datetime) -> dict[str, str]:
    """The notification says UNSIGN where the query says STOP."""
    return _agreement(agreement, payer) | {
        "notify_type": "dut_user_unsign",
        "status": "UNSIGN",
        "unsign_time": instants.text(now),
    }


def trade_notice(trade: Trade, payer: Payer, seller_id: str, now: datetime) -> dict[str, str]:
    fields = {
        "notify_type": "trade_status_sync",
        "trade_no": trade.trade_no,
        "out_trade_no": trade.out_trade_no,
        "buyer_id": payer.payer_id,
        "buyer_logon_id": payer.logon_id,
        "seller_id": seller_id,
        "trade_status": trade.status(now),
        "total_amount": yuan(trade.amount_minor),
        "subject": trade.subject,
        "gmt_create": instants.text(trade.created_at),
    }
    if trade.paid_at is None:
        return fields | {"gmt_close": instants.text(trade.closed_at or now)}
    return fields | {
        "receipt_amount": yuan(trade.amount_minor),
        "gmt_payment": _at(trade.paid_at),
        "fund_bill_list": _funds(trade, "fundChannel"),
    }


def refund_notice(
    trade: Trade, payer: Payer, seller_id: str, refund: Refund, now: datetime
) -> dict[str, str]:
    """The payment's notification again, looking like it but for three fields."""
    return trade_notice(trade, payer, seller_id, now) | {
        "refund_fee": yuan(trade.refunded_minor),
        "gmt_refund": instants.text(refund.at),
        "out_biz_no": refund.reference,
    }


def deposit_back(trade: Trade, refund: Refund, status: str) -> dict[str, str]:
    """The amount is told of what the bank has taken (S); else it is in the payer's balance (F)."""
    told = {
        "trade_no": trade.trade_no,
        "out_trade_no": trade.out_trade_no,
        "out_request_no": refund.reference,
        "dback_status": status,
    }
    return told | ({"dback_amount": yuan(refund.amount_minor)} if status == "S" else {})


def _money(trade: Trade, payer: Payer) -> dict[str, object]:
    return {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "total_amount": yuan(trade.amount_minor),
        "receipt_amount": yuan(trade.amount_minor),
        "buyer_pay_amount": yuan(trade.amount_minor),
        "buyer_user_id": payer.payer_id,
        "buyer_logon_id": payer.logon_id,
        "fund_bill_list": [{"amount": yuan(trade.amount_minor), "fund_channel": "ALIPAYACCOUNT"}],
    }


def _agreement(agreement: Agreement, payer: Payer) -> dict[str, str]:
    return {
        "agreement_no": agreement.agreement_no,
        "external_agreement_no": agreement.external_agreement_no,
        "alipay_user_id": payer.payer_id,
        "alipay_logon_id": payer.logon_id,
        "personal_product_code": agreement.personal_product_code,
        "sign_scene": agreement.sign_scene,
    }


def _funds(trade: Trade, channel_field: str) -> str:
    return json.dumps([{"amount": yuan(trade.amount_minor), channel_field: "ALIPAYACCOUNT"}])


def _at(at: datetime | None) -> str:
    return instants.text(at) if at is not None else ""
