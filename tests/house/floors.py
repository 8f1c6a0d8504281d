"""Rooms, floors and arrows: python -m tests.house.floors [portal billing lines]

A room is what stands right below `portal`, `billing` or `lines`: a package with all that is in it,
or a module. An arrow is one room that imports another. The ground floor imports no other room; a
room stands one floor above the highest that it imports. Rooms that import each other in a ring are
a circle and stand on one floor; an arrow inside one is a back arrow.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

import grimp

HOUSE = ("portal", "billing", "lines")

Arrows = Mapping[str, set[str]]


@dataclass(frozen=True)
class Plan:
    """The rooms below one of them, seen from the side."""

    arrows: Arrows
    circles: list[list[str]]
    floors: list[list[str]]  # from the ground

    @property
    def arrow_count(self) -> int:
        return sum(len(targets) for targets in self.arrows.values())

    @property
    def back_arrows(self) -> list[tuple[str, str]]:
        return [
            (room, target)
            for circle in self.circles
            for room in circle
            for target in sorted(self.arrows[room] & set(circle))
        ]


def files(graph: grimp.ImportGraph, *, roots: Iterable[str] = HOUSE) -> dict[str, set[str]]:
    """Which file imports which, migrations apart: machines write them, in an order of their own."""
    ours = {
        module
        for module in graph.modules
        if module.split(".")[0] in set(roots) and ".migrations" not in module
    }
    return {module: graph.find_modules_directly_imported_by(module) & ours for module in ours}


def rooms(arrows: Arrows, *, root: str) -> dict[str, set[str]]:
    """Which room of `root` imports which. What imports `root` itself imports nothing in it."""
    found: dict[str, set[str]] = {}
    for module, targets in arrows.items():
        room = _room(module, root)
        if room:
            found.setdefault(room, set()).update(_room(target, root) for target in targets)
    return {room: targets - {room, ""} for room, targets in found.items()}


def _room(module: str, root: str) -> str:
    """Empty for what is not in one."""
    below, _, rest = module.partition(".")
    return rest.split(".")[0] if below == root else ""


def circles(arrows: Arrows) -> list[list[str]]:
    """Each ring of those that reach each other, larger ones as a whole."""
    reach = {one: _reached(one, arrows) for one in arrows}
    rings = {
        frozenset(other for other in reach[one] if one in reach[other])
        for one in arrows
        if one in reach[one]
    }
    return sorted(sorted(ring) for ring in rings)


def _reached(start: str, arrows: Arrows) -> set[str]:
    """All that `start` imports, by whatever way; `start` too, where a way leads back."""
    found: set[str] = set()
    ahead = list(arrows[start])
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead.extend(arrows[one])
    return found


def plan(arrows: Arrows) -> Plan:
    rings = circles(arrows)
    ring_of = {room: ring[0] for ring in rings for room in ring}
    joined: dict[str, set[str]] = {}
    for room, targets in arrows.items():
        one = ring_of.get(room, room)
        joined.setdefault(one, set()).update(ring_of.get(target, target) for target in targets)
    heights: dict[str, int] = {}
    for one in TopologicalSorter({k: v - {k} for k, v in joined.items()}).static_order():
        heights[one] = 1 + max((heights[target] for target in joined[one] - {one}), default=-1)
    floors: list[list[str]] = [[] for _ in range(max(heights.values()) + 1)]
    for room in sorted(arrows):
        floors[heights[ring_of.get(room, room)]].append(room)
    return Plan(arrows=arrows, circles=rings, floors=floors)


def show(root: str, drawn: Plan) -> str:
    """As a house is drawn: the highest floor on top."""
    head = (
        f"{root}: {len(drawn.arrows)} rooms on {len(drawn.floors)} floors, "
        f"{drawn.arrow_count} arrows, {len(drawn.back_arrows)} of them back, "
        f"{len(drawn.circles)} circles"
    )
    floors = [
        f"  {number:>2}  {' '.join(floor)}"
        for number, floor in reversed(list(enumerate(drawn.floors)))
    ]
    rings = [f"  circle: {' '.join(ring)}" for ring in drawn.circles]
    return "\n".join([head, *floors, *rings])


def main(roots: list[str]) -> None:
    arrows = files(grimp.build_graph(*HOUSE, cache_dir=None))
    for root in roots or HOUSE:
        print(show(root, plan(rooms(arrows, root=root))))  # noqa: T201 - it is for a terminal


if __name__ == "__main__":
    main(sys.argv[1:])
