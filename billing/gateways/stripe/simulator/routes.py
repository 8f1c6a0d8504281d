"""Which address is which operation. Names are the SDK's; faults are ordered by them."""

import re
from collections.abc import Callable

from billing.gateways.stripe.simulator import giving_back, ledger, paying, setting_up
from billing.gateways.stripe.simulator.books import Object
from billing.gateways.stripe.simulator.calls import Call
from billing.gateways.stripe.simulator.listing import paged

Handler = Callable[..., Object]


def _reader(kind: str) -> Handler:
    def read(call: Call, number: str) -> Object:
        call.only()
        return call.get(kind, number)

    return read


def _read_session(call: Call, number: str) -> Object:
    call.only()
    return setting_up.current(call, number)


def _list_events(call: Call) -> Object:
    call.only("limit", "starting_after", "ending_before", "type")
    events = [one.event for one in reversed(call.simulator.notifier.deliveries())]
    wanted = call.text("type")
    return paged(call, [one for one in events if wanted in ("", one["type"])], "/v1/events")


_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", "customers", "customers.create", setting_up.create_customer),
    ("GET", "customers", "customers.list", setting_up.list_customers),
    ("GET", "customers/ID", "customers.retrieve", _reader("customer")),
    ("DELETE", "customers/ID", "customers.delete", setting_up.delete_customer),
    ("POST", "payment_methods", "payment_methods.create", setting_up.create_card),
    ("GET", "payment_methods", "payment_methods.list", setting_up.list_cards),
    ("GET", "payment_methods/ID", "payment_methods.retrieve", _reader("payment_method")),
    ("POST", "payment_methods/ID", "payment_methods.update", setting_up.update_card),
    ("POST", "payment_methods/ID/attach", "payment_methods.attach", setting_up.attach_card),
    ("POST", "payment_methods/ID/detach", "payment_methods.detach", setting_up.detach_card),
    ("POST", "checkout/sessions", "checkout.sessions.create", setting_up.create_session),
    ("GET", "checkout/sessions", "checkout.sessions.list", setting_up.list_sessions),
    ("GET", "checkout/sessions/ID", "checkout.sessions.retrieve", _read_session),
    ("POST", "checkout/sessions/ID/expire", "checkout.sessions.expire", setting_up.expire_session),
    ("GET", "setup_intents", "setup_intents.list", setting_up.list_setups),
    ("GET", "setup_intents/ID", "setup_intents.retrieve", _reader("setup_intent")),
    ("POST", "payment_intents", "payment_intents.create", paying.create_intent),
    ("GET", "payment_intents", "payment_intents.list", paying.list_intents),
    ("GET", "payment_intents/search", "payment_intents.search", paying.search_intents),
    ("GET", "payment_intents/ID", "payment_intents.retrieve", _reader("payment_intent")),
    ("POST", "payment_intents/ID/confirm", "payment_intents.confirm", paying.confirm_intent),
    ("POST", "payment_intents/ID/cancel", "payment_intents.cancel", paying.cancel_intent),
    ("GET", "charges", "charges.list", paying.list_charges),
    ("GET", "charges/ID", "charges.retrieve", _reader("charge")),
    ("POST", "refunds", "refunds.create", giving_back.create_refund),
    ("GET", "refunds", "refunds.list", giving_back.list_refunds),
    ("GET", "refunds/ID", "refunds.retrieve", _reader("refund")),
    ("GET", "disputes", "disputes.list", giving_back.list_disputes),
    ("GET", "disputes/ID", "disputes.retrieve", _reader("dispute")),
    ("GET", "balance_transactions", "balance_transactions.list", ledger.list_transactions),
    (
        "GET", "balance_transactions/ID", "balance_transactions.retrieve",
        _reader("balance_transaction"),
    ),
    ("GET", "events", "events.list", _list_events),
)  # fmt: skip
_PATTERNS = [
    (verb, re.compile(path.replace("ID", "(?P<number>[A-Za-z0-9_]+)")), name, handler)
    for verb, path, name, handler in _ROUTES
]


def found(verb: str, path: str) -> tuple[str, Handler, dict[str, object]] | None:
    """The operation's name, its handler, and the ids in the address."""
    for wanted, pattern, name, handler in _PATTERNS:
        match = pattern.fullmatch(path)
        if wanted == verb and match is not None:
            return name, handler, match.groupdict()
    return None
