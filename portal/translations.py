"""The texts shown to people, and their Chinese: collected, merged, checked, compiled.

English is the source: the text itself is the key. Chinese comes from `locale/pairs/*.json` (new),
`locale/overrides.json` (texts of other apps that we word differently), or the .po file (all that
was merged before), in this order. Needs no gettext tools: Babel reads and writes.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

LOCALE = "zh_Hans"
PO = Path("locale") / LOCALE / "LC_MESSAGES" / "django.po"
PAIRS = Path("locale") / "pairs"
OVERRIDES = Path("locale") / "overrides.json"
SOURCES = ("portal", "billing", "lines", "templates")
HEADER = """\
# Chinese for Keepline. Made by `make messages`; translations may be edited here.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Language: zh_Hans\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

"""
KEYWORDS: dict[str, Any] = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop")),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2)),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), ((1, "c"), 2, 3)),
}
PLACEHOLDER = re.compile(r"%\(\w+\)[a-zA-Z]|%[sdif]|\{[\w.]*(?::[^{}]*)?\}")
# An ASCII mark that touches a Chinese character.
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!.](?![\w/])")


@dataclass(frozen=True)
class Text:
    """One text of the interface."""

    msgid: str
    plural: str | None = None
    context: str | None = None
    where: str = ""  # file:line of its first use

    @property
    def key(self) -> str:
        """How pairs name it: the English, after `context|` where it has one."""
        return f"{self.context}|{self.msgid}" if self.context else self.msgid

    @property
    def ids(self) -> str | tuple[str, str]:
        return (self.msgid, self.plural) if self.plural else self.msgid


def collect(root: Path) -> list[Text]:
    """Every text in the Python files and templates below `root`, each once, sorted by key."""
    found: dict[str, Text] = {}
    for path in _files(root):
        for text in _texts(path, str(path.relative_to(root))):
            known = found.setdefault(text.key, text)
            if text.plural and not known.plural:
                found[text.key] = text
    return [found[key] for key in sorted(found)]


def pairs(root: Path) -> tuple[dict[str, str], list[str]]:
    """All pairs that helpers have written, the first file's where two differ; and who differs."""
    merged: dict[str, str] = {}
    origin: dict[str, str] = {}
    contradictions: list[str] = []
    for path in sorted((root / PAIRS).glob("*.json")):
        for key, chinese in _load(path).items():
            if merged.setdefault(key, chinese) != chinese:
                contradictions.append(
                    f"{path.name} and {origin[key]} translate {key!r} differently: keep one."
                )
            origin.setdefault(key, path.name)
    return merged, contradictions


def overrides(root: Path) -> dict[str, str]:
    """Our words for texts of other apps."""
    path = root / OVERRIDES
    return _load(path) if path.exists() else {}


def merged_before(root: Path) -> dict[str, str]:
    """What the .po file says, by key."""
    path = root / PO
    if not path.exists():
        return {}
    with path.open("rb") as file:
        catalog = read_po(file, locale=LOCALE)
    return {
        _key(message): _only(message.string) for message in catalog if message.id and message.string
    }


def catalog(texts: Iterable[Text], chinese: Mapping[str, str]) -> Catalog:
    """The catalog of `texts`; what `chinese` does not have stays empty, so English is shown."""
    made = Catalog(locale=LOCALE, fuzzy=False)
    for text in texts:
        string = chinese.get(text.key, "")
        made.add(text.ids, (string,) if text.plural else string, context=text.context)
    return made


def as_po(made: Catalog) -> str:
    """The .po file's text: sorted, without dates and places, so that it changes with words only."""
    body = io.BytesIO()
    write_po(body, made, width=0, no_location=True, omit_header=True, sort_output=True)
    return HEADER + body.getvalue().decode()


def write(root: Path, made: Catalog) -> None:
    """Write the .po file and the .mo file that Django reads."""
    path = root / PO
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_po(made))
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, made)


def problems(texts: Iterable[Text], chinese: Mapping[str, str]) -> Iterator[str]:
    """What is wrong, one sentence each: missing, unused, or not saying the same."""
    by_key = {text.key: text for text in texts}
    for key, text in by_key.items():
        if not chinese.get(key):
            yield f"{text.where}: no Chinese for {key!r}."
        else:
            yield from _differences(text, chinese[key])
    for key in sorted(chinese.keys() - by_key.keys()):
        yield f"{key!r} is translated, but nowhere used."


def _differences(text: Text, chinese: str) -> Iterator[str]:
    # One Chinese form stands for all numbers, so it must be able to say which.
    wanted = _placeholders(text.plural or text.msgid)
    has = _placeholders(chinese)
    if has != wanted:
        yield f"{text.where}: {text.key!r} has {_listed(wanted)}, its Chinese {_listed(has)}."
    elif "%" in "".join(wanted) and "%" in PLACEHOLDER.sub("", chinese.replace("%%", "")):
        yield f"{text.where}: the Chinese of {text.key!r} has a lone %: write %%."
    if HALF_WIDTH.search(chinese):
        yield f"{text.where}: the Chinese of {text.key!r} has a half-width mark: {chinese!r}."


def _placeholders(text: str) -> list[str]:
    return sorted(set(PLACEHOLDER.findall(text.replace("%%", ""))))


def _listed(placeholders: list[str]) -> str:
    return " ".join(placeholders) or "no placeholder"


def _files(root: Path) -> Iterator[Path]:
    for name in SOURCES:
        for path in sorted((root / name).rglob("*")):
            is_template = "templates" in path.relative_to(root).parts and path.is_file()
            if is_template or (path.suffix == ".py" and "migrations" not in path.parts):
                yield path


def _texts(path: Path, shown: str) -> Iterator[Text]:
    source = path.read_text()
    if path.suffix != ".py":
        # What templatize leaves of the markup is indented at random, which is no Python.
        lines = templatize(source, origin=shown).splitlines()
        source = "\n".join(line.lstrip() for line in lines)
    for line, ids, _comments, context in extract("python", io.BytesIO(source.encode()), KEYWORDS):
        msgid, plural = ids if isinstance(ids, tuple) else (ids, None)
        yield Text(msgid=msgid, plural=plural, context=context, where=f"{shown}:{line}")


def _load(path: Path) -> dict[str, str]:
    loaded: dict[str, str] = json.loads(path.read_text())
    return loaded


def _key(message: Any) -> str:
    msgid = message.id[0] if isinstance(message.id, tuple) else message.id
    return f"{message.context}|{msgid}" if message.context else msgid


def _only(string: str | list[str] | tuple[str, ...]) -> str:
    return string if isinstance(string, str) else string[0]
