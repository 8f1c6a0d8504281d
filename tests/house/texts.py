"""What stands in the house to be read: documents, and the comments and docstrings of the code."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("portal", "billing", "lines", "tests", "docs", "templates")
README, OPERATIONS, RULES = ROOT / "README.md", ROOT / "docs/operations.md", ROOT / "docs/rules.md"
PAGES = (README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))

_WRITTEN = {".py", ".md", ".html", ".txt", ".css", ".js", ".toml"}  # by people, in words
_SAID = re.compile(r'"""(?s:.*?)"""|(?<!\S)#.*')


@cache
def files() -> tuple[Path, ...]:
    """Every text that people write, translations apart; what stands on top first."""
    top = [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "Makefile", ROOT / "manage.py"]
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    written = [path for path in below if path.suffix in _WRITTEN and path.is_file()]
    return (*sorted(top), *sorted(written))


@cache
def prose(path: Path) -> str:
    """What is said rather than done: all of a document, of code its comments and docstrings.

    By their looks, which is quick: other texts in three quotes are taken along.
    """
    text = path.read_text()
    return "\n".join(_SAID.findall(text)) if path.suffix == ".py" else text


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))
