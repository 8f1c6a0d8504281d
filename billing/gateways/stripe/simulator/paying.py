"""Payment intents: made, confirmed, canceled; and what the banks say."""

from collections.abc import Mapping
from datetime import timedelta

from billing.gateways.simulation.faults import Plan
from billing.gateways.stripe.simulator import ledger
from billing.gateways.stripe.simulator.books import Change, Object, new_id
from billing.gateways.stripe.simulator.calls import Call
from billing.gateways.stripe.simulator.cards import Card
from billing.gateways.stripe.simulator.instants import seconds
from billing.gateways.stripe.simulator.listing import listed, searched
from billing.gateways.stripe.simulator.refusals import Refusal, invalid, missing
from billing.gateways.stripe.simulator.state import Simulator

_CREATED = (
    "amount", "currency", "customer", "payment_method", "allowed_payment_method_types",
    "off_session", "confirm", "metadata", "statement_descriptor_suffix", "description",
    "return_url",
)  # fmt: skip
_LEAST = {"usd": 50, "eur": 50, "hkd": 400, "cny": 400}
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation")


def create_intent(call: Call) -> Object:
    """A payment intent, confirmed at once with `confirm=true`."""
    call.only(*_CREATED)
    amount_minor, currency = call.whole("amount"), call.wanted("currency")
    if currency not in _LEAST:
        raise invalid(f"Invalid currency: {currency}", param="currency")
    if amount_minor < _LEAST[currency]:
        raise invalid("Amount must be higher.", param="amount", code="amount_too_small")
    customer = call.text("customer")
    if customer and call.get("customer", customer, param="customer").get("deleted"):
        raise missing("customer", customer, "customer")
    if call.flag("off_session") and not call.flag("confirm"):
        raise invalid("off_session can only be used with confirm=true.", param="off_session")
    intent = _new_intent(call, amount_minor, currency, customer)
    if card := call.text("payment_method"):
        intent |= {"payment_method": _usable(call, card, customer), "status": _CONFIRMABLE[1]}
    call.change.put(intent, "payment_intent.created")
    if not call.flag("confirm"):
        return intent
    return _confirmed(call, intent, is_here=not call.flag("off_session"))


def _new_intent(call: Call, amount_minor: int, currency: str, customer: str) -> Object:
    number = new_id("pi")
    return {
        "id": number,
        "object": "payment_intent",
        "amount": amount_minor,
        "amount_received": 0,
        "canceled_at": None,
        "cancellation_reason": None,
        "client_secret": f"{number}_secret_{new_id('x')[2:]}",
        "created": seconds(call.now),
        "currency": currency,
        "customer": customer or None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": call.metadata(),
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "statement_descriptor_suffix": call.text("statement_descriptor_suffix") or None,
        "status": _CONFIRMABLE[0],
        "_return_url": call.text("return_url"),
    }


def _usable(call: Call, number: str, customer: str) -> str:
    """The card must be its customer's, and attached."""
    card = call.get("payment_method", number, param="payment_method")
    if card.get("_was_detached") or (customer and card["customer"] != customer):
        raise invalid(
            f"The customer does not have a payment method with the ID {number}. The payment"
            " method must be attached to the customer.",
            param="payment_method",
            code="resource_missing",
        )
    return number


def confirm_intent(call: Call, number: str) -> Object:
    call.only("payment_method", "return_url", "off_session")
    intent = call.get("payment_intent", number)
    if intent["status"] not in _CONFIRMABLE:
        raise _unexpected(intent, "confirm")
    if card := call.text("payment_method"):
        intent["payment_method"] = _usable(call, card, intent["customer"] or "")
    if not intent["payment_method"]:
        raise invalid("You cannot confirm this PaymentIntent: it's missing a payment method.")
    intent["_return_url"] = call.text("return_url") or intent["_return_url"]
    return _confirmed(call, intent, is_here=not call.flag("off_session"))


def cancel_intent(call: Call, number: str) -> Object:
    call.only("cancellation_reason")
    intent = call.get("payment_intent", number)
    if intent["status"] not in _OPEN:
        raise _unexpected(intent, "cancel")
    intent |= {"status": "canceled", "canceled_at": seconds(call.now), "next_action": None}
    call.change.name("charge_canceled", **_facts(call.simulator, intent))
    return call.change.put(intent, "payment_intent.canceled")


def _unexpected(intent: Object, act: str) -> Refusal:
    text = f"You cannot {act} this PaymentIntent because it has a status of {intent['status']}."
    return Refusal(400, text, code="payment_intent_unexpected_state", payment_intent=intent)


def list_intents(call: Call) -> Object:
    return listed(call, "payment_intent", "/v1/payment_intents", "customer")


def search_intents(call: Call) -> Object:
    return searched(call, "payment_intent", "/v1/payment_intents/search")


def list_charges(call: Call) -> Object:
    return listed(call, "charge", "/v1/charges", "customer", "payment_intent")


# --- the banks ----------------------------------------------------------------------------------


def _confirmed(call: Call, intent: Object, *, is_here: bool) -> Object:
    """Ask the card's bank. `is_here`: the payer is before the screen."""
    held = call.get("payment_method", intent["payment_method"], param="payment_method")
    card = call.simulator.books.cards[held["_slug"]]
    ordered = call.plan.answer
    if ordered is not None and ordered.kind == "decline":
        raise _declined(call, intent, _told(ordered.detail))
    if card.needs_authentication:
        return _authenticate(call, intent, is_here=is_here)
    return _asked_of(call, intent, card, held)


