"""The lever behind the curtain, for tests and demos: loopback only, JSON only, no token."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from ipaddress import ip_address
from secrets import token_hex
from typing import Any

from flask import Blueprint, Response, request

from lines.carriers.tmf654.simulator import documents
from lines.carriers.tmf654.simulator.books import Books, Refused, texts_to
from lines.carriers.tmf654.simulator.documents import Answer
from lines.carriers.tmf654.simulator.falsification import Falsification
from lines.carriers.tmf654.simulator.faults import Fault, FaultPlan, UnknownFault, respond
from lines.carriers.tmf654.simulator.records import Line, Movement

_CHANGEABLE = {
    "status",
    "balance_minor",
    "reserved_minor",
    "valid_until",
    "usage_minor_per_day",
    "iccid",
    "denominations_minor",
    "max_balance_minor",
    "notify_below_minor",
    "extends_days",
}
_STATUSES = {"active", "suspended", "ported_out", "terminated"}


class Control:
    """The views, one for each lever."""

    def __init__(self, *, books: Books, plan: FaultPlan, falsification: Falsification) -> None:
        self._books = books
        self._plan = plan
        self._falsification = falsification

    def blueprint(self) -> Blueprint:
        control = Blueprint("control", __name__, url_prefix="/_control")
        control.before_request(_only_from_here)
        control.register_error_handler(Refused, _told)
        control.register_error_handler(UnknownFault, _bad_request)
        control.register_error_handler(ValueError, _bad_request)
        control.register_error_handler(TypeError, _bad_request)
        control.register_error_handler(KeyError, _bad_request)
        for method, path, view in (
            ("GET", "/health", self.health),
            ("GET", "/journal", self.journal),
            ("GET", "/lines", self.lines),
            ("POST", "/lines", self.add_lines),
            ("PATCH", "/lines/<resource>", self.change_line),
            ("GET", "/sms", self.texts),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("POST", "/clock", self.advance_clock),
            ("POST", "/topups", self.set_topups),
            ("POST", "/orders/<order_id>/reverse", self.reverse),
            ("POST", "/statement", self.falsify),
            ("DELETE", "/statement", self.make_true),
        ):
            control.add_url_rule(path, f"{method} {path}", view, methods=[method])
        return control

    def health(self) -> Response:
        now = self._books.now().isoformat()
        document = {"status": "ok", "now": now, "lines": len(self._books.lines)}
        return respond(Answer({**document, "seed": self._plan.seed}))

    def journal(self) -> Response:
        """Every credit and every reversal that took effect, oldest first: the truth."""
        movements = self._books.all_movements()
        return respond(Answer([self._entry(movement) for movement in movements]))

    def lines(self) -> Response:
        return respond(Answer([line.as_json() for line in self._books.all_lines()]))

    def add_lines(self) -> Response:
        """One line, or a list of them: number, iccid, currency, balance_minor and what else."""
        given = _json()
        added = [self._books.add_line(self._line(each)) for each in _as_list(given)]
        documents_ = [line.as_json() for line in added]
        return respond(Answer(documents_ if isinstance(given, list) else documents_[0], 201))

    def change_line(self, resource: str) -> Response:
        """`expire`: its validity ends now; else fields, `status` among them."""
        changes = _json()
        if changes.pop("expire", False):
            changes["valid_until"] = self._books.now().isoformat()
        if not changes.keys() <= _CHANGEABLE or changes.get("status", "active") not in _STATUSES:
            raise ValueError(f"changeable: {', '.join(sorted(_CHANGEABLE))}")
        if isinstance(changes.get("valid_until"), str):
            changes["valid_until"] = datetime.fromisoformat(changes["valid_until"])
        return respond(Answer(self._books.change_line(resource, changes).as_json()))

    def texts(self) -> Response:
        messages = texts_to(request.args.get("number", ""), self._books.messages)
        return respond(Answer([message.as_json() for message in messages]))

    def faults(self) -> Response:
        return respond(Answer([_exact(asdict(fault)) for fault in self._plan.all()]))

    def add_fault(self) -> Response:
        for each in _as_list(_json()):
            self._plan.add(Fault(**each))
        return respond(Answer({}, 201))

    def clear_faults(self) -> Response:
        self._plan.clear()
        return respond(Answer({}))

    def advance_clock(self) -> Response:
        now = self._books.advance_clock(float(_json()["advance_s"]))
        return respond(Answer({"now": now.isoformat()}))

    def set_topups(self) -> Response:
        """How the next top-ups end: `end` completed, failed or cancelled, after `after_s`."""
        given = _json()
        end, after_s = given.get("end", "completed"), float(given.get("after_s", 0))
        if end not in ("completed", "failed", "cancelled"):
            raise ValueError("end: completed, failed or cancelled")
        self._books.end_of_topups = (end, after_s)
        return respond(Answer({"end": end}))

    def reverse(self, order_id: str) -> Response:
        return respond(Answer(documents.order(self._books.reverse(order_id))))

    def falsify(self) -> Response:
        """`hide`: a reference · `change`: a reference and `amount_minor` · `add`: a row."""
        given = _json()
        if "hide" in given:
            self._falsification.hide(given["hide"])
        elif "change" in given:
            self._falsification.change(given["change"], int(given["amount_minor"]))
        else:
            self._falsification.add(self._invented(given["add"]))
        return respond(Answer({}, 201))

    def make_true(self) -> Response:
        self._falsification.clear()
        return respond(Answer({}))

    def _entry(self, movement: Movement) -> dict[str, Any]:
        return {
            "kind": movement.kind,
            "reference": movement.echo.get(self._books.reference_field, ""),
            "resource": movement.resource,
            "amount_minor": movement.amount_minor,
            "currency": movement.currency,
            "carrier_ref": movement.order_id,
            "at": movement.at.isoformat(),
        }

    def _line(self, given: dict[str, Any]) -> Line:
        now = self._books.now().isoformat()
        made = {"id": f"BKT-{token_hex(6)}", "account_id": f"ACC-{token_hex(6)}", "as_of": now}
        line = Line.from_json({**made, "number": "", "iccid": "", "currency": "CNY", **given})
        if not line.resources or line.status not in _STATUSES:
            raise ValueError("a line has a number or an iccid, and a status that is known")
        return line

    def _invented(self, row: dict[str, Any]) -> Movement:
        return Movement(
            id=f"MOV-{token_hex(10)}",
            kind=row.get("kind", "credit"),
            order_id=f"TOP-{token_hex(10)}",
            bucket_id="BKT-invented",
            resource=row.get("resource", "+8613800000000"),
            amount_minor=int(row["amount_minor"]),
            currency=row.get("currency", "CNY"),
            at=datetime.fromisoformat(row["at"]) if "at" in row else self._books.now(),
            echo={self._books.reference_field: row.get("reference", "")},
        )


def _only_from_here() -> Response | None:
    """A page in a browser on this machine cannot send JSON here without being asked first."""
    if not ip_address(request.remote_addr or "::").is_loopback:
        return respond(documents.error("forbidden", "Only from this machine.", 403))
    if request.method in ("POST", "PATCH") and not request.is_json:
        return respond(documents.error("notJson", "Send JSON.", 415))
    return None


def _json() -> Any:
    return request.get_json()


def _as_list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _exact(document: dict[str, Any]) -> dict[str, Any]:
    return {n: Decimal(str(v)) if isinstance(v, float) else v for n, v in document.items()}


def _told(refusal: Refused) -> Response:
    return respond(documents.error(refusal.code, refusal.reason, refusal.status))


def _bad_request(problem: Exception) -> Response:
    return respond(documents.error("badRequest", str(problem), 400))
