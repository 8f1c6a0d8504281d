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
