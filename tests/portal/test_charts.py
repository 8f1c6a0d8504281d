"""Pictures and words: a recharge is a jump, an old figure says its age, no drawing needs style."""

import re
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from django.utils import translation

from billing.rules.forecast import Points, Reading
from portal import charts, wording

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def reading(hours: int, minor: int) -> Reading:
    return Reading(NOON + timedelta(hours=hours), minor)


def corners(svg: str) -> list[tuple[str, str]]:
    """The points of the line of the past."""
    [path] = re.findall(r'class="past" d="([^"]+)', svg)
    return re.findall(r"[ML]([\d.]+) ([\d.]+)", path)


@pytest.fixture(autouse=True)
def english():
    with translation.override("en"), translation.override("en"):
        yield


class TestTheBalance:
    def draw(self, *past: Reading, ahead: tuple[Reading, ...] = (), threshold=None) -> str:
        return charts.balance(
            Points(past=past, ahead=ahead), threshold_minor=threshold, currency="CNY"
        )

    def test_is_not_drawn_without_a_reading(self):
        assert self.draw() == ""

    def test_rises_straight_up_where_it_was_recharged(self):
        svg = self.draw(reading(-4, 1000), reading(-2, 500), reading(0, 5500))
        points = corners(svg)
        (low_x, low_y), (jump_x, jump_y), (top_x, top_y) = points[1:]
        assert jump_x == top_x
        assert jump_y == low_y
        assert float(top_y) < float(jump_y)
        assert float(low_x) < float(jump_x)

    def test_keeps_every_jump_of_a_thousand_readings(self):
        past = [reading(h, 9000 - h % 100 * 80) for h in range(-1000, 1)]
        svg = self.draw(*past)
        points = corners(svg)
        heights = [float(y) for _x, y in points]
        jumps = [1 for before, after in pairwise(heights) if before - after > 40]
        assert len(jumps) == 10
        assert heights.count(min(heights)) == 11  # each rises to its full height, the start too
        assert len(points) < 200

    def test_shows_the_threshold_and_where_it_leads(self):
        svg = self.draw(
            reading(-2, 1500),
            reading(0, 1200),
            ahead=(reading(0, 1200), reading(8, 0)),
            threshold=1000,
        )
        assert 'class="threshold"' in svg
        assert ">¥10<" in svg
        assert 'class="ahead"' in svg
        assert "Low below ¥10." in svg

    @pytest.mark.parametrize("minor", [0, -500, 10**12])
    def test_can_be_drawn_of_one_reading_of_any_size(self, minor):
        assert "NaN" not in self.draw(reading(0, minor), threshold=1000)

    def test_carries_no_style(self):
        assert "style" not in self.draw(reading(-2, 1500), reading(0, 1200), threshold=1000)


class TestTheMonths:
    def test_are_as_tall_as_they_cost_and_say_their_figures(self):
        svg = charts.months(
            [(date(2026, 9, 1), 0), (date(2026, 10, 1), 5000), (date(2026, 11, 1), 10_000)],
            currency="CNY",
        )
        heights = [float(one) for one in re.findall(r'<rect[^>]* height="([\d.]+)"', svg)]
        assert heights == [2.0, 29.0, 58.0]
        assert 'aria-label="2026-09 ¥0; 2026-10 ¥50; 2026-11 ¥100"' in svg

    def test_of_nothing_are_not_drawn(self):
        assert charts.months([], currency="CNY") == ""


class TestWording:
    @pytest.mark.parametrize(
        ("minor", "currency", "short", "full"),
        [
            (5000, "CNY", "¥50", "¥50.00"),
            (4925, "CNY", "¥49.25", "¥49.25"),
            (-1000, "CNY", "-¥10", "-¥10.00"),
            (500, "JPY", "JP¥500", "JP¥500"),
            (1_000_000, "CNY", "¥10,000", "¥10,000.00"),
        ],
    )
    def test_of_money_drops_only_what_says_nothing(self, minor, currency, short, full):
        assert wording.short_money(minor, currency) == short
        assert wording.full_money(minor, currency) == full

    @pytest.mark.parametrize(
        ("passed", "words"),
        [
            (timedelta(seconds=20), "just now"),
            (timedelta(minutes=1), "1 minute ago"),
            (timedelta(minutes=59), "59 minutes ago"),
            (timedelta(hours=1), "1 hour ago"),
            (timedelta(hours=23), "23 hours ago"),
            (timedelta(days=3), "3 days ago"),
            (timedelta(seconds=-5), "just now"),
        ],
    )
    def test_of_an_age(self, passed, words):
        assert wording.age(NOON - passed, NOON) == words

    @pytest.mark.parametrize(
        ("back", "words"),
        [
            (timedelta(hours=1), "today 19:00"),
            (timedelta(days=1), "yesterday 20:00"),
            (timedelta(days=4), "11-18"),
            (timedelta(days=400), "2025-10-18"),
        ],
    )
    def test_of_a_moment_goes_by_the_readers_clock(self, back, words):
        assert wording.moment(NOON - back, NOON) == words

    @pytest.mark.parametrize(
        ("agent", "words"),
        [
            ("Mozilla/5.0 (Linux; Android 14) Chrome/120 MicroMessenger/8.0", "WeChat · Android"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17) Safari/604.1", "Safari · iPhone"),
            ("Mozilla/5.0 (Windows NT 10.0) Chrome/120 Safari/537 Edg/120", "Edge · Windows"),
            ("curl/8.0", "curl/8.0"),
            ("", ""),
        ],
    )
    def test_of_a_device_names_what_its_owner_knows(self, agent, words):
        assert wording.device(agent) == words

    def test_of_days_is_in_the_readers_language(self):
        assert wording.day(date(2026, 12, 1)) == "Dec 1"
        with translation.override("zh-hans"):
            assert wording.day(date(2026, 12, 1)) == "12月1日"
            assert wording.weekday(date(2026, 12, 1)) == "周二"
