"""The operator's books on disk: one JSON document a line, appended, never changed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Not thread-safe; the books hold their lock around it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._drop_torn_line()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def append(self, entry: dict[str, Any]) -> None:
        """In the file when this returns: one write, so a killed process leaves no half entry.

        A figure in a field the operator only echoes comes back as text after a restart.
        """
        os.write(self._file, json.dumps(entry, default=str).encode() + b"\n")

    def entries(self) -> Iterator[dict[str, Any]]:
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    def close(self) -> None:
        os.close(self._file)

    def _drop_torn_line(self) -> None:
        """A full disk or a power cut may have torn the last line: it was never answered for."""
        if not self._path.exists():
            return
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._path, whole)
