"""Files of the command: verdicts that were given (var/mutants.json), survivors that are explained,
and mutants that were once found by hand.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Mutant
from tests.mutation.targets import ROOT

HERE = Path(__file__).parent
CONTEXTS = ROOT / "var" / "mutation" / "contexts.json"
VERDICTS = ROOT / "var" / "mutants.json"

Verdicts = dict[str, dict[str, Any]]  # mutant → module, line, change, outcome, …


def explained() -> Mapping[str, str]:
    """Mutant → why it lives; by the text of its line, so that it is found where the line moves."""
    read = tomllib.loads((HERE / "survivors.toml").read_text())
    return {one: entry["why"] for one, entry in read.items()}


def by_hand() -> tuple[list[Mutant], list[str]]:
    """Each as one change of its file; and the names of those whose text is no longer there."""
    read = tomllib.loads((HERE / "by_hand.toml").read_text())
    found = {name: _placed(name, one) for name, one in read.items()}
    return [one for one in found.values() if one], [name for name, one in found.items() if not one]


def _placed(name: str, one: Mapping[str, str]) -> Mutant | None:
    text = (ROOT / one["path"]).read_text()
    if text.count(one["old"]) != 1:
        return None
    before = text[: text.index(one["old"])]
    start = len(before.encode())
    indented = one["old"][: len(one["old"]) - len(one["old"].lstrip())]
    line = (before + indented).count("\n") + 1
    return Mutant(one["path"], start, line, one["old"], one["new"], "by hand", name)


def verdicts() -> Verdicts:
    return json.loads(VERDICTS.read_text()) if VERDICTS.exists() else {}


def keep(verdict: dict[str, Any]) -> None:
    """Beside those of another run that goes on at the same time."""
    found = verdicts() | {verdict["id"]: verdict}
    VERDICTS.parent.mkdir(parents=True, exist_ok=True)
    beside = VERDICTS.with_suffix(".new")
    beside.write_text(json.dumps(found, indent=1, ensure_ascii=False))
    beside.replace(VERDICTS)
