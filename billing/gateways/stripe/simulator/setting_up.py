"""Customers, payment methods, and the hosted pages on which a card is set up."""

from datetime import timedelta
from urllib.parse import urlsplit

from billing.gateways.stripe.simulator.books import Object, new_id
from billing.gateways.stripe.simulator.calls import Call
from billing.gateways.stripe.simulator.cards import BY_TOKEN, Card
from billing.gateways.stripe.simulator.instants import seconds
from billing.gateways.stripe.simulator.listing import listed
from billing.gateways.stripe.simulator.refusals import Refusal, invalid, missing

PAGE_LIFETIME = timedelta(hours=24)


class NotSignable(Exception):
    """The page is over: signed, expired, or never made. The text is for its visitor."""


# --- customers ----------------------------------------------------------------------------------


def create_customer(call: Call) -> Object:
    call.only("metadata", "email", "name", "description", "preferred_locales")
    customer: Object = {
        "id": new_id("cus"),
        "object": "customer",
        "created": seconds(call.now),
        "description": call.text("description") or None,
        "email": call.text("email") or None,
        "livemode": False,
        "metadata": call.metadata(),
        "name": call.text("name") or None,
    }
    call.change.name("customer")
    return call.change.put(customer, "customer.created")


def delete_customer(call: Call, number: str) -> Object:
    """Its cards are detached with it."""
    customer = call.get("customer", number)
    for card in call.simulator.books.all_of("payment_method"):
        if card["customer"] == number:
            _detach(call, call.get("payment_method", card["id"]))
    gone = {**customer, "deleted": True}
    call.change.put(gone, "customer.deleted")
    return {"id": number, "object": "customer", "deleted": True}


def list_customers(call: Call) -> Object:
    return listed(call, "customer", "/v1/customers", "email")


# --- payment methods ----------------------------------------------------------------------------


def new_card(call: Call, card: Card, customer: str | None) -> Object:
    """A payment method of one of the test cards."""
    return {
        "id": new_id("pm"),
        "object": "payment_method",
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "card": {
            "brand": card.brand,
            "country": "HK",
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "fingerprint": card.fingerprint,
            "funding": "credit",
            "last4": card.last4,
        },
        "created": seconds(call.now),
        "customer": customer,
        "livemode": False,
        "metadata": {},
        "type": "card",
        "_slug": card.slug,
    }


def create_card(call: Call) -> Object:
    """By a test token only: a number has no way in."""
    call.only("type", "card", "metadata")
    asked: object = call.params.get("card")
    given = asked if isinstance(asked, dict) else {}
    if "number" in given:
        text = "Sending credit card numbers directly to the Stripe API is generally unsafe."
        raise Refusal(402, text, kind="card_error")
    slug = BY_TOKEN.get(str(given.get("token")))
    if slug is None:
        raise missing("token", str(given.get("token")), "card[token]")
    card = new_card(call, call.simulator.books.cards[slug], None)
    card["metadata"] = call.metadata()
    return call.change.put(card)


def update_card(call: Call, number: str) -> Object:
    call.only("metadata")
    card = call.get("payment_method", number)
    card["metadata"] |= call.metadata()
    return call.change.put(card, "payment_method.updated")


def attach_card(call: Call, number: str) -> Object:
    call.only("customer")
    card = call.get("payment_method", number)
    customer = call.get("customer", call.wanted("customer"), param="customer")
    if card.get("_was_detached"):
        raise invalid(
            "This PaymentMethod was previously used without being attached to a Customer or was"
            " detached from a Customer, and may not be used again."
        )
    if card["customer"] not in (None, customer["id"]):
        raise invalid("The payment method has already been attached to a customer.")
    card["customer"] = customer["id"]
    return call.change.put(card, "payment_method.attached")


def detach_card(call: Call, number: str) -> Object:
    call.only()
    card = call.get("payment_method", number)
    if card["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer.")
    call.change.name("card_detached", payment_method=number)
    return _detach(call, card)


def _detach(call: Call, card: Object) -> Object:
    card["customer"], card["_was_detached"] = None, True
    return call.change.put(card, "payment_method.detached")


def list_cards(call: Call) -> Object:
    return listed(call, "payment_method", "/v1/payment_methods", "customer", "type")


# --- the hosted page ----------------------------------------------------------------------------


def create_session(call: Call) -> Object:
    """Only `mode=setup`: a page that sets a card up and takes no money."""
    call.only(
        "mode", "customer", "client_reference_id", "metadata", "setup_intent_data", "locale",
        "success_url", "cancel_url", "allowed_payment_method_types", "currency",
    )  # fmt: skip
    if call.wanted("mode") != "setup":
        raise invalid("This simulator sets cards up only.", param="mode")
    if "allowed_payment_method_types" not in call.params and not call.text("currency"):
        raise invalid(
            "currency is required without allowed_payment_method_types.", param="currency"
        )
    for name in ("success_url", "cancel_url"):
        if urlsplit(call.wanted(name)).scheme not in ("http", "https"):
            raise invalid("Not a valid URL", param=name, code="url_invalid")
    customer = call.get("customer", call.wanted("customer"), param="customer")
    setup = call.change.put(_new_setup(call, customer["id"]), "setup_intent.created")
    return call.change.put(_new_session(call, customer["id"], setup["id"]))


