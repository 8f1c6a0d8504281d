"""A carrier's own system reports balances: each on its own, and a low one starts a recharge."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from billing.models import Rule
from lines.models import BalanceReading, Line
from portal.api.models import ApiClient
from tests import world
from tests.api.callers import Caller, integrator, with_token
from tests.api.conftest import Belongings


def item(of: Line, /, **more: Any) -> dict[str, Any]:
    given = {
        "line": of.public_id,
        "balance_minor": 1500,
        "currency": "CNY",
        "observed_at": "2026-11-22T12:30:00+08:00",
    }
    given |= more
    return {name: value for name, value in given.items() if value is not None}


class TestOneReading:
    @pytest.mark.parametrize("name", ["line", "msisdn", "iccid"])
    def test_finds_its_line_by(self, name: str, as_carrier: Caller, alice: Belongings) -> None:
        Line.objects.filter(pk=alice.line.pk).update(iccid="8944538532008160222")
        alice.line.refresh_from_db()
        value = alice.line.public_id if name == "line" else getattr(alice.line, name)
        answer = as_carrier.post("readings", item(alice.line, **{"line": None} | {name: value}))
        assert answer.status_code == 207
        assert answer.json() == {
            "applied": 1,
            "kept": 0,
            "refused": 0,
            "next_row": 1,
            "is_complete": True,
            "results": [{"index": 0, "result": "applied"}],
        }
        alice.line.refresh_from_db()
        assert alice.line.balance_minor == 1500
        assert alice.line.readings.get().source == "pushed"

    @pytest.mark.parametrize(
        "written", [{"msisdn": "138 0013 8000"}, {"iccid": "8944 5385 3200 8160 222F"}]
    )
    def test_finds_its_line_however_it_is_written(
        self, written: dict[str, str], as_carrier: Caller, alice: Belongings
    ) -> None:
        Line.objects.filter(pk=alice.line.pk).update(
            msisdn="+8613800138000", iccid="8944538532008160222"
        )
        answer = as_carrier.post("readings", item(alice.line, line=None, **written))
        assert answer.json()["applied"] == 1
        assert alice.line.readings.get().balance_minor == 1500

    def test_needs_no_key_and_takes_one(self, as_carrier: Caller, alice: Belongings) -> None:
        assert as_carrier.post("readings", item(alice.line), key=None).status_code == 207
        first, again = (
            as_carrier.post("readings", item(alice.line, sequence=7), key="k") for _ in range(2)
        )
        assert again["Idempotent-Replayed"] == "true"
        assert again.content == first.content
        assert alice.line.readings.count() == 2

    def test_older_than_the_last_is_kept_and_not_applied(
        self, as_carrier: Caller, alice: Belongings
    ) -> None:
        as_carrier.post("readings", item(alice.line))
        late = item(alice.line, balance_minor=1, observed_at="2026-11-22T12:29:59+08:00")
        assert as_carrier.post("readings", late).json()["results"] == [
            {"index": 0, "result": "kept"}
        ]
        alice.line.refresh_from_db()
        assert alice.line.balance_minor == 1500
        applied = alice.line.readings.order_by("pk").values_list("is_applied", flat=True)
        assert list(applied) == [True, False]

    def test_below_the_threshold_wakes_the_rule_and_nudges_the_executor(
        self, as_carrier: Caller, alice: Belongings
    ) -> None:
        Rule.objects.update(wake_at=None)
        OrmQ.objects.all().delete()
        as_carrier.post("readings", item(alice.line, balance_minor=999))
        rule = Rule.objects.get(line=alice.line)
        assert rule.wake_at is not None
        assert rule.wake_at <= timezone.now()
        assert [q.func() for q in OrmQ.objects.all()] == ["billing.tasks.tick"]

    def test_above_the_threshold_wakes_nothing(self, as_carrier: Caller, alice: Belongings) -> None:
        Rule.objects.update(wake_at=None)
        OrmQ.objects.all().delete()
        as_carrier.post("readings", item(alice.line, balance_minor=1000))
        assert Rule.objects.get(line=alice.line).wake_at is None
        assert not OrmQ.objects.exists()

    def test_may_be_negative(self, as_carrier: Caller, alice: Belongings) -> None:
        as_carrier.post("readings", item(alice.line, balance_minor=-250))
        alice.line.refresh_from_db()
        assert alice.line.balance_minor == -250


class TestAValidity:
    """Beside a balance, and never worth refusing it for."""

    def test_is_taken_in_every_form(self, as_carrier: Caller, alice: Belongings) -> None:
        end = datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC)
        forms: dict[Any, datetime | None] = {
            "2026-12-31T15:59:59Z": end,
            "2026-12-31": end,
            "soon": end,  # said nothing: what was known stays
            None: None,
            "2026-12-31T23:59:59": end,
            5: end,
            "9999-12-31T23:59:59Z": None,
            "2026-12-31T23:59:59+08:00": end,
            "9999-12-31T23:59:59-12:00": None,
        }
        known = {}
        for second, form in enumerate(forms):
            observed = f"2026-11-22T12:20:{second:02}+08:00"
            one = item(alice.line, observed_at=observed) | {"valid_until": form}
            [result] = as_carrier.post("readings", one).json()["results"]
            assert result["result"] == "applied", form
            alice.line.refresh_from_db()
            known[form] = alice.line.valid_until
        assert known == forms

    def test_that_is_not_sent_stays_as_it_was(self, as_carrier: Caller, alice: Belongings) -> None:
        end = datetime(2026, 12, 31, tzinfo=UTC)
        type(alice.line).objects.update(valid_until=end)
        as_carrier.post("readings", item(alice.line))
        alice.line.refresh_from_db()
        assert alice.line.valid_until == end


class TestRefusedReading:
    @pytest.mark.parametrize(
        ("more", "code", "field"),
        [
            ({"currency": "EUR"}, "currency_differs", "currency"),
            ({"line": None, "msisdn": "12345"}, "invalid", "msisdn"),
            ({"line": None, "iccid": "8944538532008160223"}, "invalid", "iccid"),
            ({"balance_minor": 15.5}, "invalid", "balance_minor"),
            ({"balance_minor": "1500"}, "invalid", "balance_minor"),
            ({"balance_minor": True}, "invalid", "balance_minor"),
            ({"balance_minor": 10**13}, "invalid", "balance_minor"),
            ({"balance_minor": None}, "invalid", "balance_minor"),
            ({"observed_at": "2026-11-22T12:30:00"}, "invalid", "observed_at"),
            ({"observed_at": "2026-11-22"}, "invalid", "observed_at"),
            ({"observed_at": "0001-01-01T00:00:00+14:00"}, "invalid", "observed_at"),
            ({"observed_at": "2090-01-01T00:00:00Z"}, "from_the_future", "observed_at"),
            ({"sequence": 2**63}, "invalid", "sequence"),
            ({"balance": 1500}, "invalid", "balance"),
            ({"line": "01M82HCSNS8D7SWNTZFD8SAKRP"}, "unknown_line", "line"),
        ],
    )
    def test_says_why_at_its_field_and_keeps_nothing(
        self, more: Any, code: str, field: str, as_carrier: Caller, alice: Belongings
    ) -> None:
        [result] = as_carrier.post("readings", item(alice.line, **more)).json()["results"]
        assert (result["result"], result["code"]) == ("refused", code)
        assert list(result["errors"]) == [field]
        assert not BalanceReading.objects.exists()

    def test_that_names_its_line_twice_or_never_is_not_guessed(
        self, as_carrier: Caller, alice: Belongings
    ) -> None:
        for more in ({"line": None}, {"msisdn": alice.line.msisdn}):
            [result] = as_carrier.post("readings", item(alice.line, **more)).json()["results"]
            assert result["result"] == "refused"
        assert not BalanceReading.objects.exists()

    @pytest.mark.parametrize("status", ["unverified", "removed", "ported_out", "terminated"])
    def test_of_a_line_that_is_not_proven_finds_none(
        self, status: str, as_carrier: Caller, alice: Belongings
    ) -> None:
        """An unproven line is only somebody's claim to a number."""
        Line.objects.filter(pk=alice.line.pk).update(status=status)
        for more in ({}, {"line": None, "msisdn": alice.line.msisdn}):
            [result] = as_carrier.post("readings", item(alice.line, **more)).json()["results"]
            assert result["code"] == "unknown_line"
        assert not BalanceReading.objects.exists()