def _asked_of(call: Call, intent: Object, card: Card, held: Object) -> Object:
    ends = (held["card"]["exp_year"], held["card"]["exp_month"])
    if ends < (call.now.year, call.now.month):
        raise _declined(call, intent, {"code": "expired_card", "decline_code": "expired_card"})
    if card.decline_code:
        told = {"decline_code": card.decline_code, "advice_code": card.advice_code}
        raise _declined(call, intent, _told(told))
    if card.is_processing:
        intent["status"] = "processing"
        call.change.name("charge_processing", **_facts(call.simulator, intent))
        _settle_later(call.simulator, intent["id"])
        return call.change.put(intent, "payment_intent.processing")
    return succeed(call, intent)


def _told(detail: Mapping[str, object]) -> dict[str, str]:
    """A decline's codes. A bank that advises nothing is not quoted."""
    decline_code = str(detail.get("decline_code", "generic_decline"))
    own = decline_code in ("expired_card", "incorrect_cvc", "processing_error")
    own = own or decline_code == "authentication_required"
    told = {"code": decline_code if own else "card_declined", "decline_code": decline_code}
    advice = str(detail.get("advice_code", ""))
    return {**told, "advice_code": advice} if advice else told


def _authenticate(call: Call, intent: Object, *, is_here: bool) -> Object:
    if not is_here:
        code = "authentication_required"
        raise _declined(call, intent, {"code": code, "decline_code": code})
    url = f"{call.simulator.base_url}/3ds/{intent['id']}"
    action: dict[str, object] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    if intent["_return_url"]:
        told = {"return_url": intent["_return_url"], "url": url}
        action = {"type": "redirect_to_url", "redirect_to_url": told}
    intent |= {"status": "requires_action", "next_action": action, "last_payment_error": None}
    call.change.name("charge_waits", **_facts(call.simulator, intent))
    return call.change.put(intent, "payment_intent.requires_action")


def _declined(call: Call, intent: Object, codes: dict[str, str]) -> Refusal:
    """402: nothing was taken, and the intent stays to be confirmed with another card."""
    charge = _new_charge(call, intent, "failed")
    message = "Your card was declined."
    error = {"type": "card_error", "message": message, "charge": charge["id"], **codes}
    card = call.get("payment_method", intent["payment_method"])
    intent |= {
        "status": _CONFIRMABLE[0],
        "last_payment_error": {**error, "payment_method": card},
        "latest_charge": charge["id"],
        "next_action": None,
        "payment_method": None,
    }
    call.change.name("charge_declined", **_facts(call.simulator, intent), **codes)
    call.change.put(charge, "charge.failed")
    call.change.put(intent, "payment_intent.payment_failed")
    more = {"charge": charge["id"], "payment_intent": intent, "payment_method": card, **codes}
    return Refusal(402, message, kind="card_error", is_kept=True, **more)


def succeed(call: Call, intent: Object) -> Object:
    """Money moves: the one place where a charge comes to be."""
    charge = _new_charge(call, intent, "succeeded")
    charge["balance_transaction"] = ledger.book(call, charge, "charge", intent["amount"])
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "latest_charge": charge["id"],
        "last_payment_error": None,
        "next_action": None,
    }
    call.change.name("charge", **_facts(call.simulator, intent))
    call.change.put(charge, "charge.succeeded")
    return call.change.put(intent, "payment_intent.succeeded")


def refuse_authentication(call: Call, intent: Object) -> Object:
    """The payer did not confirm."""
    error = {
        "code": "payment_intent_authentication_failure",
        "message": "The provided PaymentMethod has failed authentication.",
        "type": "invalid_request_error",
    }
    intent |= {
        "status": _CONFIRMABLE[0],
        "last_payment_error": error,
        "next_action": None,
        "payment_method": None,
    }
    call.change.name("charge_declined", **_facts(call.simulator, intent), code=error["code"])
    return call.change.put(intent, "payment_intent.payment_failed")


def _new_charge(call: Call, intent: Object, status: str) -> Object:
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_refunded": 0,
        "balance_transaction": None,
        "captured": status == "succeeded",
        "created": seconds(call.now),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "disputed": False,
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "paid": status == "succeeded",
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "refunded": False,
        "status": status,
    }


def _facts(simulator: Simulator, intent: Object) -> dict[str, object]:
    return {
        "reference": intent["metadata"].get(simulator.reference_key, ""),
        "amount_minor": intent["amount"],
        "currency": intent["currency"],
        "payment_intent": intent["id"],
    }


# --- what takes its time ------------------------------------------------------------------------


def resume(simulator: Simulator) -> None:
    """After a start: payments that were under way go on."""
    for intent in simulator.books.all_of("payment_intent"):
        if intent["status"] == "processing":
            _settle_later(simulator, intent["id"])


def _settle_later(simulator: Simulator, number: str) -> None:
    due = simulator.time.now() + timedelta(seconds=simulator.processing_s)
    simulator.agenda.at(due, lambda: _settle(simulator, number))


def _settle(simulator: Simulator, number: str) -> None:
    with simulator.books.lock:
        call = Call(simulator, {}, simulator.time.now(), Plan(None, {}), Change())
        intent = call.get("payment_intent", number)
        if intent["status"] != "processing":
            return
        succeed(call, intent)
        simulator.books.record(call.change)
    simulator.notifier.send(call.change.events, {})
