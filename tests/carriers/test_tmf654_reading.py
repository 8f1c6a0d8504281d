"""The small pure parts of the adapter, by tables and by properties: no operator needed."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lines.carriers import naming
from lines.carriers.base import LineAddress
from lines.carriers.tmf654 import amounts, outcomes, reading
from lines.carriers.tmf654.masking import masked
from lines.carriers.tmf654.reading import Confirmation, confirmation
from lines.carriers.tmf654.wire import Reply, parsed, storable
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

    def test_leaves_codes_readable_and_apart(self):
        told = '{{"code": "{}", "reason": "no credit to 13812345678", "id": "1007001"}}'
        shown = [masked(told.format(code)) for code in ("1006001", "1007001", "13812345678")]

        assert ['"1006001"' in shown[0], '"1007001"' in shown[1]] == [True, True]
        assert len(set(shown)) == 3
        assert "13812345678" not in "".join(shown)

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

    def test_in_gbk_is_read_as_it_was_meant(self):
        assert parsed('{"name": "话费"}'.encode("gbk")) == {"name": "话费"}
        assert parsed(b'{"name": "\xff\xff"}') is None


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
        assert naming.same_number(one, other) is is_same
        assert naming.same_number(other, one) is is_same

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
        assert naming.same_card(one, other) is is_same


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


class TestConfirmations:
    """An optional field never decides over the fact beside it."""

    SHANGHAI = ZoneInfo("Asia/Shanghai")

    def test_cost_a_completed_order_nothing(self):
        at = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)
        told = {
            None: Confirmation(),
            "": Confirmation(),
            "2026-11-22T08:30:00+08:00": Confirmation(True, at),
            "2026-11-22T00:30:00Z": Confirmation(True, at),
            "2026-11-22T08:30:00": Confirmation(True, at),
            "2026-11-22 08:30:00": Confirmation(True, at),
            "2026-11-22": Confirmation(True, on=date(2026, 11, 22)),
            "2026-11-31": Confirmation(True),
            "yesterday": Confirmation(True),
            "0001-01-01T00:00:00+14:00": Confirmation(True),
            1764000000: Confirmation(True),
        }
        document = {
            "id": "TOP-1",
            "status": "completed",
            "amount": {"amount": Decimal(50), "units": "CNY"},
        }
        read = {
            value: reading.order_from(
                document | {"confirmationDate": value},
                currency="CNY",
                reference_field="description",
                time_zone=self.SHANGHAI,
            )
            for value in told
        }

        assert {value: order.confirmed for value, order in read.items()} == told
        assert {order.amount_minor for order in read.values()} == {5000}

    def test_put_a_row_on_its_day_of_the_carrier_s_books(self):
        start = datetime(2026, 11, 22, tzinfo=self.SHANGHAI)
        end = datetime(2026, 11, 23, tzinfo=self.SHANGHAI)
        days = {
            "2026-11-22": True,
            "2026-11-21": False,
            "2026-11-23": False,
            "2026-11-22T23:59:59": True,
            "2026-11-23T00:00:00": False,
            "2026-11-22T15:59:59Z": True,
            "soon": True,
            None: True,
        }

        assert {
            day: confirmation(day, time_zone=self.SHANGHAI).is_within(start, end) for day in days
        } == days


class TestResources:
    ALICE = "+8613812345678"

    def test_name_a_number_by_id_or_by_value_and_the_value_decides(self):
        named = {
            ("+8613812345678", None): True,
            ("LR-4711", "+8613812345678"): True,
            ("LR-4711", "13812345678"): True,
            (None, "tel:+8613812345678"): True,
            ("+8613812345678", "+8613900000000"): False,
            ("+8613812345678", "active"): True,
            ("LR-13812345678", None): False,
            ("LR-4711", "4711"): False,
        }
        given = {
            (id_, value): {k: v for k, v in (("id", id_), ("value", value)) if v is not None}
            for id_, value in named
        }

        assert {
            case: reading.resources({"logicalResource": [entry]})[0].names(self.ALICE)
            for case, entry in given.items()
        } == named

    def test_of_a_movement_are_the_receiver_s(self):
        (resource,) = reading.resources({"receiverLogicalResource": {"id": self.ALICE}})

        assert resource.names(self.ALICE)

    @pytest.mark.parametrize("entry", [{}, {"id": ""}, {"value": ""}, {"value": 5}, "x", None])
    def test_that_name_nothing_are_unreadable(self, entry):
        with pytest.raises(reading.Unreadable):
            reading.resources({"logicalResource": [entry]})


class TestOnlyMoneyIsMoney:
    def bucket(self, number, units, **more):
        return {
            "id": f"B{number}",
            "logicalResource": [{"id": "+8613812345678"}],
            "remainingValue": {"amount": Decimal(number), "units": units},
        } | more

    def found(self, *documents):
        return outcomes.only_bucket(Reply(list(documents), {}), ALICE)

    def test_whatever_the_usage_says_or_does_not(self):
        money = self.bucket(1, "CNY", usageType="monetary")
        for units in ("GB", "MB", "minutes", "SMS", "MIN", "GIB"):
            data = self.bucket(2, units)
            assert self.found(money, data).id == "B1", units
            assert self.found(data | {"usageType": "monetary"}, money).id == "B1", units
            with pytest.raises(reading.Unreadable, match="another line"):
                self.found(data)
        assert self.found(self.bucket(3, "CNY")).id == "B3"
        assert self.found(self.bucket(4, "CNY", usageType="data"), money).id == "B1"

    def test_and_two_of_it_are_one_too_many(self):
        with pytest.raises(reading.Unreadable, match="more than one"):
            self.found(self.bucket(1, "CNY"), self.bucket(2, "HKD"))


class TestTheLineOfAnOrder:
    def order(self, **more):
        document = {"id": "TOP-1", "status": "completed"} | more
        return reading.order_from(document, currency="CNY", reference_field="description")

    def test_is_checked_by_number_card_and_bucket(self):
        said = {
            "nothing": {},
            "our number": {"logicalResource": [{"id": "13812345678"}]},
            "our card": {"logicalResource": [{"id": ALICE.iccid}]},
            "our bucket": {"bucket": {"id": "B1"}},
            "another number": {"logicalResource": [{"id": "+8613900000000"}]},
            "another bucket": {"bucket": {"id": "B2"}},
            "our id, another number": {
                "logicalResource": [{"id": ALICE.msisdn, "value": "+8613900000000"}]
            },
        }
        believed = []
        for name, fields in said.items():
            try:
                outcomes.check_line(self.order(**fields), ALICE, "B1")
                believed.append(name)
            except reading.Unreadable:
                pass

        assert believed == ["nothing", "our number", "our card", "our bucket"]

    def test_a_reason_that_is_a_code_is_kept_whole_and_a_number_in_a_sentence_is_not(self):
        shown = {
            "1007001": "1007001",
            "1006001": "1006001",
            "linePortedOut": "linePortedOut",
            "ERR_203": "ERR_203",
            "13812345678": "****5678",
            "no credit to 13812345678": "no credit to ****5678",
            "89860012345678901234": "****1234",
        }

        assert {told: self.order(reason=told).reason for told in shown} == shown


class TestStorable:
    @given(st.text(st.characters(exclude_categories=())))  # lone surrogates among them
    def test_text_is_printable_and_bounded(self, text):
        stored = storable(text, 20)

        assert stored.isprintable()
        assert len(stored) <= 20
