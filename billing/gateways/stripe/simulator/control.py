"""/_control: what a test, a demo or a chaos driver may do to this Stripe. JSON, loopback only.

| call | does |
| --- | --- |
| GET health, journal?kind=&since=, objects?kind=, notifications, faults | tells |
| POST faults | {"kind", "method", "times", "reference", …} or {"rate", "kinds", "seed"}: `faults` |
| DELETE faults | all faults end |
| POST clock | {"advance_s"}: retries, late effects and dates come due |
| POST bindings | {"reference", "card"}: a customer, a page, and a card set up on it: at once |
| POST sessions/ID | {"card"}: chosen on that page, without a browser |
| POST confirmations/ID | {"agrees"}: the payer told the bank, of a pi_… or a seti_… |
| POST cards/SLUG | {"decline_code", "advice_code", "needs_authentication", "is_processing", …} |
| POST payment_methods/ID/detach, payment_methods/ID/renew | gone; renewed {"exp_month", …} |
| POST refunds/ID | {"status"}: a pending refund becomes that |
| POST disputes | {"reference" or "charge", "amount_minor", "reason"} |
| POST disputes/ID | {"status"}: won or lost |
| POST settings | webhook_url, auto_agree, processing_s, search_lag_s, settlement_currency, … |
| POST statement | {"kind", "reference", "amount_minor"}: `lies` |
| DELETE statement | an honest ledger again |
"""

from flask import Blueprint, Response, abort, jsonify, request

from billing.gateways.simulation import steering
from billing.gateways.stripe.simulator import giving_back, setting_up
from billing.gateways.stripe.simulator.acting import act
from billing.gateways.stripe.simulator.books import Change, Object
from billing.gateways.stripe.simulator.calls import shown
from billing.gateways.stripe.simulator.pages import agree, authenticated
from billing.gateways.stripe.simulator.refusals import Refusal
from billing.gateways.stripe.simulator.setting_up import NotSignable
from billing.gateways.stripe.simulator.state import Simulator

_SETTINGS = frozenset(
    {
        "auto_agree",
        "processing_s",
        "search_lag_s",
        "settlement_currency",
        "leaves_unattached",
        "refund_status",
    }
)
_NOTIFIER_SETTINGS = frozenset({"webhook_url", "webhook_secrets", "is_silent"})
_CARD_FIELDS = frozenset(
    {"decline_code", "advice_code", "needs_authentication", "is_processing"}
    | {"exp_month", "exp_year"}
)


