"""Texts to a number: GSMA OneAPI's outbound requests, and the pages where a visitor reads them."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, render_template, request

from lines.carriers.tmf654.simulator import shapes
from lines.carriers.tmf654.simulator.api import authorised
from lines.carriers.tmf654.simulator.books import Books, texts_to
from lines.carriers.tmf654.simulator.documents import Answer
from lines.carriers.tmf654.simulator.faults import FaultPlan, perform
from lines.carriers.tmf654.simulator.records import Line, decimals

_BEIJING = ZoneInfo("Asia/Shanghai")
_OUTBOUND = "/smsmessaging/v1/outbound"


def sms_api(*, books: Books, plan: FaultPlan, token: str) -> Blueprint:
    sms = Blueprint("sms", __name__, url_prefix=_OUTBOUND)
    sms.before_request(authorised(token))

    @sms.post("/<path:sender>/requests")
    def send(sender: str) -> Response:
        body = request.get_json(silent=True)
        asked = body.get("outboundSMSMessageRequest") if isinstance(body, dict) else None
        return perform(plan.take("POST /sms", json.dumps(body)), _sending(books, sender, asked))

    return sms


def pages(books: Books) -> Blueprint:
    """For people, in Chinese or English by `?lang=` or the browser; phones first."""
    shown = Blueprint("pages", __name__, template_folder="templates")
    shown.add_app_template_filter(_local, "local")

    @shown.get("/")
    def overview() -> str:
        lines = sorted(books.all_lines(), key=lambda line: line.number or line.iccid)
        now = books.now()
        return render_template(
            "overview.html", zh=_is_chinese(), lines=lines, now=now, money=_money
        )

    @shown.get("/sms")
    def texts() -> str:
        number = request.args.get("number", "").strip()
        return render_template(
            "sms.html",
            zh=_is_chinese(),
            number=number,
            known=[line.number for line in books.all_lines() if line.number],
            messages=list(texts_to(number, books.messages)) if number else [],
        )

    return shown


def _sending(books: Books, sender: str, asked: Any) -> Callable[[], Answer]:
    def work() -> Answer:
        if not shapes.MESSAGE(asked) or not asked["address"]:
            return _refused("SVC0002", "Invalid input value for message part.")
        numbers = [address.removeprefix("tel:") for address in asked["address"]]
        if not all(_is_ours(books.line_of(number)) for number in numbers):
            return _refused("SVC0004", "No valid addresses provided in message part.")
        text = asked["outboundSMSTextMessage"]["message"]
        sent = [books.add_message(number=number, sender=sender, text=text) for number in numbers]
        url = f"{_OUTBOUND}/{quote(sender, safe='')}/requests/{sent[0].id}"
        document = {"outboundSMSMessageRequest": {**asked, "resourceURL": url}}
        return Answer(document, 201, {"Location": url})

    return work


def _is_ours(line: Line | None) -> bool:
    return line is not None and line.status in ("active", "suspended")


def _refused(code: str, reason: str) -> Answer:
    exception = {"messageId": code, "text": reason, "variables": []}
    return Answer({"requestError": {"serviceException": exception}}, 400)


def _money(amount_minor: int, currency: str) -> str:
    places = decimals(currency)
    whole, part = divmod(abs(amount_minor), 10**places)
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{whole}.{part:0{places}d}" if places else f"{sign}{whole}"


def _local(at: datetime, form: str) -> str:
    """In the time of the operator's country, as the portal shows it too."""
    return at.astimezone(_BEIJING).strftime(form)


def _is_chinese() -> bool:
    chosen = request.args.get("lang") or request.accept_languages.best_match(["zh", "en"], "zh")
    return str(chosen).startswith("zh")
