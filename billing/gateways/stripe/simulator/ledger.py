"""Balance transactions: what every movement of money does to the merchant's balance."""

from billing.gateways.stripe.simulator.books import Object, new_id
from billing.gateways.stripe.simulator.calls import Call
from billing.gateways.stripe.simulator.instants import seconds
from billing.gateways.stripe.simulator.listing import listed

# 3.4 % and 2.35, as in Hong Kong.
_PER_MILLE, _FIXED_MINOR = 34, 235
DISPUTE_FEE_MINOR = 1500
# One rate for everything: what matters is that settled and paid amounts differ.
_RATE_PER_CENT = 109


def book(
    call: Call, source: Object, kind: str, amount_minor: int, *, fee: int = 0, category: str = ""
) -> str:
    """One movement: positive in, negative out; its number. `fee` is told, or that of a charge."""
    paid = source["currency"]
    settled = call.simulator.settlement_currency or paid
    rate = _RATE_PER_CENT if settled != paid else 100
    booked = amount_minor * rate // 100
    if kind == "charge":
        fee = booked * _PER_MILLE // 1000 + _FIXED_MINOR
    transaction: Object = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": booked,
        "available_on": seconds(call.now) + 2 * 86_400,
        "created": seconds(call.now),
        "currency": settled,
        "description": None,
        "exchange_rate": rate / 100 if settled != paid else None,
        "fee": fee,
        "fee_details": [],
        "net": booked - fee,
        "reporting_category": category or kind,
        "source": source["id"],
        "status": "pending",
        "type": kind,
    }
    call.change.put(transaction)
    return str(transaction["id"])


def list_transactions(call: Call) -> Object:
    """As it is, or as `/_control/statement` has it told."""
    simulator = call.simulator
    address = "/v1/balance_transactions"
    honest = listed(call, "balance_transaction", address, "type", "source", "currency")
    rows = [dict(one) for one in honest["data"]]  # what is shown is no change of the books
    told = simulator.lies.told(rows, _references(call), simulator.reference_key)
    expand = call.params.get("expand")
    if isinstance(expand, list) and "data.source" in expand:
        for one in told:
            _show_source(call, one)
    return {**honest, "data": told}


def _show_source(call: Call, transaction: Object) -> None:
    source = call.simulator.books.objects.get(str(transaction["source"]))
    if source is not None:
        shown = call.simulator.lies.source(transaction, source)
        transaction["source"] = {k: v for k, v in shown.items() if not k.startswith("_")}


def _references(call: Call) -> dict[str, str]:
    """Of each source, the reference it was made under."""
    key = call.simulator.reference_key
    found = {}
    for kind in ("charge", "refund"):
        for one in call.simulator.books.all_of(kind):
            found[one["id"]] = one["metadata"].get(key, "")
    return found
