"""Refuses, at every start, the settings with which money could move twice or the queue stand still.

Each refusal has an id of its own and says what to do. Registered by importing (`portal.apps`).
"""

import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, register
from django.core.checks import Warning as Caution
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from lines import zones
from portal.supervision.queue_settings import cluster_settings, smallest_retry_s

TAG = "keepline"  # what run_workers checks: not the pages, which it does not serve
OLDEST_POSTGRESQL = 14
SHORTEST_CONN_MAX_AGE_S = 60
MOST_NAMED = 50
# A task calls twice at most, one after the other (charge, then deliver), and then writes.
CALLS_PER_TASK = 3
OTHER_BROKERS = ("broker_class", "redis", "django_redis", "iron_mq", "sqs", "mongo")

# setting -> (its only safe value, the check's id, what goes wrong otherwise)
FIXED: dict[str, tuple[Any, str, str]] = {
    "orm": (
        "default",
        "keepline.E001",
        "only then is enqueueing part of the transaction, and no schedule fires twice",
    ),
    "ack_failures": (
        True,
        "keepline.E002",
        "otherwise the queue repeats a failed task by itself; the domain decides what is retried",
    ),
    "catch_up": (
        False,
        "keepline.E003",
        "otherwise an outage ends with every missed run of every schedule at once",
    ),
    "save_limit": (
        -1,
        "keepline.E004",
        "otherwise each task costs a row and a prune, and arguments are kept",
    ),
    "guard_cycle": (
        0.5,
        "keepline.E005",
        "otherwise the guard's countdown misses zero and a hung task is never killed",
    ),
    "recycle": (
        0,
        "keepline.E006",
        "otherwise the supervisor takes every recycled worker for a killed one",
    ),
    "sync": (False, "keepline.E007", "otherwise a web request runs the task itself"),
    "bulk": (1, "keepline.E008", "`retry` is reckoned for one row taken at a time"),
}
ABSENT_IS = {"sync": False, "bulk": 1}


