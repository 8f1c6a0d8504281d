"""The small pure parts of the adapter, by tables and by properties: no operator needed."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lines.carriers.base import LineAddress
from lines.carriers.tmf654 import amounts, reading
from lines.carriers.tmf654.masking import masked
from lines.carriers.tmf654.wire import parsed, storable
from lines.validity import UNSAID

ALICE = LineAddress(msisdn="+8613812345678", iccid="89860012345678901234")
LETTERED = LineAddress(msisdn="", iccid="898600A1234567B01234")


class TestMasking:
    @pytest.mark.parametrize(
        ("text", "address", "shown"),
        [
            ('{"id": "+8613812345678"}', None, '{"id": "****5678"}'),
            ('{"id": "8613812345678"}', None, '{"id": "****5678"}'),
            ('{"id": 8613812345678}', None, '{"id": ****5678}'),
            ('{"iccid": "89860012345678901234"}', None, '{"iccid": "****1234"}'),
            ('{"iccid": "898600A1234567B01234"}', None, '{"iccid": "****1234"}'),
            (
                '{"reason": "+86 138 1234 5678 is barred"}',
                ALICE,
                '{"reason": "+86 ****5678 is barred"}',
            ),
            ('{"reason": "138-1234-5678"}', ALICE, '{"reason": "****5678"}'),
            ("id=+8613812345678&usageType=monetary", ALICE, "id=****5678&usageType=monetary"),
            ("<p>No such number: 13812345678</p>", None, "<p>No such number: ****5678</p>"),
            ("<p>8-digit numbers too: 91234567</p>", None, "<p>8-digit numbers too: ****4567</p>"),
            ('{"sim": "a1234567b01234"}', LETTERED, '{"sim": "****1234"}'),
        ],
    )
    def test_hides_numbers_however_they_are_written(self, text, address, shown):
        assert masked(text, address) == shown

    @pytest.mark.parametrize(
        "text",
        [
            '{"description": "01JD7Q8Z6V0N4T5W9XKRPA2B3C"}',
            '{"amount": {"amount": 1500000.00, "units": "IDR"}}',
            '{"confirmationDate": "2026-11-22T08:00:00.123456Z"}',
            '{"validFor": {"endDateTime": "2026-11-22T08:00:00+08:00"}}',
            '{"id": "TOP-223c501f50d0d0acfd8a"}',
        ],
    )
    def test_leaves_references_amounts_and_dates(self, text):
        assert masked(text, ALICE) == text

    def test_is_fit_to_store(self):
        text = masked("\x00" + "x" * 10**6)

        assert "\x00" not in text
        assert len(text) <= 4000


CURRENCIES = st.sampled_from(["CNY", "USD", "JPY", "KRW", "KWD", "TND", "CLF"])
MINOR = st.integers(min_value=-(10**14), max_value=10**14)


class TestAmounts:
    @given(amount_minor=MINOR, currency=CURRENCIES)
    def test_come_back_as_they_were_sent(self, amount_minor, currency):
        wire = parsed(amounts.major_text(amount_minor, currency).encode())

        assert amounts.exact_minor(wire, currency) == amount_minor
        assert amounts.floor_minor(wire, currency) == amount_minor
        assert amounts.ceiling_minor(wire, currency) == amount_minor

    @pytest.mark.parametrize(
        ("amount_minor", "currency", "text"),
        [
            (5000, "CNY", "50.00"),
            (1, "CNY", "0.01"),
            (-1050, "CNY", "-10.50"),
            (500, "JPY", "500"),
            (1001, "KWD", "1.001"),
            (10**12, "CNY", "10000000000.00"),
        ],
    )
    def test_are_written_digit_for_digit(self, amount_minor, currency, text):
        assert amounts.major_text(amount_minor, currency) == text

    @pytest.mark.parametrize(
        ("text", "floor", "ceiling"),
        [
            ("49.999", 4999, 5000),
            ("-0.001", -1, 0),
            ("0.1", 10, 10),
            ("1e2", 10000, 10000),
            ("12.340000", 1234, 1234),
        ],
    )
    def test_of_a_balance_are_never_more_than_there_is(self, text, floor, ceiling):
        value = parsed(text.encode())

        assert amounts.floor_minor(value, "CNY") == floor
        assert amounts.ceiling_minor(value, "CNY") == ceiling

    @pytest.mark.parametrize(
        "value",
        [None, True, 50, 50.0, "50", Decimal("NaN"), Decimal("Infinity"), Decimal("1e999999"),
         Decimal("1e16"), Decimal("0.1" + "0" * 40 + "1")],
    )  # fmt: skip
    def test_that_are_none_are_refused(self, value):
        with pytest.raises(amounts.NotAnAmount):
            amounts.floor_minor(value, "CNY")

    def test_of_a_credit_have_no_fractions(self):
        with pytest.raises(amounts.NotAnAmount, match="fraction"):
            amounts.exact_minor(Decimal("50.001"), "CNY")


class TestJson:
    def test_is_read_without_floats(self):
        assert parsed(b'{"a": 0.1, "b": 3}') == {"a": Decimal("0.1"), "b": Decimal(3)}
        assert type(parsed(b"3")) is Decimal

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"{",
            b"NaN",
            b"[Infinity]",
            b"\xff",
            b"[" * 10**5,
            b"1e99999999999999999999",
            b"null",
        ],
    )
    def test_that_is_none_is_none(self, raw):
        assert parsed(raw) is None


class TestNumbers:
    @pytest.mark.parametrize(
        ("one", "other", "is_same"),
        [
            ("+8613812345678", "8613812345678", True),
            ("+8613812345678", "tel:+86 138-1234-5678", True),
            ("+8613812345678", "13812345678", True),
            ("+4791234567", "91234567", True),
            ("+8613812345678", "+8613812345679", False),
            ("+8613812345678", "45678", False),
            ("+8613812345678", "12345678", False),  # five figures off is no country code
            ("898600A1234567B01234", "898600a1234567b01234", True),
            ("+8613812345678", "", False),
        ],
    )
    def test_are_the_same_in_any_form(self, one, other, is_same):
        assert reading.same_number(one, other) is is_same
        assert reading.same_number(other, one) is is_same

    @pytest.mark.parametrize(
        ("one", "other", "is_same"),
        [
            ("8986001234567890123", "89860012345678901234", True),
            ("89860012345678901234", "89860012345678901234", True),
            ("898600123456789012", "89860012345678901234", False),
            ("8986001234567890124", "89860012345678901234", False),
        ],
    )
    def test_of_cards_may_lack_the_check_digit(self, one, other, is_same):
        assert reading.same_card(one, other) is is_same


class TestMoments:
    def test_are_utc_whatever_their_offset(self):
        document = {"at": "2026-11-22T16:00:00+08:00"}

        assert reading.moment(document, "at") == datetime(2026, 11, 22, 8, tzinfo=UTC)
        assert reading.moment({}, "at") is None

    @pytest.mark.parametrize(
        "value",
        ["", "yesterday", "2026-11-22", "2026-11-22T16:00:00", 5, [], "0001-01-01T00:00:00+14:00",
         "9999-12-31T23:59:59-12:00"],
    )  # fmt: skip
    def test_that_are_none_are_unreadable(self, value):
        with pytest.raises(reading.Unreadable):
            reading.moment({"at": value}, "at")

    @pytest.mark.parametrize(
        ("header", "at"),
        [
            ("Sun, 22 Nov 2026 08:00:00 GMT", datetime(2026, 11, 22, 8, tzinfo=UTC)),
            ("Sun, 22 Nov 2026 08:00:00", None),
            ("soon", None),
            ("", None),
        ],
    )
    def test_of_a_header_may_be_missing(self, header, at):
        assert reading.header_moment({"Date": header}) == at


class TestAValidityBesideABalance:
    BUCKET = {
        "id": "B",
        "status": "active",
        "remainingValue": {"amount": Decimal("12.34"), "units": "CNY"},
    }

    def read(self, **more):
        bucket = reading.bucket_from(self.BUCKET | more)
        at = datetime(2026, 11, 22, 4, tzinfo=UTC)
        balance = reading.balance_from(
            bucket, currency="CNY", observed_at=at, time_zone=ZoneInfo("Asia/Shanghai")
        )
        assert balance.balance_minor == 1234
        return balance.valid_until

    def test_never_costs_it(self):
        end_of_day = datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC)
        cases = {
            "2026-12-31": end_of_day,
            "2026-12-31T23:59:59": end_of_day,
            "2026-12-31T23:59:59+08:00": end_of_day,
            "9999-12-31T23:59:59-12:00": None,
            None: None,
            "soon": UNSAID,
            "": UNSAID,
            5: UNSAID,
        }
        assert {end: self.read(validFor={"endDateTime": end}) for end in cases} == cases
        assert (self.read(), self.read(validFor=None), self.read(validFor={})) == (None, None, None)
        assert self.read(validFor="2026") is UNSAID


class TestStorable:
    @given(st.text(st.characters(exclude_categories=())))  # lone surrogates among them
    def test_text_is_printable_and_bounded(self, text):
        stored = storable(text, 20)

        assert stored.isprintable()
        assert len(stored) <= 20
