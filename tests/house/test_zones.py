"""Time zones are the pinned package's in every process of ours; no day is PostgreSQL's to say."""

import os
import re
import shutil
import subprocess
import sys
import zoneinfo
from pathlib import Path

import pytest
from django.core import checks as django_checks
from django.core.management import call_command

from lines import zones
from portal import checks
from tests.house.test_docs import ROOT
from tests.house.test_sources import sources

# 09:00 on 15 January 2027 as tzdata 2026f has it. Debian 12's own files (2025b) say an hour later
# in Canada and an hour earlier in Morocco.
AT_NINE = {
    "America/Vancouver": "2027-01-15T16:00:00+00:00",
    "America/Edmonton": "2027-01-15T15:00:00+00:00",
    "America/Winnipeg": "2027-01-15T14:00:00+00:00",
    "Africa/Casablanca": "2027-01-15T09:00:00+00:00",
}
# What a process of ours begins with: web, commands, workers, simulators.
BEGINNINGS = (
    "portal.settings",
    "portal.wsgi",
    "portal.environment",
    "portal.embedded_postgres",
    "billing.calendar",
    "billing.gateways.alipay.simulator.app",
    "billing.gateways.stripe.simulator.app",
    "billing.gateways.wechat.simulator.app",
    "lines.carriers.tmf654.simulator.messages",
    "tests.settings",
)
SCHEDULE = """
from datetime import date, time
from billing.calendar import Cycle, Schedule, occurrence
for zone in {zones}:
    first = Schedule(date(2027, 1, 15), Cycle.MONTHLY, time(9), zone)
    print(occurrence(first, 0).due_at.isoformat())
"""


@pytest.fixture
def a_host_that_is_wrong(tmp_path: Path) -> dict[str, str]:
    """Its files say that Tokyo's clock is everybody's, and its environment points at them."""
    package = Path(str(zones.files(zones.tzdata))) / "zoneinfo"
    for name in (*AT_NINE, "Asia/Shanghai"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(package / "Asia/Tokyo", tmp_path / name)
    return {**os.environ, "PYTHONTZPATH": str(tmp_path)}


def run(program: str, environment: dict[str, str]) -> list[str]:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


class TestAFreshProcess:
    def test_charges_at_the_package_s_instants_whatever_the_host_says(self, a_host_that_is_wrong):
        at = run(SCHEDULE.format(zones=list(AT_NINE)), a_host_that_is_wrong)
        assert dict(zip(AT_NINE, at, strict=True)) == AT_NINE

    def test_would_not_without_us(self, a_host_that_is_wrong):
        program = "import zoneinfo; print(zoneinfo.ZoneInfo('Africa/Casablanca').utcoffset(None))"
        plain = program.replace("None", "__import__('datetime').datetime(2027, 1, 15, 9)")
        assert run(plain, a_host_that_is_wrong) == ["9:00:00"]

    def test_has_only_the_package_however_it_begins(self, a_host_that_is_wrong):
        program = "import {}, zoneinfo; print(zoneinfo.TZPATH)"
        paths = {
            module: run(program.format(module), a_host_that_is_wrong)[-1] for module in BEGINNINGS
        }
        assert {module: path for module, path in paths.items() if path != "()"} == {}


class TestTheListOfZones:
    def test_is_the_package_s_without_what_is_no_place(self):
        assert {"Asia/Shanghai", "Europe/Kyiv", "EET", "UTC"} <= zones.ZONES
        assert len(zones.ZONES) == 597
        wrong = ("localtime", "Factory", "posixrules", "zone.tab", "tzdata.zi", "leapseconds", "")
        assert zones.ZONES.intersection(wrong) == set()
        assert [name for name in zones.ZONES if name.startswith(("posix", "right"))] == []

    def test_has_no_name_that_cannot_be_read(self):
        unreadable = [name for name in sorted(zones.ZONES) if zones.zone_of(name).key != name]
        assert unreadable == []

    def test_gives_the_default_for_a_name_that_is_none(self):
        names = ("localtime", "Mars/Olympus", "../../etc/passwd", "")
        assert {zones.zone_of(name).key for name in names} == {"Asia/Shanghai"}

    def test_is_the_only_one(self):
        """No door asks the host, or makes a zone of a name that a row or a person gave."""
        asks = re.compile(r"available_timezones|\bpytz\b|\bZoneInfo\((?![\"A-Z])|ZoneInfoNotFound")
        found = [one for folder in ("portal", "billing", "lines") for one in sources(folder)]
        wrong = {path for path, text in found if asks.search(text)}
        assert wrong == {"lines/zones.py", "portal/demo/past.py"}  # zones of the demo's own cast


class TestADay:
    def test_is_never_postgresql_s_to_say(self):
        """It has zone data of its own: what a day is, is reckoned here, and a range handed over."""
        says = re.compile(
            r"\bTrunc[A-Z]\w*|\bExtract[A-Z]\w*|\bdate_hierarchy\b"
            r"|__(?:date|time|year|iso_year|month|quarter|week|week_day|day|hour)(?:__\w+)?\s*="
            r"|\bCast\([^)]*(?:Date|Time)Field"
            r"|(?i:\bAT TIME ZONE\b|\bdate_trunc\b|\bdate_part\b|\bto_char\b|\blocaltimestamp\b"
            r"|::\s*(?:date|timestamp|time)\b|\bAS (?:date|timestamp)\)|\bcurrent_date\b"
            # An epoch is the same everywhere.
            r"|\bextract\((?!epoch )[a-z]+ FROM)"
        )
        found = [one for folder in ("portal", "billing", "lines") for one in sources(folder)]
        assert [(path, says.findall(text)) for path, text in found if says.search(text)] == []


class TestTheCheck:
    def test_is_content_with_the_package(self):
        assert checks.zones_come_from_the_package() == []

    def test_complains_when_the_host_s_files_are_back(self):
        zoneinfo.reset_tzpath(to=["/usr/share/zoneinfo"])
        try:
            [error] = checks.zones_come_from_the_package()
        finally:
            zones.use_package()
        assert (error.id, error.level) == ("keepline.E024", django_checks.ERROR)
        assert "/usr/share/zoneinfo" in error.msg

    def test_says_the_version_before_an_upgrade_and_is_silent_else(self, capfd):
        call_command("check", "--tag", "keepline")
        assert "tzdata" not in "".join(capfd.readouterr())

        call_command("check", "--tag", "keepline", "--deploy")
        assert "Time zones are those of tzdata 2026.6 (2026f)." in capfd.readouterr().err
