"""What the payer sees: the hosted set-up page, the bank's confirmation, and a wallet.

Cards are chosen by name. There is no field for a number, so that nobody types a real one here.
"""

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from billing.gateways.stripe.simulator import giving_back, paying, setting_up
from billing.gateways.stripe.simulator.acting import act
from billing.gateways.stripe.simulator.books import Object
from billing.gateways.stripe.simulator.calls import Call
from billing.gateways.stripe.simulator.setting_up import NotSignable
from billing.gateways.stripe.simulator.state import Simulator

SESSION_METHOD = "checkout.sessions.complete"
_SIGNS = {"cny": "¥", "hkd": "HK$", "usd": "$", "eur": "€"}


def payer_pages(simulator: Simulator) -> Blueprint:
    """The blueprint that serves /c/pay, /3ds and /wallet."""
    blueprint = Blueprint("payer", __name__)

    @blueprint.errorhandler(NotSignable)
    def over(error: NotSignable) -> Response:
        page = render_template("over.html", reason=str(error), simulator=simulator, locale="zh")
        return make_response(page, 400)

    _add_set_up(blueprint, simulator)
    _add_bank(blueprint, simulator)
    _add_wallet(blueprint, simulator)
    return blueprint


def agree(simulator: Simulator, number: str, slug: str) -> str:
    """Choose a card on a page; where its visitor goes next. Raises NotSignable."""
    with act(simulator, SESSION_METHOD) as call:
        session = setting_up.open_session(call, number)
        setup = setting_up.choose_card(call, number, simulator.books.cards[slug])
    if setup["status"] == "requires_action":
        return f"/3ds/{setup['id']}"
    return str(session["success_url"])


def _add_set_up(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.get("/c/pay/<number>")
    def set_up(number: str) -> BaseResponse:
        with simulator.books.lock:
            session = setting_up.open_session(_looking(simulator), number)
        if simulator.auto_agree:
            return redirect(agree(simulator, number, "good"), 303)
        page = render_template(
            "pay.html",
            simulator=simulator,
            session=session,
            cards=simulator.books.cards.values(),
            locale=_locale(session),
        )
        return make_response(page)

    @blueprint.post("/c/pay/<number>")
    def decide(number: str) -> BaseResponse:
        slug = request.form.get("card", "")
        if request.form.get("decision") != "agree" or slug not in simulator.books.cards:
            with simulator.books.lock:
                session = setting_up.open_session(_looking(simulator), number)
            return redirect(session["cancel_url"], 303)
        return redirect(agree(simulator, number, slug), 303)


def _add_bank(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.get("/3ds/<number>")
    def ask(number: str) -> str:
        waiting = _waiting(_looking(simulator), number)
        return render_template(
            "bank.html",
            simulator=simulator,
            waiting=waiting,
            amount=_amount(waiting) if waiting["object"] == "payment_intent" else "",
            locale="zh",
        )

    @blueprint.post("/3ds/<number>")
    def tell_bank(number: str) -> BaseResponse:
        agrees = request.form.get("decision") == "agree"
        with act(simulator, "authentication", number) as call:
            return redirect(authenticated(call, number, agrees=agrees), 303)


def authenticated(call: Call, number: str, *, agrees: bool) -> str:
    """The payer told the bank; where the browser goes next. Raises NotSignable."""
    waiting = _waiting(call, number)
    if waiting["object"] == "setup_intent":
        session = setting_up.current(call, waiting["_session"])
        if not agrees:
            setting_up.fail(call, waiting)
            return f"/c/pay/{session['id']}"
        setting_up.finish(call, waiting, session)
        return str(session["success_url"])
    (paying.succeed if agrees else paying.refuse_authentication)(call, waiting)
    joint = "&" if "?" in waiting["_return_url"] else "?"
    told = f"payment_intent={number}&redirect_status={'succeeded' if agrees else 'failed'}"
    return f"{waiting['_return_url']}{joint}{told}" if waiting["_return_url"] else "/wallet"


def _waiting(call: Call, number: str) -> Object:
    """The payment or the set-up that waits for its payer. Raises NotSignable."""
    waiting = call.simulator.books.objects.get(number)
    kinds = ("payment_intent", "setup_intent")
    if waiting is None or waiting["object"] not in kinds or waiting["status"] != "requires_action":
        raise NotSignable("没有等待确认的付款。 Nothing waits to be confirmed here.")
    return call.get(waiting["object"], number)


def _add_wallet(blueprint: Blueprint, simulator: Simulator) -> None:
    @blueprint.get("/")
    def front_door() -> BaseResponse:
        return redirect("/wallet")

    @blueprint.get("/wallet")
    def wallet() -> str:
        books = simulator.books
        with books.lock:
            bound = [one for one in books.all_of("payment_method") if one["customer"]]
            charges = [one for one in books.all_of("charge") if one["paid"]]
        return render_template(
            "wallet.html",
            simulator=simulator,
            cards=bound[:50],
            names=books.cards,
            charges=charges[:50],
            amount=_amount,
            locale="zh",
        )

    @blueprint.post("/wallet/dispute")
    def dispute() -> BaseResponse:
        charge = simulator.books.objects.get(request.form.get("charge", ""))
        if charge is None or charge["object"] != "charge" or charge["disputed"]:
            abort(404)
        with act(simulator, "disputes.create") as call:
            giving_back.open_dispute(call, charge["id"], {})
        return redirect("/wallet", 303)


def _looking(simulator: Simulator) -> Call:
    """To look with: nothing of it is written down."""
    return Call(simulator, {}, simulator.time.now(), simulator.faults.plan("", ""))


def _locale(session: Object) -> str:
    return "en" if str(session["locale"]).startswith("en") else "zh"


def _amount(one: Object) -> str:
    """5000 fen as "¥50.00"."""
    minor = one["amount"]
    return f"{_SIGNS.get(one['currency'], '')}{minor // 100:,}.{minor % 100:02d}"
