"""What really happened: one JSON object a line, only ever appended. The truth for every test."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """A file of entries. An entry is written before the call that caused it is answered.

    It reaches the operating system, not the disk: a killed process is what it has to outlive.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_half_a_line(path)
        self._lock = threading.Lock()
        self._entries: list[Entry] = [json.loads(line) for line in path.open(encoding="utf-8")]
        self._file = path.open("a", encoding="utf-8")

    def write(self, *, kind: str, at: str, facts: Mapping[str, Any]) -> Entry:
        """Append one entry and return it."""
        with self._lock:
            entry = {"seq": len(self._entries) + 1, "at": at, "kind": kind, **facts}
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._file.flush()
            self._entries.append(entry)
            return entry

    @property
    def size(self) -> int:
        return len(self._entries)

    def read(self, *, kind: str = "", since: int = 0) -> list[Entry]:
        """The entries after number `since`, of one kind or of every kind."""
        with self._lock:
            return [entry for entry in self._entries[since:] if kind in ("", entry["kind"])]


def _drop_half_a_line(path: Path) -> None:
    """What a kill left unfinished was never answered."""
    if not path.exists():
        path.touch()
        return
    raw = path.read_bytes()
    end = raw.rfind(b"\n") + 1
    if end != len(raw):
        path.write_bytes(raw[:end])
