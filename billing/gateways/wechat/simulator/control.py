"""/_control: what a test, a demo or a chaos driver may do to this WeChat Pay. JSON, loopback only.

| call | does |
| --- | --- |
| GET health, journal?kind=&since=, payers, contracts, orders, notifications | tells |
| GET faults, settings | tells |
| POST faults | {"kind", "method", "times", "reference", …} or {"rate", "kinds", "seed"}: `faults` |
| DELETE faults | all faults end |
| POST clock | {"advance_s"}: deductions, refunds and retries come due; done when it returns |
| POST settings | any of `settings.Settings` |
| POST payers/OPENID | {"balance_minor", "is_frozen", "daily_limit_minor"} |
| POST contracts | {"contract_code", "payer", "notify_url", …}: signed without a browser |
| POST contracts/ID/revoke | the payer ends it in the wallet; {"mode": "5"}: the account is closed |
| POST contracts/ID/expire | {"in_s"}: it ends then (0: now), and nobody is told |
| POST contracts/ID/age | {"by_s"}: it was signed that much earlier (past the first 12 hours) |
| POST bills | {"kind", "reference", "amount_minor"} (`bills.FAULTS`) |
| DELETE bills | honest bills again |
"""

import secrets
from dataclasses import asdict
from datetime import datetime, timedelta

from flask import Blueprint, Response, abort, jsonify

from billing.gateways.simulation import steering
from billing.gateways.wechat.simulator import consent, instants, wording
from billing.gateways.wechat.simulator.records import BY_USER, Contract
from billing.gateways.wechat.simulator.refusals import Refusal
from billing.gateways.wechat.simulator.signatures import MD5
from billing.gateways.wechat.simulator.state import Simulator

_PAYER_FIELDS = {"balance_minor", "is_frozen", "daily_limit_minor"}
_MOST_TOLD = 2000


def control(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /_control."""
    refusals = (ValueError, TypeError, consent.NotSignable, Refusal)
    blueprint = steering.blueprint(refusals=refusals)
    steering.add_journal(blueprint, simulator.books)
    steering.add_faults(blueprint, simulator.faults)
    _add_views(blueprint, simulator)
    _add_orders(blueprint, simulator)
    _add_people(blueprint, simulator)
    return blueprint


def _add_views(blueprint: Blueprint, simulator: Simulator) -> None:
    books = simulator.books

    @blueprint.get("/health")
    def health() -> Response:
        now = simulator.time.now()
        return jsonify(status="ok", now=instants.dashed(now), mch_id=simulator.mch_id)

    @blueprint.get("/payers")
    def payers() -> Response:
        return jsonify(payers=[asdict(payer) for payer in books.payers.values()])

    @blueprint.get("/contracts")
    def contracts() -> Response:
        return jsonify(contracts=[_told(simulator, one) for one in books.contracts.values()])

    @blueprint.get("/orders")
    def orders() -> Response:
        return jsonify(
            orders=[wording.order_answer(simulator, one) for one in list(books.orders.values())]
        )

    @blueprint.get("/notifications")
    def notifications() -> Response:
        latest = list(books.deliveries.values())[-_MOST_TOLD:]
        return jsonify(notifications=[asdict(one) for one in latest])

    @blueprint.get("/settings")
    def settings() -> Response:
        return jsonify(simulator.settings.told())


def _add_orders(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.post("/clock")
    def advance() -> Response:
        simulator.advance(steering.seconds("advance_s", least=1))
        return jsonify(now=instants.dashed(simulator.time.now()))

    @blueprint.post("/settings")
    def change_settings() -> Response:
        asked = steering.body()
        simulator.change(asked)
        return jsonify(asked)

    @blueprint.post("/bills")
    def falsify_bill() -> Response:
        asked = steering.body()
        simulator.bills.falsify(asked)
        return jsonify(asked)

    @blueprint.delete("/bills")
    def honest_bills() -> Response:
        simulator.bills.be_honest()
        return jsonify(faults=[])


def _add_people(blueprint: Blueprint, simulator: Simulator) -> None:
    books = simulator.books

    @blueprint.post("/payers/<openid>")
    def change_payer(openid: str) -> Response:
        changes = steering.body()
        steering.only(changes, _PAYER_FIELDS)
        if openid not in books.payers:
            abort(404)
        books.record("payer", reference=openid, changes=changes)
        return jsonify(changes)

    @blueprint.post("/contracts")
    def sign() -> Response:
        return jsonify(_told(simulator, _signed(simulator, steering.body())))

    @blueprint.post("/contracts/<contract_id>/revoke")
    def revoke(contract_id: str) -> Response:
        contract = books.contracts.get(contract_id) or abort(404)
        consent.end(simulator, contract, mode=str(steering.body().get("mode", BY_USER)))
        return jsonify(_told(simulator, contract))

    @blueprint.post("/contracts/<contract_id>/expire")
    def expire(contract_id: str) -> Response:
        contract = books.contracts.get(contract_id) or abort(404)
        ends_at = simulator.time.now() + timedelta(
            seconds=steering.seconds("in_s", least=0, default=0)
        )
        _move(simulator, contract, "expires_at", ends_at)
        return jsonify(_told(simulator, contract))

    @blueprint.post("/contracts/<contract_id>/age")
    def age(contract_id: str) -> Response:
        contract = books.contracts.get(contract_id) or abort(404)
        by = timedelta(seconds=steering.seconds("by_s", least=1))
        _move(simulator, contract, "signed_at", contract.signed_at - by)
        return jsonify(_told(simulator, contract))


def _signed(simulator: Simulator, asked: dict[str, object]) -> Contract:
    """As the pages do it, but for the signature on the request."""
    fields = {
        "plan_id": simulator.plan_id,
        "request_serial": str(secrets.randbelow(10**9) + 1),
        "contract_display_account": "138****0000",
        "notify_url": "http://127.0.0.1:9/nobody",
        "version": "1.0",
        "timestamp": str(int(simulator.time.now().timestamp())),
    } | {name: str(value) for name, value in asked.items()}
    sign_type = fields.pop("sign_type", MD5)
    payer = simulator.books.payers[fields.pop("payer", next(iter(simulator.books.payers)))]
    signing = consent.asked(simulator, fields, via="control", sign_type=sign_type)
    return consent.agree(simulator, signing, payer)


def _move(simulator: Simulator, contract: Contract, name: str, to: datetime) -> None:
    simulator.books.record(
        "contract_changed",
        reference=contract.contract_code,
        contract_id=contract.contract_id,
        moved={name: to.isoformat(timespec="seconds")},
    )


def _told(simulator: Simulator, contract: Contract) -> dict[str, object]:
    return dict(wording.contract_answer(contract, simulator.time.now()))
