"""The documents say what is there: variables, links, targets, checks and codes, both ways."""

import ast
import re
from pathlib import Path

import pytest

from billing.gateways import configuration
from billing.ledger.verification import CHECKS
from billing.words.outcomes import ATTENTION
from tests.house import names, texts
from tests.house.texts import OPERATIONS, PAGES, README, ROOT, name_of

SETTINGS = (
    "settings.py",
    "supervision/queue_settings.py",
    "back_office/look.py",
    "api/settings.py",
)
READERS = {"str", "int", "bool", "list", "pairs", "level"}
# What dotted names in documents begin with where they are not ours: a table's, and vendors' words.
THEIRS = {"billing_recharge", "charge", "checkout", "customer", "payment_method", "setup_intent"}
THEIRS |= {"alipay"}


def read_by_settings() -> set[str]:
    """Names of variables that settings read: `env.str("NAME", …)`, `_key("NAME", …)`, rails'."""
    names = {
        name for rail in configuration.RAILS.values() for name in (*rail.required, *rail.optional)
    }
    for name in SETTINGS:
        for node in ast.walk(ast.parse((ROOT / "portal" / name).read_text())):
            if isinstance(node, ast.Call) and _is_reader(node.func):
                # `_key` itself hands a name on; whoever calls it gives the name.
                names |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}  # type: ignore[misc]
    return names


def _is_reader(function: ast.expr) -> bool:
    """`env.str` and the like, or `_key`."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id == "env" and function.attr in READERS
    return isinstance(function, ast.Name) and function.id == "_key"


def table_of_variables() -> list[str]:
    """The first column of README's and operations' tables, where it is a variable's name."""
    text = README.read_text() + OPERATIONS.read_text()
    return re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \|", text, re.MULTILINE)


def first_column(page: Path) -> set[str]:
    """The names in the first column of a page's tables."""
    return set(re.findall(r"^\| `([a-z_]+)` \|", page.read_text(), re.MULTILINE))


class TestVariables:
    def test_that_settings_read_are_in_the_table(self):
        assert read_by_settings() - set(table_of_variables()) == set()

    def test_in_the_table_are_read_by_settings(self):
        assert set(table_of_variables()) - read_by_settings() == set()

    def test_are_in_the_table_once(self):
        named = table_of_variables()
        assert sorted(named) == sorted(set(named))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestAPage:
    def test_links_to_files_that_exist(self, page):
        text = page.read_text()
        links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
        local = [link for link in links if "://" not in link]
        assert [link for link in local if not (page.parent / link).exists()] == []

    def test_names_make_targets_that_exist(self, page):
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        lines = re.findall(r"\bmake((?: [a-z]+)+)", "\n".join(_code(page.read_text())))
        named = {name for line in lines for name in line.split()}
        assert named - set(targets) == set()

    def test_names_commands_that_exist(self, page):
        found = (ROOT / "portal/management/commands").glob("*.py")
        ours = {path.stem for path in found}
        djangos = {"migrate", "collectstatic", "createsuperuser", "clearsessions", "check"}
        named = set(re.findall(r"manage\.py ([a-z_]+)", page.read_text()))
        assert named - ours - djangos == set()

    def test_names_modules_and_files_that_exist(self, page):
        named = re.findall(r"`((?:portal|billing|lines|tests|docs)/[\w/.]+)`", page.read_text())
        assert [name for name in named if not (ROOT / name).exists()] == []

    def test_names_functions_that_exist_where_it_says(self, page):
        named = names.dotted(page.read_text())
        ours = [name for name in named if name.split(".")[0] not in THEIRS]
        assert [name for name in ours if not names.exists(name)] == []


def _code(text: str) -> list[str]:
    """What is set as code: in backticks, and indented by four."""
    return re.findall(r"`([^`]+)`", text) + re.findall(r"^ {4}(.+?)(?: {2,}#.*)?$", text, re.M)


class TestAComment:
    def test_names_modules_and_functions_that_exist(self):
        code = [path for path in texts.files() if path.suffix == ".py"]
        named = [(path, name) for path in code for name in names.dotted(texts.prose(path))]
        ours = [(path, name) for path, name in named if names.is_ours(name)]
        assert len(ours) > 40
        assert [(name_of(path), name) for path, name in ours if not names.exists(name)] == []


class TestTheRoomsOfBilling:
    def test_are_all_in_the_table_and_no_others(self):
        table = (ROOT / "docs/architecture.md").read_text().split("## The rooms of `billing/`")[1]
        rooms = {path.parent.name for path in (ROOT / "billing").glob("*/__init__.py")}
        told = re.findall(r"^\| `([a-z_]+)` \|", table.split("\n## ")[0], re.MULTILINE)
        assert sorted(told) == sorted(rooms - {"migrations"})


class TestCodes:
    def test_every_check_of_verify_is_explained_and_no_other(self):
        page = (ROOT / "docs/money.md").read_text().split("## What `manage.py verify` proves")[1]
        explained = set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
        assert explained == {*CHECKS, "guards_are_installed"}

    def test_every_attention_code_is_explained(self):
        assert set(ATTENTION) - first_column(OPERATIONS) == set()


class TestDecisions:
    def test_are_numbered_without_a_gap(self):
        numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
        assert numbers == list(range(1, len(numbers) + 1))
