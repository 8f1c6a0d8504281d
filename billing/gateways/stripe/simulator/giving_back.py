"""Refunds, and disputes, which take money back without asking the merchant."""

from billing.gateways.stripe.simulator import ledger
from billing.gateways.stripe.simulator.books import Object, new_id
from billing.gateways.stripe.simulator.calls import Call
from billing.gateways.stripe.simulator.instants import seconds
from billing.gateways.stripe.simulator.listing import listed
from billing.gateways.stripe.simulator.refusals import invalid

_STATUSES = ("succeeded", "pending", "failed")


def create_refund(call: Call) -> Object:
    """Part or all of a charge; never more than is left of it."""
    call.only("payment_intent", "charge", "amount", "metadata", "reason")
    charge = _charge(call)
    left = charge["amount"] - charge["amount_refunded"]
    if not charge["paid"] or left == 0:
        raise invalid("The charge has already been refunded.", code="charge_already_refunded")
    amount_minor = call.whole("amount") if "amount" in call.params else left
    if amount_minor > left:
        raise invalid(
            f"Refund amount ({amount_minor}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    if charge["disputed"]:
        raise invalid("This charge has been charged back.", code="charge_disputed")
    status = call.simulator.refund_status
    refund = _new_refund(call, charge, amount_minor, status)
    if status == "failed":
        refund["failure_reason"] = "lost_or_stolen_card"
        return call.change.put(refund, "refund.created", "refund.failed")
    return _given_back(call, refund, charge)


def _given_back(call: Call, refund: Object, charge: Object) -> Object:
    amount_minor = refund["amount"]
    charge["amount_refunded"] += amount_minor
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    refund["balance_transaction"] = ledger.book(call, refund, "refund", -amount_minor)
    call.change.name(
        "refund",
        reference=refund["metadata"].get(call.simulator.refund_key, ""),
        charge_reference=charge["metadata"].get(call.simulator.reference_key, ""),
        amount_minor=amount_minor,
        currency=refund["currency"],
        refund=refund["id"],
    )
    call.change.put(charge, "charge.refunded")
    return call.change.put(refund, "refund.created")


def _charge(call: Call) -> Object:
    number = call.text("charge")
    if intent := call.text("payment_intent"):
        found = call.get("payment_intent", intent, param="payment_intent")
        number = found["latest_charge"] or ""
        if not number:
            raise invalid(f"This PaymentIntent ({intent}) does not have a successful charge.")
    return call.get("charge", number, param="charge")


def _new_refund(call: Call, charge: Object, amount_minor: int, status: str) -> Object:
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount_minor,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": seconds(call.now),
        "currency": charge["currency"],
        "metadata": call.metadata(),
        "payment_intent": charge["payment_intent"],
        "reason": call.text("reason") or None,
        "status": status,
    }


def settle_refund(call: Call, number: str, status: str) -> Object:
    """By control: one becomes what it becomes. Also one that had succeeded may fail days later: the
    money is the merchant's again."""
    if status not in _STATUSES:
        raise ValueError(f"status must be one of {', '.join(_STATUSES)}")
    refund = call.get("refund", number)
    if (status == "failed") != (refund["status"] == "failed"):
        _book_failure(call, refund, has_failed=status == "failed")
    refund["status"] = status
    if status == "failed":
        refund["failure_reason"] = "expired_or_canceled_card"
    call.change.name("refund_settled", refund=number, status=status)
    told = "refund.failed" if status == "failed" else "refund.updated"
    return call.change.put(refund, told)


def _book_failure(call: Call, refund: Object, *, has_failed: bool) -> None:
    amount_minor = refund["amount"] if has_failed else -refund["amount"]
    charge = call.get("charge", refund["charge"])
    charge["amount_refunded"] -= amount_minor
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    kind = "refund_failure" if has_failed else "refund"
    refund["failure_balance_transaction"] = ledger.book(call, refund, kind, amount_minor)
    call.change.put(charge)


def list_refunds(call: Call) -> Object:
    return listed(call, "refund", "/v1/refunds", "payment_intent", "charge")


# --- disputes -----------------------------------------------------------------------------------


def open_dispute(call: Call, charge_number: str, asked: dict[str, object]) -> Object:
    """By control: the payer tells the bank that the charge was not theirs."""
    charge = call.get("charge", charge_number)
    charge["disputed"] = True
    dispute: Object = {
        "id": new_id("dp"),
        "object": "dispute",
        "amount": asked.get("amount_minor", charge["amount"]),
        "charge": charge["id"],
        "created": seconds(call.now),
        "currency": charge["currency"],
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": asked.get("reason", "fraudulent"),
        "status": "needs_response",
    }
    _book_dispute(call, dispute, -dispute["amount"], "dispute")
    call.change.name("dispute", **_facts(call, charge, dispute))
    call.change.put(charge)
    return call.change.put(dispute, "charge.dispute.created", "charge.dispute.funds_withdrawn")


def close_dispute(call: Call, number: str, status: str) -> Object:
    """By control: "won" gives the money again."""
    if status not in ("won", "lost"):
        raise ValueError("status must be won or lost")
    dispute = call.get("dispute", number)
    dispute["status"] = status
    call.change.name(
        f"dispute_{status}", **_facts(call, call.get("charge", dispute["charge"]), dispute)
    )
    if status == "won":
        _book_dispute(call, dispute, dispute["amount"], "dispute_reversal")
        return call.change.put(dispute, "charge.dispute.funds_reinstated", "charge.dispute.closed")
    return call.change.put(dispute, "charge.dispute.closed")


def _book_dispute(call: Call, dispute: Object, amount_minor: int, category: str) -> None:
    fee = ledger.DISPUTE_FEE_MINOR if category == "dispute" else -ledger.DISPUTE_FEE_MINOR
    ledger.book(call, dispute, "adjustment", amount_minor, category=category, fee=fee)


def _facts(call: Call, charge: Object, dispute: Object) -> dict[str, object]:
    return {
        "reference": charge["metadata"].get(call.simulator.reference_key, ""),
        "amount_minor": dispute["amount"],
        "currency": dispute["currency"],
        "dispute": dispute["id"],
    }


def list_disputes(call: Call) -> Object:
    return listed(call, "dispute", "/v1/disputes", "payment_intent", "charge")
