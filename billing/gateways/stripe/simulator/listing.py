"""Lists: filters, cursors and pages, as every list of the API has them. Searching, too."""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta

from billing.gateways.stripe.simulator.books import Object
from billing.gateways.stripe.simulator.calls import Call
from billing.gateways.stripe.simulator.instants import seconds
from billing.gateways.stripe.simulator.refusals import invalid

_CURSORS = ("limit", "starting_after", "ending_before")
_MOST = 100
_TERM = re.compile(
    r"""(?P<field>metadata\['(?P<key>[^']{1,40})'\]|status):["'](?P<value>[^"']*)["']"""
)
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def listed(call: Call, kind: str, address: str, *filters: str) -> Object:
    """The page that is asked for. `filters` are members that must equal a parameter."""
    call.only(*_CURSORS, "created", *filters)
    rows = [one for one in call.simulator.books.all_of(kind) if _fits(call, one, filters)]
    return paged(call, rows, address)


def paged(call: Call, rows: list[Object], address: str) -> Object:
    """One page of `rows`, which are the latest first."""
    limit = _limit(call)
    numbers = [one["id"] for one in rows]
    start, end = 0, len(rows)
    if after := call.text("starting_after"):
        start = _position(numbers, after, "starting_after") + 1
    if before := call.text("ending_before"):
        end = _position(numbers, before, "ending_before")
        start = max(start, end - limit)
    page = rows[start:end][:limit]
    has_more = (start > 0) if before else start + limit < end
    return {"object": "list", "url": address, "has_more": has_more, "data": page}


def searched(call: Call, kind: str, address: str) -> Object:
    """What the query finds, of what the index has got to know."""
    call.only("query", "limit", "page")
    terms = _terms(call.wanted("query"))
    known_until = seconds(call.now - timedelta(seconds=call.simulator.search_lag_s))
    found = [
        one
        for one in call.simulator.books.all_of(kind)
        if one["created"] <= known_until and all(_is_so(one, term) for term in terms)
    ]
    limit = _limit(call)
    return {
        "object": "search_result",
        "url": address,
        "has_more": len(found) > limit,
        "next_page": None,
        "data": found[:limit],
    }


def _limit(call: Call) -> int:
    text = call.text("limit", "10")
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise invalid("Invalid integer: limit must be from 1 to 100", param="limit")
    return int(text)


def _position(numbers: list[str], number: str, param: str) -> int:
    if number not in numbers:
        raise invalid(f"No such object: '{number}'", param=param, code="resource_missing")
    return numbers.index(number)


def _fits(call: Call, one: Object, filters: Iterable[str]) -> bool:
    asked = {name: call.params[name] for name in filters if name in call.params}
    return all(one.get(name) == value for name, value in asked.items()) and _is_in_time(call, one)


def _is_in_time(call: Call, one: Object) -> bool:
    asked: object = call.params.get("created", {})
    bounds = asked if isinstance(asked, dict) else {"gte": asked, "lte": asked}
    for name, value in bounds.items():
        if name not in _COMPARE or not str(value).isdecimal():
            raise invalid("Invalid created", param="created")
        if not _COMPARE[name](one["created"], int(value)):
            return False
    return True


def _terms(query: str) -> list[tuple[str, str]]:
    terms: list[tuple[str, str]] = []
    for part in re.split(r"\s+AND\s+", query):
        found = _TERM.fullmatch(part.strip())
        if found is None:
            raise invalid("We were unable to parse your search query.", param="query")
        terms.append((found["key"] or found["field"], found["value"]))
    return terms


def _is_so(one: Object, term: tuple[str, str]) -> bool:
    name, value = term
    held = one["status"] if name == "status" else one["metadata"].get(name)
    return bool(held == value)
