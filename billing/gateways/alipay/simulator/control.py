"""/_control: what a test, a demo or a chaos driver may do to this Alipay. JSON, loopback only.

| call | does |
| --- | --- |
| GET health, journal?kind=&since=, payers, agreements, notifications, faults | tells |
| POST faults | {"kind", "method", "times", "reference", …} or {"rate", "kinds", "seed"}: `faults` |
| DELETE faults | all faults end |
| POST clock | {"advance_s"}: retries, late effects and dates come due |
| POST payers/ID | {"balance_minor", "is_frozen", "daily_limit_minor"} |
| POST agreements | page.sign's content, + "payer", "status", "notify_url": signed at once |
| POST agreements/NO/revoke | the user unsigns in the app |
| POST agreements/NO/expire | {"in_s"}: it ends then (0: now), and nobody is told |
| POST refunds/NUMBER/deposit_back | {"status": "S" or "F"}: what the payer's bank did with it |
| POST settings | app_gateway_url, auto_agree, async_delay_s, declines_leave_open, … |
| POST bills | {"kind", "reference", "amount_minor"} (`bills.FAULTS`), or {"half_width"} |
| DELETE bills | honest bills again |
"""

from datetime import timedelta

from flask import Blueprint, Response, abort, jsonify

from billing.gateways.alipay.simulator import consent, instants, wording
from billing.gateways.alipay.simulator.books import Agreement
from billing.gateways.alipay.simulator.pages import agree, user_unsigns
from billing.gateways.alipay.simulator.state import Simulator
from billing.gateways.simulation import steering

_PAYER_FIELDS = frozenset({"balance_minor", "is_frozen", "daily_limit_minor"})
_SETTINGS = frozenset({"app_gateway_url", "auto_agree", "async_delay_s", "declines_leave_open"})
_NOTIFIER_SETTINGS = frozenset({"signs_with_type", "is_silent"})


def control(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /_control."""
    blueprint = steering.blueprint(refusals=(ValueError, consent.NotSignable))
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
        return jsonify(
            status="ok", now=instants.text(simulator.time.now()), app_id=simulator.app_id
        )

    @blueprint.get("/payers")
    def payers() -> Response:
        return jsonify(
            payers=[
                {"payer_id": payer.payer_id, "balance_minor": payer.balance_minor}
                | {"is_frozen": payer.is_frozen, "daily_limit_minor": payer.daily_limit_minor}
                for payer in books.payers.values()
            ]
        )

    @blueprint.get("/agreements")
    def agreements() -> Response:
        return jsonify(agreements=[_told(simulator, one) for one in books.agreements.values()])

    @blueprint.get("/notifications")
    def notifications() -> Response:
        return jsonify(
            notifications=[
                {"url": one.url, "fields": one.fields, "tries": one.tries, "waits": one.waits}
                | {"is_accepted": one.is_accepted, "answer": one.answer}
                for one in simulator.notifier.deliveries()
            ]
        )


def _add_orders(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.post("/clock")
    def advance() -> Response:
        simulator.books.record("clock", advance_s=steering.seconds("advance_s", least=1))
        simulator.agenda.clock_moved()
        return jsonify(now=instants.text(simulator.time.now()))

    @blueprint.post("/settings")
    def settings() -> Response:
        asked = steering.body()
        steering.only(asked, _SETTINGS | _NOTIFIER_SETTINGS)
        for name, value in asked.items():
            setattr(simulator if name in _SETTINGS else simulator.notifier, name, value)
        return jsonify(asked)

    @blueprint.post("/bills")
    def falsify_bill() -> Response:
        asked = steering.body()
        if "half_width" in asked:
            simulator.bills.has_half_width_header = bool(asked["half_width"])
        else:
            simulator.bills.falsify(asked)
        return jsonify(asked)

    @blueprint.delete("/bills")
    def honest_bills() -> Response:
        simulator.bills.be_honest()
        return jsonify(faults=[])


def _add_banks(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.post("/refunds/<number>/deposit_back")
    def deposit_back(number: str) -> Response:
        """Told to the application gateway, and only if the refund asked for it."""
        told = (
            (trade, trade.refunds[number])
            for trade in simulator.books.trades.values()
            if number in trade.refunds and trade.refunds[number].is_told
        )
        trade, refund = next(told, None) or abort(404)
        status = steering.text(steering.body(), "status", "S")
        content = wording.deposit_back(trade, refund, status)
        simulator.notifier.message(simulator.app_gateway_url, wording.DEPOSIT_BACK, content)
        return jsonify(content)


def _add_people(blueprint: Blueprint, simulator: Simulator) -> None:
    books = simulator.books

    @blueprint.post("/payers/<payer_id>")
    def change_payer(payer_id: str) -> Response:
        changes = steering.body()
        steering.only(changes, _PAYER_FIELDS)
        if payer_id not in books.payers:
            abort(404)
        books.record("payer", reference=payer_id, changes=changes)
        return jsonify(changes)

    @blueprint.post("/agreements")
    def sign() -> Response:
        content = steering.body()
        now = simulator.time.now()
        asked = consent.read_request(
            content, notify_url=steering.text(content, "notify_url", ""), now=now
        )
        payer = books.payers[steering.text(content, "payer", next(iter(books.payers)))]
        agreement = agree(
            simulator, asked, payer, status=steering.text(content, "status", "NORMAL")
        )
        return jsonify(_told(simulator, agreement))

    @blueprint.post("/agreements/<number>/revoke")
    def revoke(number: str) -> Response:
        agreement = books.agreements.get(number) or abort(404)
        user_unsigns(simulator, agreement)
        return jsonify(_told(simulator, agreement))

    @blueprint.post("/agreements/<number>/expire")
    def expire(number: str) -> Response:
        agreement = books.agreements.get(number) or abort(404)
        ends_at = simulator.time.now() + timedelta(
            seconds=steering.seconds("in_s", least=0, default=0)
        )
        books.record(
            "agreement_changed",
            reference=agreement.external_agreement_no,
            agreement_no=number,
            invalid_at=ends_at.isoformat(timespec="seconds"),
        )
        return jsonify(_told(simulator, agreement))


def _told(simulator: Simulator, agreement: Agreement) -> dict[str, object]:
    return wording.agreement_answer(agreement, simulator.books.payers[agreement.payer_id])
