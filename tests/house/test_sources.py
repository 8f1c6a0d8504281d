"""What holds for every file of ours."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Lines that say `Any` in billing outside its admin, by file.
ANY_MAY_STAND = {
    "billing/gateways/simulation/journal.py": 2,  # an entry, read by the books that wrote it
    "billing/gateways/stripe/simulator/books.py": 2,  # Stripe's objects as the simulator makes them
    "billing/operators/misplaced.py": 4,  # three models that have no base in common
    "billing/rowsets.py": 2,  # what the driver makes of a column
}


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


def _says_any(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return len(
        {one.start[0] for one in tokens if one.type == tokenize.NAME and one.string == "Any"}
    )


def test_any_stands_for_few_things_in_billing():
    """Documents of others are of `object`, read by readers that refuse a wrong shape, and people
    are `lines.people.Person`: with `Any`, mypy looks at neither."""
    found = {
        path: _says_any(text)
        for path, text in sources("billing")
        if not path.startswith("billing/admin/")
    }
    assert len(found) > 150
    assert [one for one in found.items() if one[1] > ANY_MAY_STAND.get(one[0], 0)] == []


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
