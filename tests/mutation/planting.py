"""Makes a loaded module what it would be had its file been the mutant's.

A function keeps its identity, as others hold it already: it is given the mutant's code and
defaults. A constant is put in its place, there and wherever it was imported, and so is what other
modules have made of it.
"""

import functools
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.mutation import places, targets
from tests.mutation.mutants import Mutant
from tests.mutation.targets import ROOT

_PLAIN = (int, str, float, tuple, dict, frozenset)
_OURS = ("billing", "lines", "portal", "tests")


def plant(mutant: Mutant) -> None:
    text = mutant.text((ROOT / mutant.path).read_bytes())
    module = sys.modules[targets.name_of(mutant.path)]
    place = places.of(mutant.path, mutant.line)
    code = compile(text, str(ROOT / mutant.path), "exec")
    if place.is_inside:
        _replace_functions(module, code)
    else:
        _replace_names(module, code, place.names)


def _replace_functions(module: ModuleType, code: CodeType) -> None:
    new = {(one.co_qualname, one.co_firstlineno): one for one in _codes(code)}
    by_name = {one.co_qualname: one for one in _codes(code)}
    for function in _functions(module):
        old = function.__code__
        found = new.get((old.co_qualname, old.co_firstlineno)) or by_name.get(old.co_qualname)
        if found is not None and found.co_freevars == old.co_freevars:
            function.__code__ = found


def _codes(code: CodeType) -> Iterator[CodeType]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _codes(one)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """The module's own, its classes' too, whatever they are wrapped in."""
    todo = list(vars(module).values())
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, FunctionType) and one.__module__ == module.__name__:
            yield one
        if isinstance(one, type) and one.__module__ == module.__name__:
            todo += vars(one).values()
        todo += _wrapped(one)


def _wrapped(one: Any) -> Iterator[Any]:
    if isinstance(one, staticmethod | classmethod):
        yield one.__func__
    elif isinstance(one, property):
        yield from (one.fget, one.fset)
    elif isinstance(one, functools.cached_property):
        yield one.func
    elif hasattr(one, "__wrapped__") and not isinstance(one, type):
        yield one.__wrapped__


def _replace_names(module: ModuleType, code: CodeType, names: frozenset[str]) -> None:
    new = _run_anew(module, code)
    _replace_defaults(module, new)
    changed = set()
    for name in names & vars(new).keys():
        old, now = vars(module).get(name), vars(new)[name]
        if isinstance(now, type):
            _replace_members(vars(module)[name], now)
        elif not isinstance(now, FunctionType) and _differs(old, now):
            changed.add(name)
            _rebind(module, name, old, now)
    for name in changed:
        _remake(module.__name__, name)


def _differs(old: Any, now: Any) -> bool:
    return bool(old != now or (isinstance(now, dict | list | tuple) and list(old) != list(now)))


def _run_anew(module: ModuleType, code: CodeType) -> ModuleType:
    new = ModuleType(module.__name__)
    vars(new).update(__file__=module.__file__, __package__=module.__package__)
    exec(code, vars(new))  # noqa: S102
    return new


def _rebind(module: ModuleType, name: str, old: Any, now: Any) -> None:
    for name_of, other in list(sys.modules.items()):
        if name_of.startswith(_OURS) and vars(other).get(name) is old:
            setattr(other, name, now)
    setattr(module, name, now)


def _replace_defaults(module: ModuleType, new: ModuleType) -> None:
    by_name = {one.__qualname__: one for one in _functions(new)}
    for function in _functions(module):
        if found := by_name.get(function.__qualname__):
            function.__defaults__ = found.__defaults__
            function.__kwdefaults__ = found.__kwdefaults__


def _replace_members(old: type, new: type) -> None:
    """A class's constants, and the defaults of its fields."""
    for name, value in vars(new).items():
        if isinstance(value, FunctionType) and name in {"__new__", "__init__"}:
            vars(old)[name].__defaults__ = value.__defaults__
            vars(old)[name].__kwdefaults__ = value.__kwdefaults__
        elif isinstance(value, _PLAIN) and name[:2] != "__" and vars(old).get(name) != value:
            setattr(old, name, value)


def _remake(module: str, name: str) -> None:
    """What other modules have made of a constant when they were loaded."""
    for path in targets.watched():
        other = sys.modules.get(targets.name_of(path))
        if other is None or other.__name__ == module or name not in vars(other):
            continue
        if made := places.made_of(path, name):
            new = _run_anew(other, compile(places.tree_of(path), str(ROOT / path), "exec"))
            for one in made:
                _rebind(other, one, vars(other)[one], vars(new)[one])
