"""All mutants of a file: each one small change of its text, never of what only people read.

Equivalent by kind and so not made: texts of logs and of exceptions, docstrings, type hints,
decorators, what `__str__` says, and codes (the same wherever they are compared).
"""

import ast
import hashlib
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.mutation import sql
from tests.mutation.targets import ROOT

_COMPARED = {
    "<=": "<",
    "<": "<=",
    ">=": ">",
    ">": ">=",
    "==": "!=",
    "!=": "==",
    "is not": "is",
    "is": "is not",
    "not in": "in",
    "in": "not in",
}
_OPERATOR = re.compile(r"<=|>=|==|!=|<|>|\bis not\b|\bis\b|\bnot in\b|\bin\b")
_ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "//")}
_MORE_ARITHMETIC = {
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any", "first": "last"}
_QUERIED = {"filter", "exclude", "update", "get", "Q", "get_or_create"}
_LEFT_OUT_CALLS = {"select_for_update", "order_by", "distinct"}
_SAID = {"log", "logger", "logging", "warnings"}
_QUOTED = re.compile(r"([rbfu]*)(\"\"\"|\'\'\'|\"|\')(.*)\2$", re.DOTALL | re.IGNORECASE)
_UNREAD = {"__str__", "__repr__"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` from byte `start` of `path` is `new`."""

    path: str
    start: int
    line: int
    old: str
    new: str
    kind: str
    id: str = ""

    def text(self, source: bytes) -> bytes:
        end = self.start + len(self.old.encode())
        assert source[self.start : end] == self.old.encode()
        return source[: self.start] + self.new.encode() + source[end:]


def of(path: str) -> list[Mutant]:
    """In the order of the text. What names one outlives changes elsewhere in the file."""
    source = (ROOT / path).read_bytes()
    lines = source.decode().splitlines()
    found = sorted(_File(path, source).mutants(), key=lambda one: (one.start, one.old, one.new))
    seen: Counter[str] = Counter()
    named = []
    for one in dict.fromkeys(found):
        said = "\0".join((path, lines[one.line - 1].strip(), one.kind, one.old, one.new))
        seen[said] += 1
        digest = hashlib.sha256(f"{said}\0{seen[said]}".encode()).hexdigest()[:12]
        named.append(Mutant(one.path, one.start, one.line, one.old, one.new, one.kind, digest))
    return named


class _File:
    def __init__(self, path: str, source: bytes) -> None:
        self._path, self._source = path, source
        self._tree = ast.parse(source)
        self._begins = [0]
        for line in source.splitlines(keepends=True):
            self._begins.append(self._begins[-1] + len(line))
        self._skipped = {id(one) for node in _not_mutated(self._tree) for one in ast.walk(node)}

    def mutants(self) -> Iterator[Mutant]:
        for node, above in _walk(self._tree, None):
            if id(node) not in self._skipped:
                for start, end, new, kind in _changes(node, above, self):
                    yield self._mutant(start, end, new, kind)
        yield from self._of_tables()
        yield from self._of_sql()

    def _mutant(self, start: int, end: int, new: str, kind: str) -> Mutant:
        old = self._source[start:end].decode()
        line = self._source.count(b"\n", 0, start + len(old) - len(old.lstrip())) + 1
        return Mutant(self._path, start, line, old, new, kind)

    def start(self, node: ast.AST) -> int:
        return self._begins[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined,no-any-return]

    def end(self, node: ast.AST) -> int:
        return self._begins[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined,no-any-return]

    def said(self, start: int, end: int) -> str:
        return self._source[start:end].decode()

    def word_between(self, left: ast.AST, right: ast.AST, word: str) -> tuple[int, int] | None:
        """Where the operator stands between two of its operands."""
        start, end = self.end(left), self.start(right)
        at = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", self.said(start, end))
        return (start + at.start(), start + at.end()) if at else None

    def compared_between(self, left: ast.AST, right: ast.AST) -> tuple[int, int, str] | None:
        start, end = self.end(left), self.start(right)
        at = _OPERATOR.search(self.said(start, end))
        return (start + at.start(), start + at.end(), at[0]) if at else None

    def _of_tables(self) -> Iterator[Mutant]:
        """A module's tables, each with one entry fewer."""
        for statement in self._tree.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                for node in ast.walk(statement.value):
                    for start, end in _entries(node, self):
                        yield self._mutant(start, end, "", "entry")

    def _of_sql(self) -> Iterator[Mutant]:
        docs = {self.start(one) for one in _docstrings(self._tree)}
        for token in tokenize.generate_tokens(io.StringIO(self._source.decode()).readline):
            if token.type == tokenize.STRING and sql.IS_SQL.search(token.string):
                line = self._source.splitlines()[token.start[0] - 1].decode()
                offset = len(line[: token.start[1]].encode())
                start = self._begins[token.start[0] - 1] + offset
                if start not in docs:
                    quoted = _QUOTED.match(token.string)
                    assert quoted is not None
                    for one in sql.changes(quoted[3]):
                        before = token.string[: quoted.start(3) + one.start]
                        at = start + len(before.encode())
                        yield self._mutant(at, at + len(one.old.encode()), one.new, one.kind)


def _walk(node: ast.AST, above: ast.AST | None) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    yield node, above
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, node)


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _not_mutated(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef):
            yield from node.decorator_list
            yield from [node.returns] if node.returns is not None else []
            yield from [node] if node.name in _UNREAD else []
        elif isinstance(node, ast.ClassDef):
            yield from (*node.decorator_list, *node.bases)
        elif isinstance(node, ast.Expr) and ast.unparse(node).startswith("super().__init__("):
            yield node  # the text of an exception
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from (*node.exc.args, *(one.value for one in node.exc.keywords))
        elif isinstance(node, ast.Assert) or _is_text_call(node) or _is_held(node):
            yield node


def _is_text_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _root(node.func) in {*_SAID, "_", "gettext", "cast"}


def _is_held(node: ast.AST) -> bool:
    """Which lock it is, tests/house/test_sources.py holds for all; `strict` is an assertion."""
    return isinstance(node, ast.keyword) and node.arg in {"no_key", "of", "strict"}


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


Change = tuple[int, int, str, str]


def _changes(node: ast.AST, above: ast.AST | None, file: _File) -> Iterator[Change]:
    match node:
        case ast.Compare():
            yield from _compared(node, file)
        case ast.BoolOp():
            yield from _junction(node, file)
        case ast.BinOp():
            yield from _arithmetic(node, file)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            operand = file.said(file.start(node.operand), file.end(node.operand))
            yield file.start(node), file.end(node), f"({operand})", "negation"
        case ast.Constant(value=bool() | int()) if not isinstance(above, ast.Expr):
            new = str(not node.value) if isinstance(node.value, bool) else str(node.value + 1)
            yield file.start(node), file.end(node), new, "constant"
        case ast.Call():
            yield from _call(node, file)
        case ast.If() | ast.While() | ast.IfExp():
            yield from _negated(node.test, file)
        case ast.comprehension():
            for test in node.ifs:
                yield file.start(test), file.end(test), "True", "filter"
                yield from _negated(test, file)
        case ast.Expr(value=ast.Call() as call) if _root(call.func) not in _SAID:
            yield file.start(node), file.end(node), "pass", "statement"
        case ast.Raise(exc=ast.Call()):
            yield file.start(node), file.end(node), "pass", "statement"
        case ast.AugAssign(op=ast.Add() | ast.Sub()):
            yield from _counted(node, file)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield file.start(node), file.end(node), "pass", "statement"
        case _:
            return


def _compared(node: ast.Compare, file: _File) -> Iterator[Change]:
    operands = [node.left, *node.comparators]
    for left, right in pairwise(operands):
        if at := file.compared_between(left, right):
            start, end, word = at
            kind = "boundary" if word in {"<", "<=", ">", ">="} else "comparison"
            yield start, end, _COMPARED[word], kind


def _junction(node: ast.BoolOp, file: _File) -> Iterator[Change]:
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    for left, right in pairwise(node.values):
        if at := file.word_between(left, right, word):
            yield *at, other, "junction"
    for left_out in node.values:
        kept = [one for one in node.values if one is not left_out]
        texts = [f"({file.said(file.start(one), file.end(one))})" for one in kept]
        yield file.start(node), file.end(node), f" {word} ".join(texts), "operand"


def _arithmetic(node: ast.BinOp, file: _File) -> Iterator[Change]:
    words = (_ARITHMETIC | _MORE_ARITHMETIC).get(type(node.op))

    if words and not _is_text(node.left) and not _is_text(node.right):
        start, end = file.end(node.left), file.start(node.right)
        at = file.said(start, end).find(words[0])
        if at >= 0:
            yield start + at, start + at + len(words[0]), words[1], "arithmetic"


def _is_text(node: ast.AST) -> bool:
    """Or a list: what is added to another has no difference."""
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_text or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple)


def _call(node: ast.Call, file: _File) -> Iterator[Change]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else _root(node.func)
    if name in _SWAPPED:
        end = file.end(node.func)
        yield end - len(name), end, _SWAPPED[name], "function"
    if isinstance(node.func, ast.Attribute) and name in _LEFT_OUT_CALLS:
        yield file.end(node.func.value), file.end(node), "", "left out"
    if name in _QUERIED and len(node.keywords) + len(node.args) > 1:
        for start, end in _listed([*node.args, *node.keywords], file):
            yield start, end, "", "condition"


def _negated(test: ast.AST, file: _File) -> Iterator[Change]:
    """Comparisons and junctions have mutants of their own."""
    if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.NamedExpr):
        start, end = file.start(test), file.end(test)
        yield start, end, f"(not {file.said(start, end)})", "negation"


def _counted(node: ast.AugAssign, file: _File) -> Iterator[Change]:
    start, end = file.end(node.target), file.start(node.value)
    at = start + file.said(start, end).index("=") - 1
    yield at, at + 1, "-" if isinstance(node.op, ast.Add) else "+", "arithmetic"
    yield file.start(node), file.end(node), "pass", "statement"


def _entries(node: ast.AST, file: _File) -> Iterator[tuple[int, int]]:
    if isinstance(node, ast.Dict) and len(node.keys) > 1 and None not in node.keys:
        pairs = list(zip(node.keys, node.values, strict=True))
        for number, (key, value) in enumerate(pairs):
            last = number == len(pairs) - 1
            start = file.end(pairs[number - 1][1]) if last else file.start(key)  # type: ignore[arg-type]
            yield start, file.end(value) if last else file.start(pairs[number + 1][0])  # type: ignore[arg-type]
    elif isinstance(node, ast.Set | ast.List | ast.Tuple) and len(node.elts) > 1:
        yield from _listed(node.elts, file)


def _listed(nodes: list[ast.AST], file: _File) -> Iterator[tuple[int, int]]:
    """Each with the comma that leads to it, or leads on."""
    nodes = sorted(nodes, key=file.start)
    for number, node in enumerate(nodes):
        if number:
            yield file.end(nodes[number - 1]), file.end(node)
        else:
            yield file.start(node), file.start(nodes[1])
