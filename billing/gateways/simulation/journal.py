"""What really happened: one JSON object a line, only ever appended. The truth for every test."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# What each kind of entry holds is known to the books that wrote it, and they alone read it.
Entry = dict[str, Any]


class Journal:
    """Appends entries to a file and keeps them readable. Written before anything is answered.

    Flushed to the operating system, not to the disk: it outlives a killed process, which is what
    is tested, and costs a benchmark nothing.
    """

    def __init__(self, path: Path) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._entries = list(_whole_lines(path))
        self._file = path.open("a", encoding="utf-8")

    def append(self, *, kind: str, at: str, facts: Mapping[str, object]) -> Entry:
        """Write one effect down and return it as written."""
        with self._lock:
            entry = {"seq": len(self._entries) + 1, "at": at, "kind": kind, **facts}
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._file.flush()
            self._entries.append(entry)
        return entry

    @property
    def size(self) -> int:
        return len(self._entries)

    def entries(self, *, kind: str = "", since: int = 0) -> list[Entry]:
        """All entries after number `since`, of one kind or of all."""
        with self._lock:
            later = self._entries[since:]
        return [entry for entry in later if kind in ("", entry["kind"])]


def _whole_lines(path: Path) -> Iterator[Entry]:
    """A process killed while writing leaves half a line: cut it off, it was never answered."""
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) != len(raw):
        path.write_bytes(whole)
    for line in whole.decode().splitlines():
        yield json.loads(line)
