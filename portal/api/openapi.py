"""How the OpenAPI document is made from the views: keys, versions and problems, said once."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from portal.api.fields import Out
from portal.api.idempotency import HEADER, REPLAYED
from portal.api.problems import CONTENT_TYPE

Handler = TypeVar("Handler", bound=Callable[..., Any])

_PLACES = re.compile(r"{(\w+)}")
_ALWAYS = (400, 401, 403, 406, 429)
_WRITES = (413, 415)
_KEYED = (409, 422)
_VERSIONED = (412, 428)
_DESCRIPTIONS = {
    400: "Something in the request cannot be taken; `errors` says what, by field.",
    401: "No token, or one that is not known.",
    403: "The token or account may not do that.",
    404: "There is no such thing, or it is not the caller's.",
    406: "The answer is JSON only.",
    409: "Not possible as things stand, or a request with the same key is under way.",
    412: "The rule has changed since the caller read it.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The key was used for another request.",
    428: "The rule's version must be sent in If-Match.",
    429: "Too many requests; see Retry-After.",
    503: "A payment company or carrier cannot be reached.",
}


class ProblemOut(Out):
    """RFC 9457: what went wrong. `code` is for programs, `detail` for people."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    errors = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))  # type: ignore[assignment]
    request_id = serializers.CharField()


def may_answer(*statuses: int) -> Callable[[Handler], Handler]:
    """What an operation may answer besides what all of its kind may."""

    def mark(handler: Handler) -> Handler:
        handler.problems = statuses  # type: ignore[attr-defined]
        return handler

    return mark


def if_match(*, required: bool) -> OpenApiParameter:
    """The rule's version, as an operation takes it."""
    return OpenApiParameter(
        "If-Match",
        {"type": "string", "pattern": '^"[0-9]{1,9}"$'},
        OpenApiParameter.HEADER,
        required=required,
        description="The `ETag` of the rule as it was seen. Changed since: 412.",
    )


class Operations(AutoSchema):
    """Adds to each operation what its handler promises: see `idempotency.idempotent`."""

    def get_tags(self) -> list[str]:
        return [getattr(self.view, "tag", "api")]

    def get_operation_id(self) -> str:
        return f"{getattr(self.view, 'noun', 'api')}_{self._action}"

    def get_override_parameters(self) -> list[Any]:
        policy = getattr(self._handler(), "idempotency", None)
        keys = [] if policy is None else [_key(required=policy.is_required)]
        return [*keys, *(_in_path(name) for name in _PLACES.findall(self.path))]

    @property
    def _action(self) -> str:
        return str(getattr(self.view, "action", ""))

    def _handler(self) -> Any:
        return getattr(self.view, self._action, None)

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        for status in sorted(set(self._problem_statuses())):
            told = OpenApiResponse(ProblemOut, description=_DESCRIPTIONS[status])
            bodies[str(status)] = self._get_response_for_code(told, str(status), [CONTENT_TYPE])
        return dict(sorted(bodies.items()))

    def _problem_statuses(self) -> Sequence[int]:
        found = [*_ALWAYS, *getattr(self._handler(), "problems", ())]
        if "{" in self.path:
            found.append(404)
        if self.method in ("POST", "PUT", "PATCH", "DELETE"):
            found += _WRITES
        if getattr(self._handler(), "idempotency", None):
            found += _KEYED
        if any(getattr(p, "name", "") == "If-Match" for p in self.get_override_parameters()):
            found += _VERSIONED
        return found


def _key(*, required: bool) -> OpenApiParameter:
    return OpenApiParameter(
        HEADER,
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        OpenApiParameter.HEADER,
        required=required,
        description=(
            "A random value for one write, the same when it is retried within seven days. The "
            f"answer to a repeat is the first answer, with `{REPLAYED}: true`."
        ),
    )


def _in_path(name: str) -> OpenApiParameter:
    """A public name: 26 characters of Crockford's base 32, or a notice's number."""
    known: dict[str, Any] = {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"}
    if name == "notice":
        known = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    return OpenApiParameter(name, known, OpenApiParameter.PATH, required=True)


def only_ours(endpoints: list[Any]) -> list[Any]:
    """Of all addresses, those of the public API that are about something."""
    return [
        endpoint
        for endpoint in endpoints
        if endpoint[0].startswith("/api/v1/") and hasattr(endpoint[3].cls, "noun")
    ]


def close_requests(result: dict[str, Any], **_more: Any) -> dict[str, Any]:
    """Say in the document too that a request takes no names but those listed."""
    for name, schema in result.get("components", {}).get("schemas", {}).items():
        if name.endswith("In"):
            schema["additionalProperties"] = False
    return result
