"""The demo's people can be made on any day of the year and at any hour."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing import calendar
from billing.calendar import Cycle, Schedule
from portal.demo.cast import PEOPLE, Card
from portal.demo.past import ZONE, first_charge, zone_of
from portal.demo.stage import Stage

SCHEDULED = [card for person in PEOPLE for card in person.cards if card.cycle != "none"]
DAYS = [datetime(2027, 6, 1) + timedelta(days=n) for n in range(2 * 366)]  # noqa: DTZ001
HOURS = ("00:00", "00:01", "09:29", "09:30", "12:00", "23:28", "23:29", "23:45", "23:59")


def instants() -> list[datetime]:
    """By the clock of the demo's zone, 29 February 2028 among them."""
    zone = ZoneInfo(ZONE)
    marks = [tuple(map(int, hour.split(":"))) for hour in HOURS]
    return [day.replace(hour=h, minute=m, tzinfo=zone) for day in DAYS for h, m in marks]


def first_due(card: Card, *, now: datetime) -> tuple[datetime, datetime]:
    """When the card's plan was agreed to, and when its first charge then falls due."""
    agreed_at = now - timedelta(days=30 * card.months)
    soon = now + timedelta(seconds=100)
    first = first_charge(card, agreed_at=agreed_at, soon=soon)
    schedule = Schedule(
        anchor=first.date(),
        cycle=Cycle(card.cycle),
        charge_time=first.time(),
        timezone=zone_of(card, soon=soon),
    )
    return agreed_at, calendar.occurrence(schedule, 0).due_at


class TestTheFirstCharge:
    @pytest.mark.parametrize("card", SCHEDULED, ids=lambda card: card.number[-3:])
    def test_is_always_after_the_agreement(self, card: Card) -> None:
        plans = [first_due(card, now=now) for now in instants()]
        late = [agreed_at for agreed_at, due_at in plans if due_at <= agreed_at]
        assert late == []

    def test_that_is_to_fall_due_while_one_watches_does(self) -> None:
        [card] = [card for card in SCHEDULED if card.fate == "due_soon"]
        for now in instants():
            assert first_due(card, now=now)[1] == now + timedelta(seconds=100)


class TestTheSampleData:
    def test_that_were_cut_short_are_known_as_such_until_they_are_done(self, tmp_path) -> None:
        stage = Stage(var_dir=tmp_path, port=8000)
        stage.folder.mkdir()
        assert not stage.is_half_made
        stage.begin_sample_data()
        assert stage.is_half_made
        stage.end_sample_data()
        assert not stage.is_half_made

    def test_that_are_there_are_not_endangered_by_another_start(self, tmp_path) -> None:
        stage = Stage(var_dir=tmp_path, port=8000)
        stage.folder.mkdir()
        stage.end_sample_data()
        stage.begin_sample_data()
        assert not stage.is_half_made
