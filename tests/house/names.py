"""What is named in backticks, `like.this`, and whether there is such a thing in the house."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.house.texts import ROOT

HOUSE = ("portal", "billing", "lines", "tests")

_DOTTED = re.compile(r"`([a-z_]\w*(?:\.\w+)+)(?:\([^`]*\))?`")
# Alipay's methods begin as its package does: `alipay.trade.pay`.
_THEIRS = {"alipay"}
_FILES = {"py", "md", "toml", "lock", "env", "json", "css", "pem", "com"}


def dotted(text: str) -> list[str]:
    """Names with a dot, those of files and hosts apart."""
    return [name for name in _DOTTED.findall(text) if name.rsplit(".", 1)[1] not in _FILES]


def is_ours(name: str) -> bool:
    """Whether it begins with one of our modules, so that it must be right to the end."""
    head = name.split(".")[0]
    return head in _by_last_part() and head not in _THEIRS


def exists(name: str) -> bool:
    """Whether it is a module, or stands in one; modules may be named by the end of their path."""
    parts = name.split(".")
    return any(
        _holds(module, parts[length:])
        for length in range(1, len(parts) + 1)
        for module in _by_last_part().get(parts[length - 1], ())
        if f".{module}".endswith("." + ".".join(parts[:length]))
    )


def _holds(module: str, names: list[str]) -> bool:
    return not names or ".".join(names) in _named_in(module)


@cache
def _by_last_part() -> dict[str, list[str]]:
    found = defaultdict(list)
    for module in _paths():
        found[module.rsplit(".", 1)[-1]].append(module)
    return found


@cache
def _paths() -> dict[str, Path]:
    """Each module and package of ours, and where it is."""
    found = {}
    for path in (path for root in HOUSE for path in (ROOT / root).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def _named_in(module: str) -> set[str]:
    """What a module makes, or takes from elsewhere, and what its classes have."""
    body = ast.parse(_paths()[module].read_text()).body
    imported = [alias for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {*_names(body), *(alias.asname or alias.name for alias in imported)}


def _names(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in _names(node.body))
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
        yield from (target.id for target in targets if isinstance(target, ast.Name))
