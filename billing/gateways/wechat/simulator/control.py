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
from ipaddress import ip_address
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request

from billing.gateways.wechat.simulator import clock, consent, wording
from billing.gateways.wechat.simulator.records import BY_USER, Contract
from billing.gateways.wechat.simulator.refusals import Refusal
from billing.gateways.wechat.simulator.signatures import MD5
from billing.gateways.wechat.simulator.state import Simulator

_PAYER_FIELDS = {"balance_minor", "is_frozen", "daily_limit_minor"}
_MOST_TOLD = 2000


def control(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /_control."""
    blueprint = Blueprint("control", __name__, url_prefix="/_control")
    blueprint.before_request(_loopback_only)
    for error in (ValueError, TypeError, consent.NotSignable, Refusal):
        blueprint.register_error_handler(error, _unreadable)
    _add_views(blueprint, simulator)
    _add_orders(blueprint, simulator)
    _add_people(blueprint, simulator)
    return blueprint


def _loopback_only() -> None:
    if not request.remote_addr or not ip_address(request.remote_addr).is_loopback:
        abort(404)


def _unreadable(error: Exception) -> tuple[Response, int]:
    return jsonify(error=f"{type(error).__name__}: {error}"), 400


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise ValueError("a JSON object is wanted")
    return body


def _add_views(blueprint: Blueprint, simulator: Simulator) -> None:
    books = simulator.books

    @blueprint.get("/health")
    def health() -> Response:
        now = simulator.time.now()
        return jsonify(status="ok", now=clock.dashed(now), mch_id=simulator.mch_id)

    @blueprint.get("/journal")
    def journal() -> Response:
        since = int(request.args.get("since", "0"))
        return jsonify(entries=books.entries(kind=request.args.get("kind", ""), since=since))

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
    @blueprint.get("/faults")
    def faults() -> Response:
        return jsonify(faults=simulator.faults.standing())

    @blueprint.post("/faults")
    def order_fault() -> Response:
        simulator.faults.order(_body())
        return jsonify(faults=simulator.faults.standing())

    @blueprint.delete("/faults")
    def clear_faults() -> Response:
        simulator.faults.clear()
        return jsonify(faults=[])

    @blueprint.post("/clock")
    def advance() -> Response:
        simulator.advance(_seconds(_body(), "advance_s", least=1))
        return jsonify(now=clock.dashed(simulator.time.now()))

    @blueprint.post("/settings")
    def change_settings() -> Response:
        asked = _body()
        simulator.change(asked)
        return jsonify(asked)

    @blueprint.post("/bills")
    def falsify_bill() -> Response:
        asked = _body()
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
        changes = _body()
        unknown = ", ".join(sorted(set(changes) - _PAYER_FIELDS))
        if unknown:
            raise ValueError(f"unknown: {unknown}")
        if openid not in books.payers:
            abort(404)
        books.record("payer", reference=openid, changes=changes)
        return jsonify(changes)

    @blueprint.post("/contracts")
    def sign() -> Response:
        return jsonify(_told(simulator, _signed(simulator, _body())))

    @blueprint.post("/contracts/<contract_id>/revoke")
    def revoke(contract_id: str) -> Response:
        contract = books.contracts.get(contract_id) or abort(404)
        consent.end(simulator, contract, mode=str(_body().get("mode", BY_USER)))
        return jsonify(_told(simulator, contract))

    @blueprint.post("/contracts/<contract_id>/expire")
    def expire(contract_id: str) -> Response:
        contract = books.contracts.get(contract_id) or abort(404)
        ends_at = simulator.time.now() + timedelta(seconds=_seconds(_body(), "in_s", least=0))
        _move(simulator, contract, "expires_at", ends_at)
        return jsonify(_told(simulator, contract))

    @blueprint.post("/contracts/<contract_id>/age")
    def age(contract_id: str) -> Response:
        contract = books.contracts.get(contract_id) or abort(404)
        by = timedelta(seconds=_seconds(_body(), "by_s", least=1))
        _move(simulator, contract, "signed_at", contract.signed_at - by)
        return jsonify(_told(simulator, contract))


def _signed(simulator: Simulator, asked: dict[str, Any]) -> Contract:
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


def _told(simulator: Simulator, contract: Contract) -> dict[str, Any]:
    return dict(wording.contract_answer(contract, simulator.time.now()))


def _seconds(asked: dict[str, Any], name: str, *, least: int) -> int:
    value = asked.get(name, least)
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more")
    return value
