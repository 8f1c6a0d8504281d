"""What a vendor calls a thing stays with its adapter; neutral rooms know our own words alone.

A status, an event or a code that is compared anywhere else is a rule about one vendor in a room
that serves all: another one that says the same otherwise is misread there, in silence. Both lists
are read from the sources, so neither can go stale: the vendors' words from what their adapters
compare and list, ours from the enumerations.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = {
    "rails": ("billing/gateways/alipay", "billing/gateways/stripe", "billing/gateways/wechat"),
    "carriers": ("lines/carriers/tmf654",),
}
CONTRACTS = ("billing/gateways/base.py", "lines/carriers/base.py")
# Rooms that speak to no vendor. The demo plays the vendors' other side, as a payer there would.
NEUTRAL = ("billing", "lines", "portal")
APART = ("billing/gateways/", "lines/carriers/", "portal/demo/", "/migrations/")
# Tables of codes are data: what a code means to its payer, in words.
DATA = {"billing/words/declines.py"}
# Everybody's: no vendor made them up, and no rule about one hangs on them.
EVERYBODYS = {
    *("DELETE", "ERROR", "http", "https", "localhost", "127.0.0.1"),
    *("Asia/Shanghai", "zh-hans", "name", "phone", "url", "iccid"),
    "idempotency_key_in_use",  # our own API's word as well
    "whsec_",  # what must never stand in a log is known to it by its looks
}
_CURRENCIES = re.compile(r"[A-Z]{3}( [A-Z]{3})*")
_SHORTEST = 3
_AFFIXES = ("startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition")


def files(*places: str) -> Iterator[tuple[str, ast.Module]]:
    for place in places:
        found = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))
        for path in found:
            yield path.relative_to(ROOT).as_posix(), parsed(path)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def neutral() -> Iterator[tuple[str, ast.Module]]:
    for path, tree in files(*NEUTRAL):
        if path not in DATA and not any(part in path for part in APART):
            yield path, tree


@cache
def said_by(tree: ast.Module) -> tuple[frozenset[str], frozenset[str]]:
    """What it decides by, and what it quotes: read once, for each test asks every file."""
    return frozenset(decisive(tree)), frozenset(quoted(tree))


def texts(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def decisive(tree: ast.Module) -> Iterator[str]:
    """Literals that something hangs on: compared, matched, cut off, or listed in a constant."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left, _, others):
                for one in (left, *others):
                    if isinstance(one, ast.Constant | ast.Tuple | ast.Set | ast.List):
                        yield from texts(one)
            case ast.MatchValue(value):
                yield from texts(value)
            case ast.Call(ast.Attribute(attr=name), args) if name in _AFFIXES:
                for one in args:
                    yield from texts(one)
            case ast.Assign([ast.Name(name)], value) if name.isupper():
                yield from texts(value)
            case ast.AnnAssign(ast.Name(name), _, ast.expr() as value) if name.isupper():
                yield from texts(value)


def quoted(tree: ast.Module) -> Iterator[str]:
    """Words of any literal but a docstring: of a query's text, of two words joined."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield from re.findall(r"[\w.]+", node.value)


def values_of_enumerations(trees: Iterator[tuple[str, ast.Module]]) -> Iterator[str]:
    for _path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(
                ast.unparse(base).endswith(("StrEnum", "TextChoices")) for base in node.bases
            ):
                yield from texts(node)


@cache
def vendors_words(packages: tuple[str, ...]) -> frozenset[str]:
    """Of the adapters alone: a simulator stands for the vendor and is spoken to by nobody here."""
    said = {
        word
        for path, tree in files(*packages)
        if "/simulator/" not in path
        for word in said_by(tree)[0]
    }
    ours = set(values_of_enumerations(neutral()))
    ours |= set(values_of_enumerations(files(*CONTRACTS)))
    return frozenset(one for one in said - ours if is_a_word(one))


def is_a_word(text: str) -> bool:
    """No mark between words, no list of currencies."""
    return len(text) >= _SHORTEST and not _CURRENCIES.fullmatch(text)


def is_unmistakable(word: str) -> bool:
    """Such as TRADE_CLOSED, warning_closed, charge.refunded: nobody writes it by chance."""
    return "_" in word or word.isupper() or "." in word.strip(".")


def said_in_neutral_rooms(words: frozenset[str]) -> set[tuple[str, str]]:
    """Decided by, anywhere; or, where it is unmistakable, inside any longer text."""
    clear = {word for word in words if is_unmistakable(word)}
    return {
        (path, word)
        for path, tree in neutral()
        for decided, named in (said_by(tree),)
        for word in decided & words | named & clear
    }


@pytest.mark.parametrize("side", ADAPTERS)
def test_no_neutral_room_says_a_vendors_word(side):
    words = vendors_words(ADAPTERS[side])
    assert len(words) > 20
    assert sorted(said_in_neutral_rooms(words - EVERYBODYS)) == []


class TestTheLists:
    def test_know_the_words_of_each_vendor(self):
        rails = {
            *("TRADE_CLOSED", "WAIT_BUYER_PAY", "dut_user_unsign", "REFUND_SUCCESS"),
            *("NOTPAY", "PAYERROR", "ORDERCLOSED", "REVOKED", "PROCESSING"),
            *("warning_closed", "requires_payment_method", "charge.refunded", "charge.dispute."),
        }
        assert rails - vendors_words(ADAPTERS["rails"]) == set()
        assert {"topupBalance"} - vendors_words(ADAPTERS["carriers"]) == set()

    def test_find_them_wherever_something_hangs_on_them(self):
        source = """
            GONE = "PAYERROR"
            _OURS = ("won", "warning_closed")
            def is_open(claims):
                match claims:
                    case "needs_nobody": return False
                return claims == "NOTPAY" or claims.startswith("charge.dispute.")
        """
        found = {*decisive(ast.parse(textwrap.dedent(source)))}
        assert found & vendors_words(ADAPTERS["rails"]) == {
            *("PAYERROR", "warning_closed", "NOTPAY", "charge.dispute."),
        }
        assert "needs_nobody" in found

    def test_find_one_inside_a_querys_text(self):
        found = {*quoted(ast.parse("""SQL = "SELECT 1 WHERE code = 'TRADE_CLOSED'" """))}
        assert found & vendors_words(ADAPTERS["rails"]) == {"TRADE_CLOSED"}

    def test_excuse_no_word_without_need(self):
        words = vendors_words(ADAPTERS["rails"]) | vendors_words(ADAPTERS["carriers"])
        assert {word for _path, word in said_in_neutral_rooms(words)} == EVERYBODYS
