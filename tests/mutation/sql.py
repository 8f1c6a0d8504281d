"""Mutations of SQL: of comparisons, conjuncts, orders, locks and numbers in a string of it.

No grammar, only words: what comes out as an error is killed by the first test that runs it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

IS_SQL = re.compile(
    r"\b(SELECT|WHERE|FROM \w+_|UPDATE \w+_\w+|COALESCE|CASE WHEN|ORDER BY|EXISTS|IS NULL"
    r"|IS NOT NULL|GREATEST|LEAST|FOR NO KEY)\b|\bAND [\w.]+ (=|<|>|IN|IS)|ALL\(%|ANY\(%"
)


class Change(NamedTuple):
    """`old` at `start` of the text becomes `new`."""

    start: int
    old: str
    new: str
    kind: str


_SWAPS = tuple(
    (re.compile(pattern), new, kind)
    for pattern, new, kind in (
        (r"(?<=\s)<=(?=\s)", "<", "sql boundary"),
        (r"(?<=\s)<(?=\s)", "<=", "sql boundary"),
        (r"(?<=\s)>=(?=\s)", ">", "sql boundary"),
        (r"(?<=\s)>(?=\s)", ">=", "sql boundary"),
        (r"<> ALL", "= ANY", "sql comparison"),
        (r"= ANY", "<> ALL", "sql comparison"),
        (r"<>(?! ALL)", "=", "sql comparison"),
        (r"\bIS NULL\b", "IS NOT NULL", "sql null"),
        (r"\bIS NOT NULL\b", "IS NULL", "sql null"),
        (r"\bIS DISTINCT FROM\b", "IS NOT DISTINCT FROM", "sql null"),
        (r"\bIS NOT DISTINCT FROM\b", "IS DISTINCT FROM", "sql null"),
        (r"\bNOT (?=EXISTS|\(|[a-z]+\.)", "", "sql not"),
        (r"(?<!NOT )\bEXISTS(?= \()", "NOT EXISTS", "sql not"),
        (r"(?<!NOT )\bIN(?= \()", "NOT IN", "sql not"),
        (r"\bNOT IN\b", "IN", "sql not"),
        (r"\bOR\b", "AND", "sql junction"),
        (r"\bGREATEST\b", "LEAST", "sql function"),
        (r"\bLEAST\b", "GREATEST", "sql function"),
        (r"\bmin(?=\()", "max", "sql function"),
        (r"\bmax(?=\()", "min", "sql function"),
        (r" DESC\b", "", "sql order"),
        (r" FOR NO KEY UPDATE( OF \w+)?( SKIP LOCKED)?", "", "sql lock"),
        (r" SKIP LOCKED\b", "", "sql lock"),
        (r"(?<=[\w)] )\+(?= [\w(])", "-", "sql arithmetic"),
        (r"(?<=[\w)] )-(?= [\w(])", "+", "sql arithmetic"),
        (r"\btrue\b", "false", "sql constant"),
        (r"\bfalse\b", "true", "sql constant"),
    )
)
_NUMBER = re.compile(r"(?<![\w.%$'-])\d+(?![\w.'])")
_ORDER = re.compile(r"\bORDER BY ([\w.]+)(?! DESC)\b")
_LISTED = re.compile(r"\bIN \(('[a-z_]+'(?:,\s*'[a-z_]+')+)\)")
_WORD = re.compile(r"'[^']*'|\{[^{}]*\}|[()]|\b[A-Z]{2,}\b|;|=|%[a-z]|[^\s()=]+|\s+")
_ENDS = {
    *("AND", "OR", "GROUP", "ORDER", "RETURNING", "LIMIT", "FOR", "THEN", "UNION", "HAVING"),
    *("LEFT", "JOIN", "END", "ELSE", "WHEN", "FROM", "ON", "WHERE", ";"),
}


def changes(text: str) -> Iterator[Change]:
    """Every mutation of a piece of SQL, in no particular order."""
    for pattern, new, kind in _SWAPS:
        for found in pattern.finditer(text):
            yield Change(found.start(), found[0], new, kind)
    for found in _NUMBER.finditer(text):
        yield Change(found.start(), found[0], str(int(found[0]) + 1), "sql constant")
    for found in _ORDER.finditer(text):
        yield Change(found.start(), found[0], f"{found[0]} DESC", "sql order")
    yield from _shorter_lists(text)
    yield from _conditions(text)


def _shorter_lists(text: str) -> Iterator[Change]:
    for found in _LISTED.finditer(text):
        listed = re.findall(r"'[a-z_]+'", found[1])
        for left_out in listed:
            rest = ", ".join(one for one in listed if one != left_out)
            yield Change(found.start(1), found[1], rest, "sql list")


def _conditions(text: str) -> Iterator[Change]:
    """Conjuncts that always hold, AND as OR, and = as <> where it compares."""
    words = list(_WORD.finditer(text))
    clause: list[str] = [""]
    is_between = False
    for number, word in enumerate(words):
        said = word[0]
        if said == "(":
            clause.append(clause[-1])
        elif said == ")" and len(clause) > 1:
            clause.pop()
        elif said in {"SET", "SELECT", "WHERE", "ON", "WHEN", "HAVING", "THEN", "FILTER", "CASE"}:
            clause[-1] = said
        compares = clause[-1] in {"WHERE", "WHEN", "HAVING", "FILTER"}
        if said == "=" and compares and not _is_list_next(words, number):
            yield Change(word.start(), "=", "<>", "sql comparison")
        if said == "AND" and is_between:
            is_between = False
        elif said == "BETWEEN":
            is_between = True
        elif said == "AND" and clause[-1] != "ON":
            yield Change(word.start(), "AND", "OR", "sql junction")
            yield from _dropped(text, words, number)
        elif said == "WHERE":
            yield from _dropped(text, words, number)


def _is_list_next(words: list[re.Match[str]], number: int) -> bool:
    return any(one[0] in {"ANY", "ALL"} for one in words[number + 1 : number + 3])


def _dropped(text: str, words: list[re.Match[str]], number: int) -> Iterator[Change]:
    """The condition after a word, made to hold always; its parameters stay counted."""
    depth, is_between = 0, False
    start = words[number].end()
    end = start
    for word in words[number + 1 :]:
        said = word[0]
        if depth == 0 and (said in _ENDS and not (said == "AND" and is_between)):
            break
        if said == "FROM" and depth == 0:
            break
        depth += (said == "(") - (said == ")")
        if depth < 0 or (depth == 0 and said.startswith("{")):
            break
        is_between = (is_between or said == "BETWEEN") and said != "AND"
        if said.strip():
            end = word.end()
    condition = text[start:end]
    if condition.strip() and "IS DISTINCT" not in condition:
        yield Change(start, condition, f" ({condition.strip()} OR true)", "sql conjunct")
