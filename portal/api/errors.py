"""Every exception a request may meet, and what its caller is told: one table, one shape.

What is not in the table is our own fault: a 500 that says nothing but its number.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions as rest

from billing.bindings import lifecycle as binding_lifecycle
from billing.gateways import RailNotConfigured
from billing.plans import contract
from billing.recharges import machine
from billing.rules import by_hand
from billing.rules.caps import CapReached
from lines import lifecycle
from lines.carriers import CarrierNotConfigured
from portal import wording
from portal.api.problems import Problem, flat, id_of

log = logging.getLogger(__name__)

Sentence = str | Promise | Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Told:
    """What a domain exception becomes. `field`: where in the request the reason lies."""

    status: int
    code: str
    sentence: Sentence
    field: str | Callable[[Any], str] = ""


def _own(error: Any) -> str:
    """The domain's own sentence."""
    return str(error.sentence)


def _own_field(error: Any) -> str:
    return str(error.field)


def _wrong_code(error: lifecycle.WrongCode) -> str:
    return _("This code is not right. Tries left: %(n)s.") % {"n": error.tries_left}


_NOT_FOUND = gettext_lazy("There is no such thing here, or it is not yours.")
_NOT_USABLE = gettext_lazy("This payment method cannot be used now. Choose another.")
_UNAVAILABLE = gettext_lazy("This is not available at the moment. Try again later.")


REFUSALS: Mapping[type[Exception], Told] = {
    # lines
    lifecycle.WrongField: Told(400, "invalid", _own, field=_own_field),
    lifecycle.NumberTaken: Told(409, "number_taken", _own, field=_own_field),
    lifecycle.TooManyCodes: Told(
        429, "too_many_codes", gettext_lazy("Enough codes were sent. Use the last one, or wait.")
    ),
    lifecycle.WrongCode: Told(400, "wrong_code", _wrong_code, field="code"),
    lifecycle.CodeExpired: Told(
        400, "code_expired", gettext_lazy("This code is too old. Ask for another one."), "code"
    ),
    lifecycle.NotProvable: Told(
        409, "not_provable", gettext_lazy("There is nothing to prove: see the line's status.")
    ),
    lifecycle.NoActivationCode: Told(404, "not_found", _NOT_FOUND),
    lifecycle.NotYours: Told(404, "not_found", _NOT_FOUND),
    CarrierNotConfigured: Told(503, "carrier_not_available", _UNAVAILABLE),
    # rules
    contract.StalePlan: Told(
        412,
        "version_stale",
        gettext_lazy("The plan has changed since. Read it again, then decide."),
    ),
    contract.RuleIsOn: Told(
        409, "rule_is_on", gettext_lazy("This rule runs. Send new terms with its confirmation.")
    ),
    contract.RuleIsOff: Told(409, "rule_is_off", gettext_lazy("This rule is off.")),
    contract.NothingToSkip: Told(
        409, "nothing_to_skip", gettext_lazy("The rule has no scheduled charge to skip.")
    ),
    contract.InvalidPause: Told(400, "invalid", _own, "until"),
    # recharges
    machine.OpenRecharge: Told(
        409,
        "open_recharge",
        gettext_lazy("A recharge of this line is under way. Wait until it has ended."),
    ),
    by_hand.NotSold: Told(
        400,
        "not_sold",
        gettext_lazy("The carrier does not sell that amount. See /api/v1/carriers."),
        "face_minor",
    ),
    by_hand.NotPayable: Told(400, "not_payable", _own, field=_own_field),
    by_hand.LineNotLive: Told(
        409,
        "line_not_live",
        gettext_lazy("This line is not active, so it cannot be recharged."),
        "line",
    ),
    by_hand.BindingNotUsable: Told(409, "binding_not_usable", _NOT_USABLE, "binding"),
    machine.TooLate: Told(
        409, "too_late", gettext_lazy("The payment is under way or done, so it cannot be canceled.")
    ),
    machine.LostRace: Told(
        409, "changed_meanwhile", gettext_lazy("It has just changed. Read it again, then decide.")
    ),
    CapReached: Told(409, "cap_reached", wording.cap),
    # payment methods
    binding_lifecycle.BindingNotUsable: Told(409, "binding_not_usable", _NOT_USABLE),
    binding_lifecycle.RailNotOffered: Told(
        400,
        "rail_not_offered",
        gettext_lazy("This way to pay is not offered. See /api/v1/rails."),
        "rail",
    ),
    binding_lifecycle.RailNotAnswering: Told(
        503,
        "rail_not_answering",
        gettext_lazy("The payment company does not answer. Try again in a minute."),
    ),
    RailNotConfigured: Told(503, "rail_not_available", _UNAVAILABLE),
}

