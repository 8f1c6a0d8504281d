"""A falsified ledger, on order: what reconciliation must find.

| kind | does |
| --- | --- |
| missing | the transactions of `reference` are not listed |
| amount | the source of the charge of `reference` is shown with `amount_minor` |
| extra | a charge of `amount_minor` that never happened is listed under `reference` |
"""

from collections.abc import Mapping
from copy import deepcopy

from billing.gateways.stripe.simulator.books import Object, new_id

KINDS = ("missing", "amount", "extra")


class Lies:
    """The orders that stand."""

    def __init__(self) -> None:
        self._orders: list[dict[str, object]] = []

    def order(self, asked: Mapping[str, object], *, now_s: int) -> None:
        """Add one. Raises ValueError."""
        if asked.get("kind") not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        self._orders.append({"amount_minor": 5000, "reference": "", "now_s": now_s, **asked})

    def be_honest(self) -> None:
        self._orders.clear()

    def told(self, rows: list[Object], reference_of: Mapping[str, str], key: str) -> list[Object]:
        """Balance transactions as they are listed, latest first. `reference_of`: by source."""
        for order in self._orders:
            mine = [one for one in rows if reference_of.get(one["source"]) == order["reference"]]
            if order["kind"] == "missing":
                rows = [one for one in rows if one not in mine]
            elif order["kind"] == "amount":
                rows = [_belied(one, order) if one in mine else one for one in rows]
            else:
                rows = [_invented(order, key), *rows]
        return rows

    def source(self, transaction: Object, source: Object) -> Object:
        """The source as it is shown beside a falsified transaction."""
        if "_lie_minor" not in transaction:
            return source
        return {**source, "amount": transaction["_lie_minor"]}


def _belied(transaction: Object, order: Mapping[str, object]) -> Object:
    if transaction["type"] != "charge":
        return transaction
    copy = deepcopy(transaction)
    copy["amount"] = copy["_lie_minor"] = order["amount_minor"]
    return copy


def _invented(order: Mapping[str, object], key: str) -> Object:
    amount_minor = order["amount_minor"]
    currency = order.get("currency", "cny")
    return {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount_minor,
        "created": order["now_s"],
        "currency": currency,
        "fee": 0,
        "net": amount_minor,
        "reporting_category": "charge",
        "source": {
            "id": new_id("ch"),
            "object": "charge",
            "amount": amount_minor,
            "currency": currency,
            "metadata": {key: order["reference"]},
            "payment_intent": new_id("pi"),
        },
        "status": "available",
        "type": "charge",
    }
