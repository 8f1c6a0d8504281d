"""Stripe's form encoding: `a[b][0]=c` as nested values."""

import re
from collections.abc import Iterable


class Malformed(ValueError):
    """The form contradicts itself."""


def parse(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Nested dictionaries; lists where every name of a level is a number or empty."""
    tree: dict[str, object] = {}
    for name, value in pairs:
        path = [name.partition("[")[0], *re.findall(r"\[([^\[\]]*)\]", name)]
        _put(tree, path, value)
    return {name: _listed(value) for name, value in tree.items()}


def _put(tree: dict[str, object], path: list[str], value: str) -> None:
    here = tree
    for step in path[:-1]:
        inside = here.setdefault(step, {})
        if not isinstance(inside, dict):
            raise Malformed(f"{path[0]} is both a value and a group")
        here = inside
    last = path[-1] or str(len(here))
    if last in here:
        raise Malformed(f"{path[0]} comes twice")
    here[last] = value


def _listed(value: object) -> object:
    if not isinstance(value, dict):
        return value
    if value and all(name.isdecimal() for name in value):
        return [_listed(value[name]) for name in sorted(value, key=int)]
    return {name: _listed(item) for name, item in value.items()}
