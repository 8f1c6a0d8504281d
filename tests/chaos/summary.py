"""What was done in a run, and the table that is printed at its end."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count

from billing.models import Recharge
from tests.chaos import points
from tests.chaos.driver import Driver
from tests.chaos.reckoning import Verdict

_CAME_OF_IT = (
    "recharges",
    "double_charges",
    "double_credits",
    "lost",
    "stuck",
    "forged_accepted",
    "settled_after_s",
)


@dataclass(frozen=True, slots=True)
class Done:
    """To whom what was done."""

    kills: dict[str, int]  # by point, and by role where it was at no point
    pauses: int
    database_restarts: int
    backends_terminated: int
    told: dict[str, int]

    @property
    def all_kills(self) -> int:
        return sum(self.kills.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "kills": self.all_kills,
            "kills_per_point": self.kills,
            "pauses": self.pauses,
            "database_restarts": self.database_restarts,
            "backends_terminated": self.backends_terminated,
            "told": self.told,
        }


def of(driver: Driver) -> Done:
    told = Counter(driver.stage.told())
    at_points = {name: told.pop(name, 0) for name in points.names()}
    return Done(
        kills=at_points | {f"anywhere ({role})": n for role, n in driver.tally.kills.items()},
        pauses=driver.tally.pauses,
        database_restarts=driver.tally.restarts,
        backends_terminated=driver.tally.terminated,
        told=dict(told),
    )


def line(driver: Driver) -> str:
    """The run so far."""
    done = of(driver)
    states = dict(Recharge.objects.values_list("state").annotate(Count("pk")))
    return (
        f"{done.all_kills} kills, {done.pauses} pauses, {done.database_restarts} restarts, "
        f"{sum(states.values())} recharges, {states.get('completed', 0)} completed"
    )


def table(done: Done, verdict: Verdict) -> str:
    besides = {
        name: done.as_json()[name]
        for name in ("pauses", "database_restarts", "backends_terminated")
    }
    facts = verdict.as_json()
    waiting = {f"with a person: {code}": n for code, n in verdict.with_a_person.items()}
    rows = [
        *_section("killed", done.kills | {"all": done.all_kills}),
        *_section("and besides", besides | done.told),
        *_section("what came of it", {name: facts[name] for name in _CAME_OF_IT}),
        *_section("where they are", verdict.states | waiting),
        *(f"BROKEN {name}: {', '.join(refs)}" for name, refs in verdict.named.items()),
        *(f"BROKEN {role}: {n} ended by themselves" for role, n in verdict.broken.items()),
    ]
    return "\n".join([*rows, "clean" if verdict.is_clean else "NOT clean"])


def _section(title: str, figures: Mapping[str, float]) -> list[str]:
    rows = [f"  {name.replace('_', ' '):36} {value:>8}" for name, value in figures.items()]
    return ["", title, *rows]
