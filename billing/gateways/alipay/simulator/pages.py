"""What the payer sees: the consent page, and a corner of the payment app with agreements and bills.

The consent page keeps nothing between its two steps: the signed request travels in the form and is
checked again when it comes back.
"""

from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from billing.gateways.alipay.simulator import consent, instants, wording
from billing.gateways.alipay.simulator.books import Agreement, Payer
from billing.gateways.alipay.simulator.intake import checked
from billing.gateways.alipay.simulator.money import shown
from billing.gateways.alipay.simulator.refusals import Refusal
from billing.gateways.alipay.simulator.state import Simulator

PAGE_METHOD = "alipay.user.agreement.page.sign"


def signing_page(
    simulator: Simulator, params: dict[str, str], content: dict[str, object]
) -> Response:
    """What a verified request leads to: the consent page, or consent itself with --auto-agree."""
    try:
        asked = _asked(simulator, params, content)
        if simulator.auto_agree:
            payer = next(iter(simulator.books.payers.values()))
            return _agreed(simulator, params, asked, payer)
        return _ask(simulator, params, asked)
    except consent.NotSignable as refusal:
        return _not_signable(simulator, str(refusal))


def payer_pages(simulator: Simulator) -> Blueprint:
    """The consent page's second step, and /app."""
    blueprint = Blueprint("payer", __name__)

    @blueprint.post("/consent")
    def decide() -> Response:
        params = dict(parse_qsl(request.form.get("request", "")))
        payer = simulator.books.payers.get(request.form.get("payer", ""))
        if request.form.get("decision") != "agree" or payer is None:
            return _declined(simulator, params)
        try:
            content = checked(simulator, params)
            return _agreed(simulator, params, _asked(simulator, params, content), payer)
        except (Refusal, consent.NotSignable) as refusal:
            return _not_signable(simulator, str(refusal))

    @blueprint.get("/")
    def front_door() -> BaseResponse:
        return redirect("/app")

    @blueprint.get("/app")
    def home() -> str:
        payers = simulator.books.payers
        payer = payers.get(request.args.get("payer", ""), next(iter(payers.values())))
        return render_template("app.html", payer=payer, **_holdings(simulator, payer))

    @blueprint.post("/app/unsign")
    def unsign() -> BaseResponse:
        agreement = simulator.books.agreements.get(request.form.get("agreement_no", ""))
        if agreement is None:
            abort(404)
        user_unsigns(simulator, agreement)
        return redirect(f"/app?payer={agreement.payer_id}")

    return blueprint


def user_unsigns(simulator: Simulator, agreement: Agreement) -> None:
    """Ended in the payer's app: told only to the application gateway."""
    with simulator.books.lock:
        if agreement.status == "STOP":
            return
        consent.end(simulator.books, agreement, by="user")
    payer = simulator.books.payers[agreement.payer_id]
    plan = simulator.faults.plan("alipay.user.agreement.unsign", agreement.external_agreement_no)
    fields = wording.unsigned_notice(agreement, payer, simulator.time.now())
    simulator.notifier.send(simulator.app_gateway_url, fields, plan.notices)


def agree(
    simulator: Simulator, asked: consent.Asked, payer: Payer, *, status: str = "NORMAL"
) -> Agreement:
    """Sign, and tell the merchant. Raises consent.NotSignable."""
    books = simulator.books
    with books.lock:
        is_new = books.by_external(asked.external_agreement_no) is None
        agreement = consent.sign(books, asked, payer=payer, now=simulator.time.now(), status=status)
    if is_new and status == "NORMAL":
        plan = simulator.faults.plan(PAGE_METHOD, asked.external_agreement_no)
        notice = wording.signed_notice(agreement, payer)
        simulator.notifier.send(asked.notify_url, notice, plan.notices)
    return agreement


def _asked(
    simulator: Simulator, params: dict[str, str], content: dict[str, object]
) -> consent.Asked:
    return consent.read_request(
        content, notify_url=params.get("notify_url", ""), now=simulator.time.now()
    )


def _declined(simulator: Simulator, params: dict[str, str]) -> Response:
    """Back to the merchant with nothing: it learns the truth by asking."""
    target = params.get("return_url", "")
    if target.startswith(("https://", "http://")):
        return make_response("", 303, {"Location": target})
    return _not_signable(simulator, "已取消签约")


def _not_signable(simulator: Simulator, reason: str) -> Response:
    page = render_template("refused.html", reason=reason, simulator=simulator)
    return make_response(page, 400)


def _ask(simulator: Simulator, params: dict[str, str], asked: consent.Asked) -> Response:
    single_minor = asked.rules.get("single_minor")
    page = render_template(
        "consent.html",
        simulator=simulator,
        asked=asked,
        rules=asked.rules,
        single=shown(single_minor) if single_minor else "",
        until=instants.day(simulator.time.now() + asked.validity),
        payers=simulator.books.payers.values(),
        signed_request=urlencode(params),
        shown=shown,
    )
    return make_response(page)


def _agreed(
    simulator: Simulator, params: dict[str, str], asked: consent.Asked, payer: Payer
) -> Response:
    agreement = agree(simulator, asked, payer)
    fields = simulator.notifier.common() | wording.signed_notice(agreement, payer)
    target = params.get("return_url", "") or f"{simulator.base_url}/app?payer={payer.payer_id}"
    joint = "&" if "?" in target else "?"
    location = f"{target}{joint}{urlencode(simulator.notifier.signed(fields))}"
    return make_response("", 303, {"Location": location})


def _holdings(simulator: Simulator, payer: Payer) -> dict[str, object]:
    books, now = simulator.books, simulator.time.now()
    with books.lock:
        agreements = [a for a in books.agreements.values() if a.payer_id == payer.payer_id]
        trades = [t for t in books.trades.values() if t.payer_id == payer.payer_id and t.paid_at]
    return {
        "simulator": simulator,
        "payers": books.payers.values(),
        "agreements": sorted(agreements, key=lambda a: a.signed_at, reverse=True),
        "trades": sorted(trades, key=lambda t: t.created_at, reverse=True)[:50],
        "now": now,
        "time_text": instants.text,
        "shown": shown,
    }
