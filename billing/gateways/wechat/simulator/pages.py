"""What the payer sees: three ways to one consent page, and a corner of the wallet.

An h5 `redirect_url` opens once; every way leads on to /papay/consent/TOKEN, which may be reloaded
until the payer has decided or ten minutes are over.
"""

from urllib.parse import urlencode

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from billing.gateways.wechat.simulator import consent, envelope, instants, intake
from billing.gateways.wechat.simulator.money import shown
from billing.gateways.wechat.simulator.records import BY_USER, Payer, Signing
from billing.gateways.wechat.simulator.refusals import NotSpoken, Refusal
from billing.gateways.wechat.simulator.signatures import HMAC, MD5
from billing.gateways.wechat.simulator.state import Simulator
from billing.gateways.wechat.simulator.v2 import failed, performed, refused
from billing.gateways.wechat.simulator.wording import Fields

_LANGUAGES = ("zh", "en")


def payer_pages(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /papay's pages and /app."""
    blueprint = Blueprint("payer", __name__)
    blueprint.context_processor(lambda: _shared(simulator))
    _add_ways(blueprint, simulator)
    _add_consent(blueprint, simulator)
    _add_wallet(blueprint, simulator)
    return blueprint


def _shared(simulator: Simulator) -> dict[str, object]:
    language = _language()

    def t(zh: str, en: str) -> str:
        return en if language == "en" else zh

    other = "zh" if language == "en" else "en"
    there = f"{request.path}?{urlencode({**request.args, 'lang': other})}"
    return {
        "t": t,
        "language": language,
        "other_language": there,
        "simulator": simulator,
        "shown": shown,
        "time_text": instants.dashed,
    }


def _language() -> str:
    asked = request.args.get("lang", "")
    if asked in _LANGUAGES:
        return asked
    return request.accept_languages.best_match(_LANGUAGES, "zh") or "zh"


# --- the ways in ------------------------------------------------------------------------------


def _add_ways(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.get("/papay/entrustweb")
    def official_account() -> BaseResponse:
        """The signed address itself is the page: MD5 only."""
        fields = request.args.to_dict()
        try:
            _authenticate(simulator, fields, MD5)
            signing = _asked(
                simulator, fields, via="official_account", sign_type=MD5, referrer=_referrer()
            )
        except (NotSpoken, Refusal):
            # All that a payer is told, whatever is wrong: the words are the vendor's.
            return _sorry("商家系统错误，请联系商家处理", "The merchant sent a faulty request.")
        return redirect(f"/papay/consent/{signing.token}?lang={_language()}", 303)

    @blueprint.get("/papay/h5entrustweb")
    def h5() -> Response:
        """Called by the merchant's server: HMAC-SHA256 only."""
        fields = request.args.to_dict()
        try:
            _authenticate(simulator, fields, HMAC)
        except NotSpoken as refusal:
            return failed(str(refusal))

        referrer = _referrer()

        def effect() -> Fields:
            try:
                signing = _asked(simulator, fields, via="h5", sign_type=HMAC, referrer=referrer)
            except Refusal as refusal:
                return refused(refusal.code, refusal.words)
            url = f"{simulator.base_url}/papay/h5/{signing.token}"
            return {"result_code": "SUCCESS", "redirect_url": url}

        fault = simulator.faults.of_answer("h5entrustweb", fields.get("contract_code", ""))
        return performed(simulator, HMAC, effect, fault)

    @blueprint.get("/papay/h5/<token>")
    def h5_page(token: str) -> BaseResponse:
        return _first_opening(simulator, token)

    @blueprint.get("/pages/index/index")
    def mini_program() -> BaseResponse:
        """What the mini-program would show for `miniprogram_path`."""
        return _first_opening(simulator, request.args.get("pre_entrustweb_id", ""))


def _authenticate(simulator: Simulator, fields: Fields, sign_type: str) -> None:
    """Raises NotSpoken."""
    try:
        envelope.check_characters(fields)
    except envelope.Unreadable as error:
        raise NotSpoken(str(error)) from error
    if intake.authenticate(simulator, fields, default=sign_type) != sign_type:
        raise NotSpoken("签名类型错误")


def _asked(
    simulator: Simulator, fields: Fields, *, via: str, sign_type: str, referrer: str
) -> Signing:
    """Raises Refusal."""
    intake.check(simulator, fields, sign_type=HMAC, required=())
    return consent.asked(simulator, fields, via=via, sign_type=sign_type, referrer=referrer)


def _referrer() -> str:
    """The page that led here, if the browser says so."""
    referrer = request.headers.get("Referer", "")
    return referrer if referrer.startswith(("http://", "https://")) else ""


def _first_opening(simulator: Simulator, token: str) -> BaseResponse:
    """Single use: whoever comes second, or too late, starts again at the merchant."""
    with simulator.books.lock:
        signing = simulator.books.signings.get(token)
        is_good = signing is not None and consent.is_open(signing, simulator.time.now())
        if signing is None or not is_good or signing.opened_at is not None:
            return _sorry(
                "页面已失效，请返回商家重新发起", "This link has been used or is too old."
            )
        # The vendor's rule: a payer goes back to the page that led here.
        simulator.books.record(
            "signing_opened", token=token, return_to=_referrer() or signing.return_to
        )
    return redirect(f"/papay/consent/{token}?lang={_language()}", 303)


# --- consent ----------------------------------------------------------------------------------


def _add_consent(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.get("/papay/consent/<token>")
    def ask(token: str) -> BaseResponse:
        signing = simulator.books.signings.get(token)
        if signing is None or not consent.is_open(signing, simulator.time.now()):
            return _sorry("页面已失效，请返回商家重新发起", "This page is no longer valid.")
        if simulator.settings.auto_agree:
            return _agreed(simulator, signing, next(iter(simulator.books.payers.values())))
        payers = simulator.books.payers.values()
        return make_response(render_template("consent.html", signing=signing, payers=payers))

    @blueprint.post("/papay/consent/<token>")
    def decide(token: str) -> BaseResponse:
        signing = simulator.books.signings.get(token) or abort(404)
        if request.form.get("decision") == "agree":
            payer = simulator.books.payers.get(request.form.get("payer", "")) or abort(400)
            return _agreed(simulator, signing, payer)
        if not signing.is_over:
            consent.decline(simulator, signing)
        return _back(simulator, signing, is_signed=False)

    @blueprint.get("/papay/done")
    def done() -> str:
        return render_template("done.html", is_signed=request.args.get("signed") == "1")


def _agreed(simulator: Simulator, signing: Signing, payer: Payer) -> BaseResponse:
    try:
        consent.agree(simulator, signing, payer)
    except consent.NotSignable as refusal:
        return _sorry(*refusal.args)
    return _back(simulator, signing, is_signed=True)


def _back(simulator: Simulator, signing: Signing, *, is_signed: bool) -> BaseResponse:
    """To the merchant, who learns by asking; or to a page that says how it went."""
    if signing.return_to:
        joint = "&" if "?" in signing.return_to else "?"
        return redirect(f"{signing.return_to}{joint}from_wxpay=1", 303)
    return redirect(f"/papay/done?signed={int(is_signed)}&lang={_language()}", 303)


def _sorry(zh: str, en: str) -> BaseResponse:
    page = render_template("refused.html", reason=en if _language() == "en" else zh)
    return make_response(page, 400)


# --- the wallet -------------------------------------------------------------------------------


def _add_wallet(blueprint: Blueprint, simulator: Simulator) -> None:
    books = simulator.books

    @blueprint.get("/")
    def front_door() -> BaseResponse:
        return redirect("/app")

    @blueprint.get("/app")
    def wallet() -> str:
        first = next(iter(books.payers.values()))
        payer = books.payers.get(request.args.get("payer", ""), first)
        return render_template("app.html", payer=payer, **_holdings(simulator, payer))

    @blueprint.post("/app/unsign")
    def unsign() -> BaseResponse:
        contract = books.contracts.get(request.form.get("contract_id", "")) or abort(404)
        consent.end(simulator, contract, mode=BY_USER)
        query = urlencode({"payer": contract.openid, "lang": _language()})
        return redirect(f"/app?{query}", 303)


def _holdings(simulator: Simulator, payer: Payer) -> dict[str, object]:
    books = simulator.books
    with books.lock:
        contracts = [one for one in books.contracts.values() if one.openid == payer.openid]
        orders = [one for one in books.orders.values() if one.openid == payer.openid]
    return {
        "payers": books.payers.values(),
        "contracts": sorted(contracts, key=lambda one: one.signed_at, reverse=True),
        "orders": sorted(orders, key=lambda one: one.accepted_at, reverse=True)[:50],
        "refunded": books.refunded_minor,
        "now": simulator.time.now(),
    }