class TestBatch:
    def test_answers_each_in_order_and_one_bad_one_keeps_no_other_out(
        self, as_carrier: Caller, alice: Belongings, bob: Belongings
    ) -> None:
        items = [item(alice.line), {"nonsense": 1}, item(bob.line, balance_minor=77), 5, None]
        answer = as_carrier.post("readings", items).json()
        assert [one["index"] for one in answer["results"]] == [0, 1, 2, 3, 4]
        assert [one["result"] for one in answer["results"]] == [
            "applied",
            "refused",
            "applied",
            "refused",
            "refused",
        ]
        assert (answer["applied"], answer["kept"], answer["refused"]) == (2, 0, 3)
        assert answer["results"][3]["detail"] == answer["results"][4]["detail"]
        bob.line.refresh_from_db()
        assert bob.line.balance_minor == 77

    def test_of_10000_is_taken_and_of_10001_is_not(
        self, as_carrier: Caller, alice: Belongings
    ) -> None:
        unknown = item(alice.line, line="01M82HCSNS8D7SWNTZFD8SAKRP")
        assert as_carrier.post("readings", [unknown] * 10_000).json()["refused"] == 10_000
        answer = as_carrier.post("readings", [item(alice.line)] * 10_001)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert as_carrier.post("readings", []).status_code == 400
        assert not BalanceReading.objects.exists()

    def test_looks_its_lines_up_together(
        self, as_carrier: Caller, alice: Belongings, django_assert_max_num_queries: Any
    ) -> None:
        unknown = [item(alice.line, line="01M82HCSNS8D7SWNTZFD8SAKRP")] * 100
        with django_assert_max_num_queries(8):
            as_carrier.post("readings", unknown, key=None)


class TestWhoMayPush:
    def test_not_a_token_whose_owner_lost_the_permission(self, alice: Belongings) -> None:
        bss = world.person("bss")
        caller = integrator(bss, world.carrier())
        bss.user_permissions.clear()
        assert caller.post("readings", item(alice.line)).status_code == 403
        assert not BalanceReading.objects.exists()

    def test_not_a_token_without_the_scope(self, alice: Belongings) -> None:
        bss = world.person("bss")
        integrator(bss, world.carrier())  # gives the permission
        caller = with_token(bss, carrier=world.carrier())
        assert caller.post("readings", item(alice.line)).status_code == 403

    def test_not_a_revoked_token(self, alice: Belongings) -> None:
        caller = integrator(world.person("bss"), world.carrier())
        ApiClient.objects.update(revoked_at=timezone.now() - timedelta(seconds=1))
        assert caller.post("readings", item(alice.line)).status_code == 401

    def test_nobody_by_a_session(self, alice: Belongings) -> None:
        bss = world.person("bss")
        integrator(bss, world.carrier())
        assert Caller(user=bss).post("readings", item(alice.line)).status_code == 403
        assert not BalanceReading.objects.exists()