def control(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /_control."""
    blueprint = steering.blueprint(refusals=(ValueError, KeyError, NotSignable, Refusal))
    steering.add_journal(blueprint, simulator.books)
    steering.add_faults(blueprint, simulator.faults)
    _add_views(blueprint, simulator)
    _add_orders(blueprint, simulator)
    _add_people(blueprint, simulator)
    _add_banks(blueprint, simulator)
    return blueprint


def _add_views(blueprint: Blueprint, simulator: Simulator) -> None:
    books = simulator.books

    @blueprint.get("/health")
    def health() -> Response:
        return jsonify(status="ok", now=simulator.time.now().isoformat(timespec="seconds"))

    @blueprint.get("/objects")
    def objects() -> Response:
        with books.lock:
            found = books.all_of(request.args.get("kind", ""))
        return jsonify(objects=[shown(one) for one in found])

    @blueprint.get("/notifications")
    def notifications() -> Response:
        told = [
            {
                "url": one.url,
                "type": one.event["type"],
                "event": one.event,
                "tries": one.tries,
                "waits": one.waits,
                "is_accepted": one.is_accepted,
                "answer": one.answer,
            }
            for one in simulator.notifier.deliveries()
        ]
        return jsonify(notifications=told)


def _add_orders(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.post("/clock")
    def advance() -> Response:
        change = Change("clock", {"advance_s": steering.seconds("advance_s", least=1)})
        simulator.books.record(change)
        simulator.agenda.clock_moved()
        return jsonify(now=simulator.time.now().isoformat(timespec="seconds"))

    @blueprint.post("/settings")
    def settings() -> Response:
        asked = steering.body()
        steering.only(asked, _SETTINGS | _NOTIFIER_SETTINGS)
        for name, value in asked.items():
            setattr(simulator if name in _SETTINGS else simulator.notifier, name, value)
        return jsonify(asked)

    @blueprint.post("/statement")
    def falsify_statement() -> Response:
        simulator.lies.order(steering.body(), now_s=simulator.books.now_s())
        return jsonify({})

    @blueprint.delete("/statement")
    def honest_statement() -> Response:
        simulator.lies.be_honest()
        return jsonify({})


def _add_people(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.post("/bindings")
    def bind() -> Response:
        asked = steering.body()
        reference = steering.text(asked, "reference")
        with act(simulator) as call:
            call.params = {"metadata": {"keepline_binding": reference}}
            customer = setting_up.create_customer(call)
            call.params = _page_of(customer, reference)
            session = setting_up.create_session(call)
        agree(simulator, session["id"], steering.text(asked, "card", "good"))
        return jsonify(_bound(simulator, session["id"]))

    @blueprint.post("/sessions/<number>")
    def choose(number: str) -> Response:
        goes_to = agree(simulator, number, steering.text(steering.body(), "card", "good"))
        return jsonify(_bound(simulator, number) | {"goes_to": goes_to})

    @blueprint.post("/confirmations/<number>")
    def confirm(number: str) -> Response:
        with act(simulator, "authentication", number) as call:
            goes_to = authenticated(call, number, agrees=bool(steering.body().get("agrees", True)))
        return jsonify(goes_to=goes_to)


def _page_of(customer: Object, reference: str) -> dict[str, object]:
    metadata = {"keepline_binding": reference}
    return {
        "mode": "setup",
        "customer": customer["id"],
        "allowed_payment_method_types": ["card"],
        "client_reference_id": reference,
        "metadata": metadata,
        "setup_intent_data": {"metadata": metadata},
        "success_url": "http://127.0.0.1:9/back",
        "cancel_url": "http://127.0.0.1:9/back",
    }


def _bound(simulator: Simulator, session_number: str) -> dict[str, object]:
    session = simulator.books.objects[session_number]
    setup = simulator.books.objects[session["setup_intent"]]
    return {
        "session": session["id"],
        "customer": session["customer"],
        "setup_intent": setup["id"],
        "payment_method": setup["payment_method"],
        "status": setup["status"],
    }


def _add_banks(blueprint: Blueprint, simulator: Simulator) -> None:
    books = simulator.books

    @blueprint.post("/cards/<slug>")
    def change_card(slug: str) -> Response:
        changes = steering.body()
        steering.only(changes, _CARD_FIELDS)
        if slug not in books.cards:
            abort(404)
        books.record(Change("card", {"slug": slug, "changes": changes}))
        return jsonify(changes)

    @blueprint.post("/payment_methods/<number>/detach")
    def detach(number: str) -> Response:
        with act(simulator, "payment_methods.detach") as call:
            return jsonify(shown(setting_up.detach_card(call, number)))

    @blueprint.post("/payment_methods/<number>/renew")
    def renew(number: str) -> Response:
        changes = steering.body()
        steering.only(changes, frozenset({"exp_month", "exp_year", "last4"}))
        with act(simulator) as call:
            card = call.get("payment_method", number)
            card["card"] |= changes
            call.change.put(card, "payment_method.automatically_updated")
        return jsonify(shown(card))

    @blueprint.post("/refunds/<number>")
    def settle_refund(number: str) -> Response:
        with act(simulator, "refunds.settle") as call:
            return jsonify(
                shown(
                    giving_back.settle_refund(
                        call, number, steering.text(steering.body(), "status")
                    )
                )
            )

    @blueprint.post("/disputes")
    def dispute() -> Response:
        asked = steering.body()
        with act(simulator, "disputes.create") as call:
            number = steering.text(asked, "charge", "")
            number = number or _charged(simulator, steering.text(asked, "reference"))
            return jsonify(shown(giving_back.open_dispute(call, number, asked)))

    @blueprint.post("/disputes/<number>")
    def close_dispute(number: str) -> Response:
        with act(simulator, "disputes.close") as call:
            return jsonify(
                shown(
                    giving_back.close_dispute(
                        call, number, steering.text(steering.body(), "status")
                    )
                )
            )


def _charged(simulator: Simulator, reference: str) -> str:
    """The paid charge under a reference. Raises ValueError."""
    for one in simulator.books.all_of("charge"):
        if one["paid"] and one["metadata"].get(simulator.reference_key) == reference:
            return str(one["id"])
    raise ValueError("no charge was paid under that reference")
