"""The one shape of every refusal: RFC 9457, with a code for programs and a sentence for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from lines.references import new_reference

CONTENT_TYPE = "application/problem+json"
TITLES: dict[int, Promise] = {
    400: _("Not understood"),
    401: _("Not signed in"),
    403: _("Not allowed"),
    404: _("Not found"),
    405: _("No such method here"),
    406: _("No such format"),
    409: _("Not possible now"),
    412: _("Changed meanwhile"),
    413: _("Too large"),
    415: _("Not JSON"),
    422: _("Key used for something else"),
    428: _("Version missing"),
    429: _("Too many requests"),
    500: _("Something went wrong"),
    503: _("Not available now"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal. `errors` has the sentences for each field, by its dotted path."""

    status: int
    code: str
    detail: str
    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, int] = field(default_factory=dict)  # what was done all the same

    def body(self, *, request_id: str) -> dict[str, Any]:
        """As RFC 9457 has it. The `type` is a name, not an address: the code says it all."""
        return {
            "type": f"urn:keepline:problem:{self.code}",
            "title": str(TITLES.get(self.status, TITLES[500])),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "errors": {name: list(sentences) for name, sentences in self.errors.items()},
            "request_id": request_id,
            **self.more,
        }

    def response(self, *, request_id: str) -> HttpResponse:
        text = json.dumps(self.body(request_id=request_id), ensure_ascii=False)
        return HttpResponse(
            text, status=self.status, content_type=CONTENT_TYPE, headers=dict(self.headers)
        )


def id_of(request: Any) -> str:
    """The request's own number: in its answer, and in our log where it met an error of ours."""
    if not hasattr(request, "problem_id"):
        request.problem_id = new_reference()
    return str(request.problem_id)


def flat(detail: Any, path: str = "") -> dict[str, list[str]]:
    """REST framework's nested errors by dotted path; "" is the whole body."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for name, inner in detail.items():
            own = "" if name == "non_field_errors" else str(name)
            found |= flat(inner, ".".join(part for part in (path, own) if part))
        return found
    if isinstance(detail, list) and any(isinstance(inner, dict | list) for inner in detail):
        return flat({str(index): inner for index, inner in enumerate(detail) if inner}, path)
    sentences = detail if isinstance(detail, list) else [detail]
    return {path: [str(sentence) for sentence in sentences]} if sentences else {}
