"""What holds for every file of ours."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def sources(folder: str) -> Iterator[tuple[str, str]]:
    """Paths and texts, but for migrations, which machines write."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if "migrations" not in path.parts:
            yield str(path.relative_to(ROOT)), path.read_text()


def test_each_is_short_enough_to_be_read_at_once():
    found = [one for folder in ("billing", "lines", "portal") for one in sources(folder)]
    assert len(found) > 300
    assert [path for path, text in found if text.count("\n") > 400] == []


def test_nothing_near_money_is_made_a_float():
    found = list(sources("billing"))
    assert len(found) > 150
    assert [path for path, text in found if re.search(r"\bfloat\(", text)] == []


def test_no_row_is_locked_against_children_that_refer_to_it():
    """Always NO KEY UPDATE, or two who insert and lock wait for each other: docs/locking.md."""
    found = [one for folder in ("billing", "lines", "portal") for one in sources(folder)]
    said = [
        (path, one)
        for path, text in found
        for one in re.findall(
            r"select_for_update\([^)]*\)?|\bFOR (?:NO KEY )?(?:UPDATE|SHARE)\b", text
        )
    ]
    assert len(said) > 40
    plain = [(path, one) for path, one in said if "no_key=True" not in one and "NO KEY" not in one]
    assert plain == []
