"""What is mutated, by the names it is asked for, and which tests may answer."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MODULES = {
    "rules": ("billing/rules",),
    "calendar": ("billing/calendar.py", "billing/schedules.py"),
    "promotions": ("billing/promotions.py",),
    "ledger": ("billing/ledger",),
    "recharges": ("billing/recharges", "billing/casebook.py", "billing/states.py"),
    "payments": ("billing/payments",),
    "delivery": ("billing/delivery",),
    "refunds": ("billing/refunds",),
    "attestations": ("billing/operators", "billing/four_eyes.py"),
}
# What counts against caps is a room of the rules, and has a score of its own.
APART = {"billing/rules/caps.py": "caps", "billing/rules/obstacles.py": "caps"}
# Whose statements are watched: what a target's constant reaches, it may reach elsewhere.
WATCHED = ("billing", "lines")
NOT_WATCHED = ("migrations", "simulator", "simulation", "admin", "models", "gateways")
# The core is held by its own tests. None that starts processes, which would load the code as it is
# in the files, and not those that take minutes by themselves.
TESTS = ("tests/billing",)
TOO_LONG = {
    "tests/billing/test_everything_at_once.py",
    "tests/billing/test_reconciliation.py::TestAHundredThousandRows",
}
NOT_MARKED = "not processes and not browser"


def files() -> dict[str, str]:
    """Path of each file that is mutated → the module it is counted with."""
    return {
        path: APART.get(path, name)
        for name, places in MODULES.items()
        for place in places
        for path in _under(place)
    }


def watched() -> list[str]:
    """Paths of the files whose statements are watched while a test runs."""
    return [
        path
        for folder in WATCHED
        for path in _under(folder)
        if not set(NOT_WATCHED) & set(path.removesuffix(".py").split("/"))
    ]


def _under(place: str) -> Iterator[str]:
    where = ROOT / place
    found = sorted(where.rglob("*.py")) if where.is_dir() else [where]
    return (str(one.relative_to(ROOT)) for one in found if one.stat().st_size)


def name_of(path: str) -> str:
    """billing/rules/caps.py → billing.rules.caps"""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