def _new_setup(call: Call, customer: str) -> Object:
    data: object = call.params.get("setup_intent_data", {})
    number = new_id("seti")
    return {
        "id": number,
        "object": "setup_intent",
        "client_secret": f"{number}_secret_{new_id('x')[2:]}",
        "created": seconds(call.now),
        "customer": customer,
        "last_setup_error": None,
        "livemode": False,
        "metadata": dict(data.get("metadata", {})) if isinstance(data, dict) else {},
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
        "usage": "off_session",
    }


def _new_session(call: Call, customer: str, setup: str) -> Object:
    number = new_id("cs_test")
    return {
        "id": number,
        "object": "checkout.session",
        "cancel_url": call.text("cancel_url"),
        "client_reference_id": call.text("client_reference_id") or None,
        "created": seconds(call.now),
        "currency": call.text("currency") or None,
        "customer": customer,
        "expires_at": seconds(call.now + PAGE_LIFETIME),
        "livemode": False,
        "locale": call.text("locale") or None,
        "metadata": call.metadata(),
        "mode": "setup",
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required",
        "setup_intent": setup,
        "status": "open",
        "success_url": call.text("success_url"),
        "url": f"{call.simulator.base_url}/c/pay/{number}",
    }


def current(call: Call, number: str) -> Object:
    """A session as it is now: one that was left alone for a day is expired."""
    return as_of(call.get("checkout.session", number), seconds(call.now))


def as_of(session: Object, now_s: int) -> Object:
    is_over = session["status"] == "open" and session["expires_at"] <= now_s
    return {**session, "status": "expired", "url": None} if is_over else session


def list_sessions(call: Call) -> Object:
    page = listed(call, "checkout.session", "/v1/checkout/sessions", "customer", "status")
    page["data"] = [as_of(one, seconds(call.now)) for one in page["data"]]
    return page


def expire_session(call: Call, number: str) -> Object:
    call.only()
    session = current(call, number)
    if session["status"] != "open":
        raise invalid(f"Only Checkout Sessions with a status in [open] can be expired: {number}")
    session |= {"status": "expired", "url": None}
    return call.change.put(session, "checkout.session.expired")


def list_setups(call: Call) -> Object:
    return listed(call, "setup_intent", "/v1/setup_intents", "customer", "payment_method")


# --- what its visitor does ----------------------------------------------------------------------


def open_session(call: Call, number: str) -> Object:
    """Raises NotSignable."""
    try:
        session = current(call, number)
    except Refusal:
        raise NotSignable("没有这个页面。 There is no such page.") from None
    if session["status"] != "open":
        raise NotSignable("这个页面已经结束。 This page is over.")
    return session


def choose_card(call: Call, number: str, card: Card) -> Object:
    """A card is chosen; the set-up that waits for the bank, or is done. Raises NotSignable."""
    session = open_session(call, number)
    setup = call.get("setup_intent", session["setup_intent"])
    owner = None if call.simulator.leaves_unattached else session["customer"]
    chosen = call.change.put(new_card(call, card, owner))
    setup["payment_method"] = chosen["id"]
    if card.needs_authentication:
        setup |= {"status": "requires_action", "_session": number}
        return call.change.put(setup, "setup_intent.requires_action")
    return finish(call, setup, session)


def finish(call: Call, setup: Object, session: Object) -> Object:
    """The card is set up, and everybody hears of it."""
    setup |= {"status": "succeeded", "next_action": None}
    session |= {"status": "complete", "url": None}
    card = call.get("payment_method", setup["payment_method"])
    call.change.name(
        "card_bound",
        reference=session["client_reference_id"],
        customer=session["customer"],
        payment_method=card["id"],
        slug=card["_slug"],
    )
    if card["customer"]:
        call.change.put(card, "payment_method.attached")
    call.change.put(setup, "setup_intent.succeeded")
    call.change.put(session, "checkout.session.completed")
    return setup


def fail(call: Call, setup: Object) -> Object:
    """The bank said no: another card may be chosen on the same page."""
    error = {
        "code": "setup_intent_authentication_failure",
        "message": "We are unable to authenticate your payment method.",
        "type": "invalid_request_error",
    }
    setup |= {
        "status": "requires_payment_method",
        "last_setup_error": error,
        "payment_method": None,
    }
    return call.change.put(setup, "setup_intent.setup_failed")