_REST_CODES: Mapping[type[rest.APIException], str] = {
    rest.ParseError: "malformed",
    rest.ValidationError: "invalid",
    rest.NotAuthenticated: "not_authenticated",
    rest.AuthenticationFailed: "authentication_failed",
    rest.PermissionDenied: "permission_denied",
    rest.NotFound: "not_found",
    rest.MethodNotAllowed: "method_not_allowed",
    rest.NotAcceptable: "not_acceptable",
    rest.UnsupportedMediaType: "unsupported_media_type",
    rest.Throttled: "throttled",
}
_REST_SENTENCES: Mapping[type[rest.APIException], Promise] = {
    rest.NotAuthenticated: gettext_lazy("Send a token: Authorization: Bearer …, or sign in."),
    rest.PermissionDenied: gettext_lazy("This token or account may not do that."),
    rest.NotFound: _NOT_FOUND,
    rest.MethodNotAllowed: gettext_lazy("This address does not take that method. See Allow."),
    rest.NotAcceptable: gettext_lazy("The answer is JSON only. Accept application/json."),
    rest.UnsupportedMediaType: gettext_lazy("Send JSON: Content-Type: application/json."),
    rest.Throttled: gettext_lazy("Too many requests. Wait as long as Retry-After says."),
}


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """REST framework's exception handler: always a problem, never a page."""
    request_id = id_of(context["request"])
    problem = problem_of(error)
    if problem is None:
        _log(error, request_id=request_id)
        problem = Problem(500, "internal", _("This is our fault, and it is recorded."))
    return problem.response(request_id=request_id)


def problem_of(error: Exception) -> Problem | None:
    """What the caller is told; None: nothing in the table, an error of ours."""
    if isinstance(error, Http404):
        error = rest.NotFound()
    elif isinstance(error, DjangoPermissionDenied):
        error = rest.PermissionDenied()
    if isinstance(error, rest.APIException):
        return _of_rest(error)
    if isinstance(error, contract.InvalidDraft):
        errors = {field: [str(sentence)] for field, sentence in error.errors.items()}
        return _of_validation(errors, {})
    for kind in type(error).__mro__:
        if told := REFUSALS.get(kind):
            return _of_domain(error, told)
    return None


def _of_rest(error: rest.APIException) -> Problem:
    headers: dict[str, str] = {}
    if scheme := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = scheme
    if wait_s := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait_s))
    code = _REST_CODES.get(type(error), str(error.default_code))
    if isinstance(error, rest.ValidationError):
        return _of_validation(flat(error.detail), headers)
    detail = str(_REST_SENTENCES.get(type(error), error.detail))
    more = getattr(error, "more", {})
    return Problem(error.status_code, code, detail, headers=headers, more=more)


def _of_validation(errors: dict[str, list[str]], headers: dict[str, str]) -> Problem:
    whole = errors.pop("", [])
    detail = " ".join(whole) or _("Some of it cannot be taken. “errors” says what, by field.")
    return Problem(400, "invalid", detail, errors=errors, headers=headers)


def _of_domain(error: Exception, told: Told) -> Problem:
    sentence = told.sentence(error) if callable(told.sentence) else str(told.sentence)
    field = told.field(error) if callable(told.field) else told.field
    errors = {field: [sentence]} if field else {}
    return Problem(told.status, told.code, sentence, errors=errors)


def _log(error: Exception, *, request_id: str) -> None:
    # Where, but not the exception's own words: a database quotes the value that it refused.
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("Request %s met %s\n%s", request_id, type(error).__name__, where)
