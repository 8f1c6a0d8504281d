"""The edges are where their names say, and the clock that is moved there moves for everybody."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.edges.__main__ import DATED, LONG, ROOT, SOURCE
from tests.edges.instants import EDGES

SHANGHAI = ZoneInfo("Asia/Shanghai")
ZONES = {"new-york": ZoneInfo("America/New_York"), "berlin": ZoneInfo("Europe/Berlin")}
FIRST_MONTHS = {"month": range(1, 13), "quarter": (1, 4, 7, 10), "year": (1,)}


def instants() -> dict[str, datetime]:
    return {name: datetime.fromisoformat(text) for name, text in EDGES.items()}


class TestTheEdges:
    def test_of_months_quarters_and_years_are_just_before_and_just_after(self):
        for name, at in instants().items():
            kind, _, way = name.partition("-")
            if kind not in FIRST_MONTHS:
                continue
            zone = SHANGHAI if name.endswith("-in-shanghai") else UTC
            first = (at + timedelta(minutes=5)).astimezone(zone)
            assert (first.day, first.hour) == (1, 0), name
            assert first.month in FIRST_MONTHS[kind], name
            assert (at.astimezone(zone).day == 1) == way.startswith("began"), name

    def test_of_clocks_are_just_before_they_change(self):
        for place, zone in ZONES.items():
            for way, by_h in (("forward", 1), ("back", -1)):
                at = datetime.fromisoformat(EDGES[f"{place}-goes-{way}"])
                before, after = (
                    moment.astimezone(zone).utcoffset()
                    for moment in (at, at + timedelta(minutes=5))
                )
                assert before is not None
                assert after is not None
                assert after - before == timedelta(hours=by_h)

    def test_are_for_tests_that_exist(self):
        assert [path for path in (*DATED, *LONG) if not (ROOT / path).exists()] == []


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("cc") is None, reason="moving the clock needs a C compiler")
class TestTheMovedClock:
    PROGRAM = """
import datetime, subprocess, sys, threading, time
began = time.monotonic()
time.sleep(0.05)
threading.Event().wait(0.05)
assert time.monotonic() - began < 30
print(datetime.date.today(), time.strftime("%F", time.gmtime()))
print(subprocess.run(["date", "-u", "+%F"], capture_output=True, text=True).stdout)
"""

    def test_is_the_same_for_all_and_waits_are_as_long_as_ever(self, tmp_path):
        library, days = tmp_path / "clock.so", 400
        command = ["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run([*command, "-o", library, SOURCE, "-ldl"], check=True)
        moved = {
            "LD_PRELOAD": str(library),
            "KEEPLINE_CLOCK_SHIFT_S": str(days * 24 * 3600),
            "TZ": "UTC",
        }
        before = datetime.now(UTC)
        told = subprocess.run(
            [sys.executable, "-c", self.PROGRAM],
            env={**os.environ, **moved},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.split()
        possible = {f"{day + timedelta(days=days):%F}" for day in (before, datetime.now(UTC))}
        assert set(told) <= possible
        assert len(told) == 3
