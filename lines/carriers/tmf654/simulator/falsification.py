"""The operator's statement, made to lie: rows left out, added or changed. The books stay true."""

import threading
from dataclasses import replace
from datetime import datetime

from lines.carriers.tmf654.simulator.records import Movement


class Falsification:
    """Rows are named by the reference of their order or by the operator's own id of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hidden: set[str] = set()
        self._amounts: dict[str, int] = {}
        self._extra: list[Movement] = []

    def hide(self, name: str) -> None:
        with self._lock:
            self._hidden.add(name)

    def change(self, name: str, amount_minor: int) -> None:
        with self._lock:
            self._amounts[name] = amount_minor

    def add(self, movement: Movement) -> None:
        with self._lock:
            self._extra.append(movement)

    def clear(self) -> None:
        with self._lock:
            self._hidden.clear()
            self._amounts.clear()
            self._extra.clear()

    def of(self, movements: list[Movement], start: datetime, end: datetime) -> list[Movement]:
        """The rows as the statement shows them; those added within [start, end) come last."""
        with self._lock:
            if not (self._hidden or self._amounts or self._extra):
                return movements
            shown = [self._told(each) for each in movements if not _names(each) & self._hidden]
            return shown + [each for each in self._extra if start <= each.at < end]

    def _told(self, movement: Movement) -> Movement:
        for name in _names(movement) & self._amounts.keys():
            return replace(movement, amount_minor=self._amounts[name])
        return movement


def _names(movement: Movement) -> set[str]:
    return {movement.order_id, *(v for v in movement.echo.values() if isinstance(v, str))}