@register(TAG)
def queue_settings_are_safe(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """Every cluster's merged settings, and the time its tasks have for calls to the outside."""
    found: list[CheckMessage] = []
    for name in settings.Q_CLUSTER_NAMES:
        merged = cluster_settings(settings.Q_CLUSTER, name)
        for rule in (_fixed, _only_broker, _timing):
            found += [_about_cluster(name, *finding) for finding in rule(merged)]
    return found


@register(TAG)
def database_settings_are_safe(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """The default database's connection settings, which need no connection to be judged."""
    default = settings.DATABASES["default"]
    max_age_s = default.get("CONN_MAX_AGE", 0)
    tests = (
        (
            max_age_s is None or max_age_s >= SHORTEST_CONN_MAX_AGE_S,
            "keepline.E020",
            f"CONN_MAX_AGE is {max_age_s}: set it to {SHORTEST_CONN_MAX_AGE_S} or more, or every "
            "task opens a connection of its own.",
        ),
        (
            default.get("CONN_HEALTH_CHECKS") is True,
            "keepline.E021",
            "CONN_HEALTH_CHECKS is off: set it to True, or a worker fails its first task after "
            "each restart of the database.",
        ),
        (
            not default.get("ATOMIC_REQUESTS"),
            "keepline.E022",
            "ATOMIC_REQUESTS is on: set it to False, or a call to a payment company runs inside "
            "a transaction and a rollback forgets what was sent.",
        ),
    )
    return [Error(sentence, id=number) for holds, number, sentence in tests if not holds]


@register(Tags.database)
def database_is_postgresql(
    app_configs: object = None, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Asks the server itself, so it runs only where Django was asked to check databases."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        major = 0
        if isinstance(connection, DatabaseWrapper):  # PostgreSQL's
            major = connection.pg_version // 10_000
        if major < OLDEST_POSTGRESQL:
            what = f"PostgreSQL {major}" if major else connection.display_name
            found.append(
                Error(
                    f"Database {alias!r} is {what}: point DATABASE_URL at PostgreSQL "
                    f"{OLDEST_POSTGRESQL} or newer.",
                    id="keepline.E023",
                )
            )
    return found


@register(TAG)
def every_rail_runs(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """A rail with half its settings is off while the others work: said, not refused."""
    return [
        Caution(f"The rail {rail!r} is stopped: {why}", id="keepline.W001")
        for rail, why in settings.RAILS_STOPPED.items()
    ]


@register(TAG)
def zones_come_from_the_package(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """Something in this process may have put the machine's own files back (`lines.zones`)."""
    if zones.is_package_used():
        return []
    return [
        Error(
            f"Time zones are read from {', '.join(zoneinfo.TZPATH)} first, not from tzdata "
            f"{zones.version()}: charges may fall an hour off.",
            hint="Take out what calls zoneinfo.reset_tzpath.",
            id="keepline.E024",
        )
    ]


@register(TAG, deploy=True)
def zones_have_a_version(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    return [Info(f"Time zones are those of tzdata {zones.version()}.", id="keepline.I001")]


@register(Tags.database)
def zones_of_rows_are_known(
    app_configs: object = None, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Only the ledger's database has such rows, and not before it is migrated."""
    if "default" not in (databases or ()):
        return []
    from billing.operators import misplaced  # noqa: PLC0415 - models exist only now

    return [
        Caution(
            f"{found.kind} {found.reference} holds {found.zone!r}, which is no time zone.",
            hint="Look at what `manage.py mend_zones` would do, then add --apply.",
            id="keepline.W002",
        )
        for found in misplaced.find()[:MOST_NAMED]
    ]


@register(Tags.database)
def rates_are_somebodys(
    app_configs: object = None, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """A limit under a name that nobody has limits nobody; one without sense the database refuses
    (`rate_makes_sense`), and this says so where it was put in before."""
    if "default" not in (databases or ()):
        return []
    from billing import rates  # noqa: PLC0415 - models exist only now

    return [
        Error(
            f"The rate of {one.side} {one.code!r} limits nobody: there is no {one.side} of that"
            " name.",
            hint="Delete it under Call rates, or give it the right name.",
            id="keepline.E025",
        )
        for one in rates.of_nobody()[:MOST_NAMED]
    ]


# What a rule yields: the id, the finding, and what to do.
_Finding = tuple[str, str, str]


def _about_cluster(name: str, number: str, finding: str, hint: str) -> Error:
    return Error(f"Q_CLUSTER, cluster {name!r}: {finding}.", hint=hint, id=number)


def _fixed(merged: Mapping[str, Any]) -> Iterator[_Finding]:
    for key, (only, number, why) in FIXED.items():
        value = merged.get(key, ABSENT_IS.get(key))
        # `1 == True`: the type is part of the value here.
        if value != only or isinstance(value, bool) is not isinstance(only, bool):
            yield number, f"{key} is {value!r}", f"Set {key} to {only!r}: {why}."


def _only_broker(merged: Mapping[str, Any]) -> Iterator[_Finding]:
    for key in OTHER_BROKERS:
        if merged.get(key):
            yield (
                "keepline.E009",
                f"{key} names a broker besides the database",
                f"Remove {key}: a task must be in the same commit as what it is about.",
            )


def _timing(merged: Mapping[str, Any]) -> Iterator[_Finding]:
    timeout_s, workers, limit = (merged.get(key) for key in ("timeout", "workers", "queue_limit"))
    if not _is_positive(timeout_s):
        yield (
            "keepline.E010",
            f"timeout is {timeout_s!r}",
            "Set KEEPLINE_TASK_TIMEOUT_S to a whole number of seconds: a fraction never ends.",
        )
        return
    if not _is_positive(workers) or not _is_positive(limit) or limit > 2 * workers:
        yield (
            "keepline.E011",
            f"queue_limit is {limit!r} for {workers!r} workers",
            "Set queue_limit to between 1 and twice the workers: rows that wait in memory are "
            "lost to the other machines until `retry` runs out.",
        )
        return
    yield from _waiting(merged, timeout_s=timeout_s, workers=workers, queue_limit=limit)


def _waiting(
    merged: Mapping[str, Any], *, timeout_s: int, workers: int, queue_limit: int
) -> Iterator[_Finding]:
    retry_s = merged.get("retry", 60)
    needed_s = smallest_retry_s(timeout_s=timeout_s, queue_limit=queue_limit, workers=workers)
    if not _is_positive(retry_s) or retry_s < needed_s:
        yield (
            "keepline.E012",
            f"retry is {retry_s!r} s",
            f"Set retry to {needed_s} or more: time spent waiting in memory counts, and a task "
            "whose lock runs out is run a second time.",
        )
    if timeout_s < settings.CALL_TIMEOUT_S * CALLS_PER_TASK:
        yield (
            "keepline.E013",
            f"timeout is {timeout_s} s while one outside call may take {settings.CALL_TIMEOUT_S} s",
            f"Lower KEEPLINE_CALL_TIMEOUT_S to {timeout_s // CALLS_PER_TASK} or less, or raise "
            "KEEPLINE_TASK_TIMEOUT_S: a task killed in the middle of a call leaves money unknown.",
        )


def _is_positive(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
