"""The gateway's methods: each takes a call and returns the fields of its answer, or refuses.

What is sent to the merchant by the way goes through `call.tell`, so that a fault of the call can
hold, double or forge it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.gateways.alipay.simulator import consent, instants, trading, wording
from billing.gateways.alipay.simulator.books import CLOSED, WAITING, Agreement, Rules, Trade
from billing.gateways.alipay.simulator.money import fen, yuan
from billing.gateways.alipay.simulator.refusals import Fields, Refusal, done
from billing.gateways.alipay.simulator.state import Simulator
from billing.gateways.simulation.faults import Fault


@dataclass(frozen=True, slots=True)
class Call:
    """One verified call."""

    simulator: Simulator
    content: dict[str, object]
    notify_url: str
    now: datetime
    notice_faults: Mapping[str, Fault]

    def text(self, name: str) -> str:
        return str(self.content.get(name, ""))

    def tell(self, url: str, fields: Mapping[str, str]) -> None:
        self.simulator.notifier.send(url, fields, self.notice_faults)


# --- agreements -------------------------------------------------------------------------------


def query_agreement(call: Call) -> Fields:
    agreement = _agreement(call)
    payer = call.simulator.books.payers[agreement.payer_id]
    return done(**wording.agreement_answer(agreement, payer))


def unsign(call: Call) -> Fields:
    books = call.simulator.books
    with books.lock:
        agreement = _agreement(call)
        if agreement.status == "STOP":
            raise Refusal("AGREEMENT_NOT_EXIST")
        consent.end(books, agreement, by="merchant")
    payer = books.payers[agreement.payer_id]
    fields = wording.unsigned_notice(agreement, payer, call.now)
    call.tell(call.notify_url or call.simulator.app_gateway_url, fields)
    return done()


def modify_plan(call: Call) -> Fields:
    """alipay.user.agreement.executionplan.modify: the next deduction, only later."""
    books = call.simulator.books
    with books.lock:
        agreement = _cycle_agreement(call)
        try:
            to = datetime.strptime(call.text("deduct_time"), "%Y-%m-%d").date()  # noqa: DTZ007
        except ValueError as error:
            raise Refusal("INVALID_PARAMETER") from error
        if agreement.next_deduct is None or to <= agreement.next_deduct:
            raise Refusal("INVALID_PARAMETER")
        _change(call, agreement, next_deduct=to.isoformat())
    return done(agreement_no=agreement.agreement_no, deduct_time=to.isoformat())


def modify_limits(call: Call) -> Fields:
    """alipay.user.agreement.cyclepayauthplans.modify: amount of one, number of all."""
    books = call.simulator.books
    with books.lock:
        agreement = _cycle_agreement(call)
        rules: Rules = {}
        if call.text("single_amount"):
            rules["single_minor"] = fen(call.content["single_amount"]) or 0
        if call.text("total_payments").isdecimal():
            rules["total_payments"] = int(call.text("total_payments"))
        if not all(rules.values()) or not rules:
            raise Refusal("INVALID_PARAMETER")
        _change(call, agreement, rules=rules)
    return done(agreement_no=agreement.agreement_no)


def _change(call: Call, agreement: Agreement, **changes: object) -> None:
    call.simulator.books.record(
        "agreement_changed",
        reference=agreement.external_agreement_no,
        agreement_no=agreement.agreement_no,
        **changes,
    )


def _agreement(call: Call) -> Agreement:
    """By its number, or by the merchant's with the scene and product it was signed under."""
    books = call.simulator.books
    if call.text("agreement_no"):
        agreement = books.agreements.get(call.text("agreement_no"))
    else:
        agreement = books.by_external(call.text("external_agreement_no"))
        if agreement is not None and (
            agreement.sign_scene != call.text("sign_scene")
            or agreement.personal_product_code != call.text("personal_product_code")
        ):
            agreement = None
    if agreement is None:
        raise Refusal("AGREEMENT_NOT_EXIST")
    return agreement


def _cycle_agreement(call: Call) -> Agreement:
    agreement = _agreement(call)
    if not agreement.rules:
        raise Refusal("PRODUCT_CODE_NOT_SUPPORTED_ERROR")
    if agreement.status != "NORMAL":
        raise Refusal("USER_AGREEMENT_STATUS_NOT_NORMAL")
    return agreement


# --- trades -----------------------------------------------------------------------------------


def pay(call: Call) -> Fields:
    simulator = call.simulator
    order = trading.read_order(call.content, notify_url=call.notify_url)
    if order.retry_type:
        trade = trading.apply_for(simulator.books, order, now=call.now)
        _settle_later(call, order)
        return done(**wording.accepted_answer(trade))
    trade = trading.charge(
        simulator.books, order, now=call.now, leaves_open=simulator.declines_leave_open
    )
    payer = simulator.books.payers[trade.payer_id]
    call.tell(trade.notify_url, wording.trade_notice(trade, payer, simulator.seller_id, call.now))
    return done(**wording.paid_answer(trade, payer))


def _settle_later(call: Call, order: trading.Order) -> None:
    due = call.now + timedelta(seconds=call.simulator.async_delay_s)
    call.simulator.agenda.at(due, lambda: _settle(call, order))


