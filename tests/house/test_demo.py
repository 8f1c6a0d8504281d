"""The demo starts on every day of the year, at every hour."""

from datetime import UTC, date, datetime, timedelta

from portal.demo import past
from portal.demo.cast import PEOPLE

EVENING = datetime(2026, 11, 28, 12, 34, tzinfo=UTC)  # 20:34 in Beijing; it would have been 09:30
SCHEDULED = [
    card
    for person in PEOPLE
    for card in person.cards
    if card.cycle != "none" and card.fate != "due_soon"
]


class TestFirstDay:
    def test_lies_ahead_on_the_cards_day_even_when_the_demo_begins_on_that_day(self):
        begun_on_it = [
            (card, EVENING + timedelta(days=n)) for card in SCHEDULED for n in range(400)
        ]

        days = [(card, at, past.first_day(card, at, at.date())) for card, at in begun_on_it]

        assert SCHEDULED
        assert [day.day for _card, _at, day in days] == [card.day for card, _at, _day in days]
        assert all(day > at.date() for _card, at, day in days)

    def test_is_a_month_later_when_todays_hour_has_passed(self):
        card = next(card for card in SCHEDULED if card.day == 28)

        assert past.first_day(card, EVENING, date(2026, 11, 28)) == date(2026, 12, 28)
