"""Where in a file a mutant stands, and which statements it can be noticed by."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from tests.mutation import targets
from tests.mutation.targets import ROOT

Line = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Inside a function, or `names`: what of its module is another with it."""

    is_inside: bool
    lines: frozenset[Line]  # the statements that run it
    names: frozenset[str] = frozenset()


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_bytes())


def of(path: str, line: int) -> Place:
    """Of what stands in `line`, by its innermost statement."""
    tree = tree_of(path)
    around = [one for one in ast.walk(tree) if isinstance(one, ast.stmt) and _holds(one, line)]
    innermost = min(around, key=lambda one: (_size(one), -one.lineno))
    functions = [one for one in around if isinstance(one, ast.FunctionDef)]
    if functions and line >= functions[0].body[0].lineno:
        return Place(True, frozenset({(path, innermost.lineno)}))
    if functions:  # its defaults
        begins = {(path, one.body[0].lineno) for one in functions}
        return Place(False, frozenset(begins), frozenset({functions[0].name}))
    names = dependent(tree, _assigned(around))
    return Place(False, frozenset(_users(path, names)) or _all(path), names)


def _holds(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _size(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno


def _assigned(around: Iterable[ast.stmt]) -> frozenset[str]:
    """Not the names within a comprehension, which it keeps to itself."""
    targets_of = [one for node in around for one in _targets(node)]
    names = {one.id for node in targets_of for one in ast.walk(node) if isinstance(one, ast.Name)}
    return frozenset(names | {one.name for one in around if isinstance(one, ast.ClassDef)})


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def dependent(tree: ast.Module, names: frozenset[str]) -> frozenset[str]:
    """With the names of the same module that are made of these."""
    found = set(names)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            used = {one.id for one in ast.walk(statement) if isinstance(one, ast.Name)}
            if used & found:
                found |= _assigned([statement])
    return frozenset(found)


def made_of(path: str, name: str) -> frozenset[str]:
    """The constants of a module that are made of `name`, which it has imported."""
    tree = tree_of(path)
    return dependent(tree, frozenset({name})) & _assigned(tree.body)


def _users(path: str, names: frozenset[str]) -> Iterator[Line]:
    module = targets.name_of(path)
    for other in targets.watched():
        if other == path or _imports(other, module, names):
            for statement in _functions_statements(other):
                if names & _mentioned(statement):
                    yield other, statement.lineno


def _imports(path: str, module: str, names: frozenset[str]) -> bool:
    parent, _, last = module.rpartition(".")
    for node in tree_of(path).body:
        if isinstance(node, ast.ImportFrom):
            said = {one.name for one in node.names}
            if (node.module == module and names & said) or (node.module == parent and last in said):
                return True
    return False


@cache
def _functions_statements(path: str) -> tuple[ast.stmt, ...]:
    return tuple(
        one
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef)
        for one in ast.walk(function)
        if isinstance(one, ast.stmt) and one is not function
    )


def _mentioned(statement: ast.stmt) -> set[str]:
    """By the statement itself, not by those inside it."""
    found, todo = set(), list(ast.iter_child_nodes(statement))
    while todo:
        node = todo.pop()
        if not isinstance(node, ast.stmt):
            found |= {getattr(node, "id", ""), getattr(node, "attr", "")}
            todo += ast.iter_child_nodes(node)
    return found - {""}


@cache
def _all(path: str) -> frozenset[Line]:
    return frozenset((path, one.lineno) for one in _functions_statements(path))