def _settle(call: Call, order: trading.Order) -> None:
    """An accepted charge's turn: paid, tried again, closed or left open, as it was ordered."""
    simulator, now = call.simulator, call.simulator.time.now()
    try:
        trade = trading.settle(simulator.books, order, now=now)
    except Refusal:
        trade = simulator.books.trades[order.out_trade_no]
        if order.retry_type == "RETY":
            _settle_later(Call(simulator, call.content, call.notify_url, now, {}), order)
            return
        if order.retry_type == "NONE":
            return
        trading.close(simulator.books, trade, now=now)
    if trade is not None:
        payer = simulator.books.payers.get(trade.payer_id)
        if payer is not None:
            notice = wording.trade_notice(trade, payer, simulator.seller_id, now)
            call.tell(trade.notify_url, notice)


def query_trade(call: Call) -> Fields:
    trade = _trade(call)
    payer = call.simulator.books.payers.get(trade.payer_id)
    return done(**wording.trade_answer(trade, payer, call.now))


def cancel(call: Call) -> Fields:
    """Nothing found is a success without an `action`, as the vendor describes it."""
    books = call.simulator.books
    trade = books.trade(out_trade_no=call.text("out_trade_no"), trade_no=call.text("trade_no"))
    if trade is None:
        return done(out_trade_no=call.text("out_trade_no"), retry_flag="N")
    action = trading.cancel(books, trade, now=call.now)
    return done(
        trade_no=trade.trade_no, out_trade_no=trade.out_trade_no, retry_flag="N", action=action
    )


def close(call: Call) -> Fields:
    trade = _trade(call)
    if trade.status(call.now) == CLOSED:
        raise Refusal("ACQ.TRADE_HAS_CLOSE")
    trading.close(call.simulator.books, trade, now=call.now)
    return done(trade_no=trade.trade_no, out_trade_no=trade.out_trade_no)


def refund(call: Call) -> Fields:
    trade, number = _trade(call), call.text("out_request_no")
    amount_minor = fen(call.content.get("refund_amount"))
    if not amount_minor:
        raise Refusal("ACQ.INVALID_PARAMETER")
    books, seller = call.simulator.books, call.simulator.seller_id
    options = call.content.get("query_options")
    is_told = isinstance(options, list) and "deposit_back_info" in options
    asked = trading.AskedRefund(number, amount_minor, is_told)
    is_moved = trading.refund(books, trade, asked, now=call.now)
    payer = books.payers[trade.payer_id]
    given_back = trade.refunds[number or trade.out_trade_no]
    if is_moved:
        notice = wording.refund_notice(trade, payer, seller, given_back, call.now)
        call.tell(trade.notify_url, notice)
    return done(**wording.refund_answer(trade, payer, given_back, is_moved=is_moved))


def query_refund(call: Call) -> Fields:
    """A refund that does not exist is a success that says nothing."""
    trade = _trade(call)
    given_back = trade.refunds.get(call.text("out_request_no"))
    if given_back is None:
        return done()
    return done(
        trade_no=trade.trade_no,
        out_trade_no=trade.out_trade_no,
        out_request_no=given_back.reference,
        total_amount=yuan(trade.amount_minor),
        refund_amount=yuan(given_back.amount_minor),
        refund_status="REFUND_SUCCESS",
        gmt_refund_pay=instants.text(given_back.at),
    )


def _trade(call: Call) -> Trade:
    trade = call.simulator.books.trade(
        out_trade_no=call.text("out_trade_no"), trade_no=call.text("trade_no")
    )
    if trade is None:
        raise Refusal("ACQ.TRADE_NOT_EXIST")
    return trade


def resume(simulator: Simulator) -> None:
    """After a restart: accepted charges whose turn had not come are put back on the agenda."""
    now = simulator.time.now()
    for trade in simulator.books.trades.values():
        if trade.retry_type and trade.status(now) == WAITING:
            order = trading.Order(
                out_trade_no=trade.out_trade_no,
                amount_minor=trade.amount_minor,
                subject=trade.subject,
                product_code=trade.product_code,
                agreement_no=trade.agreement_no,
                notify_url=trade.notify_url,
                timeout=None,
                retry_type=trade.retry_type,
            )
            _settle_later(Call(simulator, {}, trade.notify_url, now, {}), order)


# --- bills ------------------------------------------------------------------------------------


def bill_url(call: Call) -> Fields:
    token = call.simulator.bills.token(
        bill_type=call.text("bill_type"), bill_date=call.text("bill_date"), now=call.now
    )
    return done(bill_download_url=f"{call.simulator.base_url}/downloadBillFile.resource?t={token}")


METHODS: dict[str, Callable[[Call], Fields]] = {
    "alipay.user.agreement.query": query_agreement,
    "alipay.user.agreement.unsign": unsign,
    "alipay.user.agreement.executionplan.modify": modify_plan,
    "alipay.user.agreement.cyclepayauthplans.modify": modify_limits,
    "alipay.trade.pay": pay,
    "alipay.trade.query": query_trade,
    "alipay.trade.cancel": cancel,
    "alipay.trade.close": close,
    "alipay.trade.refund": refund,
    "alipay.trade.fastpay.refund.query": query_refund,
    "alipay.data.dataservice.bill.downloadurl.query": bill_url,
}
