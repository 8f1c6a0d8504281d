"""v2's calls: each takes verified fields and returns those of its answer, or refuses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from billing.gateways.wechat.simulator import consent, deductions, refunding, wording
from billing.gateways.wechat.simulator.records import BY_API, Contract, Order, Refund
from billing.gateways.wechat.simulator.refusals import Refusal
from billing.gateways.wechat.simulator.state import Simulator
from billing.gateways.wechat.simulator.wording import Fields

MINI_PROGRAM_PATH = "pages/index/index?sign_scene=app&domain_type=cn&pre_entrustweb_id="
_PAGE_OF_REFUNDS = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One verified call. `doom`: how what it starts is to end, if a fault ordered that."""

    simulator: Simulator
    fields: Mapping[str, str]
    sign_type: str
    now: datetime
    doom: str = ""

    def text(self, name: str) -> str:
        return self.fields.get(name, "")


# --- contracts --------------------------------------------------------------------------------


def pre_entrust(call: Call) -> Fields:
    signing = consent.asked(call.simulator, call.fields, via="app", sign_type=call.sign_type)
    return {
        "pre_entrustweb_id": signing.token,
        "miniprogram_username": "gh_papaysimulator",
        "miniprogram_path": MINI_PROGRAM_PATH + signing.token,
    }


def query_contract(call: Call) -> Fields:
    """By contract_id, or by plan_id and contract_code; 9 while a page waits for a decision."""
    contract = _found_contract(call)
    if contract is not None and contract.is_active(call.now):
        return wording.contract_answer(contract, call.now)
    signing = call.simulator.books.signing_of(call.text("contract_code"))
    is_asked = signing is not None and signing.plan_id == call.text("plan_id")
    if signing is not None and is_asked and consent.is_open(signing, call.now):
        return wording.signing_answer(signing)
    if contract is None:
        raise Refusal("CONTRACT_NOT_EXIST")
    return wording.contract_answer(contract, call.now)


def delete_contract(call: Call) -> Fields:
    contract = _found_contract(call)
    if not call.text("contract_termination_remark"):
        raise Refusal("LACK_PARAMS", "缺少参数contract_termination_remark")
    if contract is None or not contract.is_active(call.now):
        raise Refusal("CONTRACT_NOT_EXIST")
    remark = call.text("contract_termination_remark")
    consent.end(call.simulator, contract, mode=BY_API, remark=remark)
    return {
        "contract_id": contract.contract_id,
        "plan_id": contract.plan_id,
        "contract_code": contract.contract_code,
    }


def _found_contract(call: Call) -> Contract | None:
    if not call.text("contract_id") and not (call.text("plan_id") and call.text("contract_code")):
        raise Refusal("LACK_PARAMS", "contract_id和plan_id+contract_code必填其一")
    return call.simulator.books.contract(
        contract_id=call.text("contract_id"),
        plan_id=call.text("plan_id"),
        contract_code=call.text("contract_code"),
    )


# --- orders -----------------------------------------------------------------------------------


def apply(call: Call) -> Fields:
    asked = deductions.read(call.fields, sign_type=call.sign_type, doom=call.doom)
    deductions.apply(call.simulator, asked, call.now)
    return {}


def query_order(call: Call) -> Fields:
    order = _order(call)
    if call.simulator.settings.hides_waiting_orders and order.is_waiting:
        raise Refusal("ORDERNOTEXIST")
    return wording.order_answer(call.simulator, order)


def query_deduction(call: Call) -> Fields:
    """paporderquery: does not see what is closed, which is why nobody should use it."""
    order = _order(call)
    if order.closed_at is not None:
        raise Refusal("ORDERNOTEXIST", "订单不是委托代扣场景")
    return query_order(call)


def close_order(call: Call) -> Fields:
    deductions.close(call.simulator, _order(call))
    return {}


def _order(call: Call) -> Order:
    numbers = call.text("transaction_id"), call.text("out_trade_no")
    if not any(numbers):
        raise Refusal("LACK_PARAMS", "transaction_id和out_trade_no必填其一")
    # transaction_id wins, as the vendor says.
    order = call.simulator.books.order(
        transaction_id=numbers[0], out_trade_no="" if numbers[0] else numbers[1]
    )
    if order is None:
        raise Refusal("ORDERNOTEXIST")
    return order


# --- refunds ----------------------------------------------------------------------------------


def refund(call: Call) -> Fields:
    try:
        order = _order(call)
    except Refusal as refusal:
        if call.text("transaction_id") and refusal.code == "ORDERNOTEXIST":
            raise Refusal("INVALID_TRANSACTIONID", "无效transaction_id") from refusal
        raise
    given = refunding.refund(call.simulator, order, call.fields, doom=call.doom, now=call.now)
    return wording.refund_answer(order, given)


def query_refund(call: Call) -> Fields:
    """By any of four numbers; ten at a time, from `offset`."""
    books = call.simulator.books
    known = _found_refund(call)
    if known is not None:
        order = books.orders[known.out_trade_no]
        return wording.refunds_answer(order, [known], count=1)
    order = _order(call)
    parts = books.refunds_of(order.out_trade_no)
    offset = call.text("offset") or "0"
    if not offset.isdecimal():
        raise Refusal("PARAM_ERROR", "参数错误：offset")
    page = parts[int(offset) : int(offset) + _PAGE_OF_REFUNDS]
    if not page:
        raise Refusal("REFUNDNOTEXIST")
    return wording.refunds_answer(order, page, count=len(parts))


def _found_refund(call: Call) -> Refund | None:
    books = call.simulator.books
    refund_id, number = call.text("refund_id"), call.text("out_refund_no")
    if not refund_id and not number:
        return None
    if refund_id:
        found = next((one for one in books.refunds.values() if one.refund_id == refund_id), None)
    else:
        found = books.refunds.get(number)
    if found is None:
        raise Refusal("REFUNDNOTEXIST")
    return found


@dataclass(frozen=True, slots=True)
class Spec:
    """A call, what it cannot do without, and what a fault may name it by."""

    handler: Callable[[Call], Fields]
    required: tuple[str, ...]
    references: tuple[str, ...] = ("out_trade_no", "transaction_id")
    needs_certificate: bool = False


_CONTRACT = ("contract_code", "contract_id")
_CHARGE = (
    "body", "out_trade_no", "total_fee", "spbill_create_ip", "notify_url", "trade_type",
    "contract_id",
)  # fmt: skip
CALLS = {
    "papay/preentrustweb": Spec(pre_entrust, (), _CONTRACT),
    "papay/querycontract": Spec(query_contract, ("version",), _CONTRACT),
    "papay/deletecontract": Spec(delete_contract, ("version",), _CONTRACT),
    "pay/pappayapply": Spec(apply, ("nonce_str", *_CHARGE)),
    "pay/orderquery": Spec(query_order, ("nonce_str",)),
    "pay/paporderquery": Spec(query_deduction, ("nonce_str",)),
    "pay/closeorder": Spec(close_order, ("nonce_str", "out_trade_no")),
    "secapi/pay/refund": Spec(
        refund,
        ("nonce_str", "out_refund_no", "total_fee", "refund_fee"),
        ("out_refund_no", "out_trade_no"),
        needs_certificate=True,
    ),
    "pay/refundquery": Spec(query_refund, ("nonce_str",), ("out_refund_no", "out_trade_no")),
}
