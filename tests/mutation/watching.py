"""Which test runs which statements: `contexts.json`, made by one run of the tests.

The statements report themselves. While our modules are loaded, a call is put before each of their
statements; that costs a few percent, where tracing every call of every library would cost as much
again as the tests. What is kept is by test file, and is made anew for the files that have changed.
"""

import ast
import builtins
import hashlib
import importlib.abc
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from tests.mutation import targets
from tests.mutation.targets import ROOT

Contexts = dict[str, dict[str, Any]]  # test → file's digest, seconds, passed, path → lines

_HIT = "__mutation_hit__"
_hits: set[tuple[str, int]] = set()


# --- watched modules ----------------------------------------------------------------------------


def _watched(tree: ast.Module, path: str) -> ast.Module:
    for node in [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]:
        for inside in [one for one in ast.walk(node) if not isinstance(one, ast.ClassDef)]:
            for name in ("body", "orelse", "finalbody"):
                body = getattr(inside, name, None)
                if isinstance(body, list) and isinstance((body or [None])[0], ast.stmt):
                    setattr(inside, name, list(_reporting(body, path)))
    return ast.fix_missing_locations(tree)


def _reporting(body: Sequence[ast.stmt], path: str) -> Iterator[ast.stmt]:
    """Each after the report of its line; a nested function's statements may have theirs already."""
    if any(getattr(one, "is_report", False) for one in body):
        yield from body
        return
    for one in body:
        said = ast.parse(f"{_HIT}(({path!r}, {one.lineno}))").body[0]
        said.is_report = True  # type: ignore[attr-defined]
        yield ast.copy_location(said, one)
        yield one


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = str(Path(self.path).relative_to(ROOT))
        tree = _watched(ast.parse(Path(self.path).read_bytes()), path)
        return compile(tree, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, paths: Iterable[str]) -> None:
        self._files = {targets.name_of(path): str(ROOT / path) for path in paths}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._files:
            return None
        found = PathFinder.find_spec(fullname, path)
        if found is not None and found.origin == self._files[fullname]:
            found.loader = _Loader(fullname, found.origin)
        return found


# --- one run of the tests -----------------------------------------------------------------------


class Recorder:
    """A plugin of pytest: what each test has hit, from its set-up to its end."""

    def __init__(self) -> None:
        self.contexts: Contexts = {}
        self._digests: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        _hits.clear()
        lines: dict[str, list[int]] = {}
        self.contexts[item.nodeid] = {
            "file": _digest(item.nodeid),
            "seconds": 0.0,
            "passed": True,
            "lines": lines,
        }
        answer = yield
        for path, line in sorted(_hits.copy()):
            lines.setdefault(path, []).append(line)
        return answer

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        one = self.contexts[report.nodeid]
        one["seconds"] = round(one["seconds"] + report.duration, 3)
        one["passed"] = one["passed"] and report.outcome == "passed"


def _digest(nodeid: str) -> str:
    return hashlib.sha256((ROOT / nodeid.partition("::")[0]).read_bytes()).hexdigest()[:12]


def sources() -> str:
    """One digest of all that is watched: lines of another text are no lines of this."""
    digest = hashlib.sha256()
    for path in targets.watched():
        digest.update((ROOT / path).read_bytes())
    return digest.hexdigest()[:12]


def record(tests: Sequence[str], into: Path) -> int:
    """Run `tests`, watched, and add what they hit to what is known. pytest's exit status."""
    setattr(builtins, _HIT, _hits.add)
    sys.meta_path.insert(0, _Finder(targets.watched()))
    recorder = Recorder()
    left_out = [f"--deselect={one}" for one in sorted(targets.TOO_LONG)]
    arguments = [
        *tests,
        *left_out,
        "-n",
        "0",
        "-m",
        targets.NOT_MARKED,
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    status = pytest.main(arguments, plugins=[recorder])
    known = known_in(into)
    again = {nodeid.partition("::")[0] for nodeid in recorder.contexts}
    kept = {one: what for one, what in known.items() if one.partition("::")[0] not in again}
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(json.dumps({"sources": sources(), "tests": kept | recorder.contexts}))
    return int(status)


def known_in(file: Path) -> Contexts:
    """What is known of the sources as they are now; nothing once they have changed."""
    found = json.loads(file.read_text()) if file.exists() else {}
    tests: Contexts = found.get("tests", {}) if found.get("sources") == sources() else {}
    return {one: what for one, what in tests.items() if (ROOT / one.partition("::")[0]).exists()}


def stale(contexts: Contexts) -> list[str]:
    """Test files that are new or have changed since."""
    current = {
        one.partition("::")[0] for one, what in contexts.items() if what["file"] == _digest(one)
    }
    found = [
        str(one.relative_to(ROOT))
        for folder in targets.TESTS
        for one in (ROOT / folder).rglob("test_*.py")
    ]
    return sorted(set(found) - current - targets.TOO_LONG)


if __name__ == "__main__":
    sys.exit(record(sys.argv[2:], Path(sys.argv[1])))
