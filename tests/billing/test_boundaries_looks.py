"""What is looked at just before something is done, at the edge of each answer."""

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from billing.gateways.base import Pending, Refused, Unknown
from billing.models import PaymentAttempt, Recharge, Rule
from billing.operators import attestations
from billing.operators.attestations import Found
from billing.payments import charging
from billing.recharges import claims, recipients
from billing.recharges.recipients import Recipient
from billing.rules import agreed, by_hand, deciding, gathering, openings, readings
from billing.rules.balances import Reading
from billing.states import Finding
from lines.models import Line, LineStatus
from tests import every
from tests import world as w
from tests.factories.billing import CaseFactory
from tests.factories.lines import BalanceReadingFactory

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture
def low(world):
    """Alice's line, below its threshold, its rule awake."""
    w.carrier(), w.rail(retry_ladder_s=[3600])
    w.rule(w.line(balance_minor=980), wake_at=world.at)
    return world


@pytest.fixture
def row(low) -> claims.Work:
    open_due(low)
    [row] = claims.claim(at=low.at, limit=10)
    return row


def open_due(world) -> None:
    openings.open_due(at=world.at, limit=10, capabilities=world.outside.capabilities)


def only() -> Recharge:
    return Recharge.objects.get()


class TestALine:
    def test_is_credited_only_while_it_is_what_was_agreed_on(self, row):
        paid = row._replace(charged_at=w.NOON)
        longest = recipients.GIVEN_UP_AFTER
        suspended = paid._replace(line_status=LineStatus.SUSPENDED)

        def check(of: claims.Work, ended: set[int], at: datetime, expected: Recipient) -> None:
            assert recipients.recipient(of, ended=ended, at=at) is expected

        cases = [
            (paid, set(), w.NOON, Recipient.THERE),
            (paid._replace(line_status=LineStatus.EXPIRED), set(), w.NOON, Recipient.THERE),
            (paid, {paid.line_id + 1}, w.NOON, Recipient.THERE),
            (paid, {paid.line_id}, w.NOON, Recipient.GONE),
            (paid._replace(line_generation=9), set(), w.NOON, Recipient.GONE),
            (paid._replace(line_owner_id=0), set(), w.NOON, Recipient.GONE),
            (suspended, set(), w.NOON + longest, Recipient.AWAY),
            (suspended, set(), w.NOON + longest + SECOND, Recipient.GONE),
            (suspended._replace(charged_at=None), set(), w.NOON, Recipient.AWAY),
            (paid._replace(line_status="terminated"), set(), w.NOON, Recipient.GONE),
        ]
        assert every.failing(check, cases) == {}

    def test_takes_no_second_recharge_while_one_is_under_way(self, low):
        low.carrier.script = ["lost before commit"]
        low.run()
        line, tool = Line.objects.get(), only().binding
        for state in ("delivery_unknown", "charged", "delivering"):
            Recharge.objects.update(state=state)
            assert by_hand.open_for(line=line) == only()
            with pytest.raises(by_hand.OpenRecharge):
                by_hand.recharge(
                    line=line,
                    binding=tool,
                    face_minor=3000,
                    owner=line.owner,
                    idempotency_key="1",
                    at=low.at,
                )
        assert Recharge.objects.count() == 1


class TestASlowRail:
    def test_waits_for_the_end_of_an_agreements_first_hours_and_no_longer(self, low, row):
        rail = replace(low.gateway.capabilities, no_delay_for=timedelta(hours=12))
        at, later = low.at, low.at + timedelta(hours=12)
        fresh = row._replace(binding_signed_at=at, due_at=later + SECOND)

        def check(of: claims.Work, expected: datetime | None) -> None:
            assert charging._slow_from(of, rail=rail, at=at) == expected

        cases = [
            (fresh, later),
            (fresh._replace(due_at=later - SECOND), later - SECOND),
            (fresh._replace(due_at=at + SECOND), at + SECOND),
            (fresh._replace(due_at=at), None),
            (fresh._replace(binding_signed_at=None), None),
            (fresh._replace(binding_signed_at=at - timedelta(hours=12)), None),
        ]
        assert every.failing(check, cases) == {}
        plain = replace(rail, no_delay_for=timedelta(0))
        assert charging._slow_from(fresh, rail=plain, at=at) is None


class TestOneOpenedByTheForecast:
    @pytest.mark.parametrize(("balance_minor", "because"), [(999, ""), (1000, agreed.NOT_LOW)])
    def test_is_let_be_where_the_line_lasts_after_all_and_is_not_low(
        self, low, row, monkeypatch, balance_minor, because
    ):
        lasts = {row.line_id: SimpleNamespace(runs_out_at=None)}
        monkeypatch.setattr(charging.gathering, "outlooks", lambda _ids, at: lasts)
        early = row._replace(is_early=True, balance_minor=balance_minor)
        assert charging._misfit(early, gateway=low.gateway, at=low.at) == because

    def test_never_runs_out_where_nobody_knows_when(self):
        lead = timedelta(days=2)
        early = w.NOON + lead + deciding.EARLY_MARGIN
        assert deciding.is_running_out(runs_out_at=None, lead=lead, at=w.NOON) is False
        assert deciding.is_running_out(runs_out_at=early, lead=lead, at=w.NOON) is True
        later = early + SECOND
        assert deciding.is_running_out(runs_out_at=later, lead=lead, at=w.NOON) is False
        assert deciding.is_running_out(runs_out_at=early, lead=lead * 0, at=w.NOON) is False


class TestAnOutlook:
    def test_is_made_of_readings_that_counted(self, world):
        line = w.line(balance_minor=1000)
        for days, minor in ((4, 1400), (3, 1300), (2, 1200), (1, 1100), (0, 1000)):
            at = world.at - timedelta(days=days)
            BalanceReadingFactory.create(line=line, balance_minor=minor, observed_at=at)
        [before] = gathering.outlooks([line.pk], at=world.at).values()
        odd = world.at - timedelta(hours=12)
        BalanceReadingFactory.create(line=line, balance_minor=1, observed_at=odd, is_applied=False)
        assert gathering.outlooks([line.pk], at=world.at) == {line.pk: before}
        assert before.per_day_minor == 100


class TestAFigure:
    @pytest.mark.parametrize(("balance_minor", "opened"), [(999, 1), (1000, 0)])
    def test_is_low_below_the_threshold_not_at_it(self, world, balance_minor, opened):
        w.rule(w.line(balance_minor=balance_minor), wake_at=world.at)
        open_due(world)
        assert Recharge.objects.count() == opened

    def test_that_is_fresh_is_not_asked_for(self, low):
        Line.objects.update(poll_at=low.at + w.DAY)
        open_due(low)
        assert Line.objects.get().poll_at == low.at + w.DAY

    def test_that_is_too_old_is_asked_for_at_once(self, low):
        old = low.at - timedelta(days=30)
        Line.objects.update(poll_at=low.at + w.DAY, balance_observed_at=old)
        open_due(low)
        assert Line.objects.get().poll_at == low.at
        assert not Recharge.objects.exists()

    def test_that_is_taken_has_nobody_hurry(self, low, monkeypatch):
        hurried: list[str] = []
        monkeypatch.setattr(readings.nudges, "slow", lambda: hurried.append("slow"))
        rule = Rule.objects.get()
        readings.push(reading=Reading(rule.line_id, 970, low.at), at=low.at)
        assert hurried == []


class TestAnAttempt:
    def test_keeps_the_rails_word_only_where_it_said_no(self, low):
        low.gateway.script = [Pending()]
        low.run()
        said = PaymentAttempt.objects.values_list("state", "code", "decline_class")
        assert said.get() == ("pending", "", "")

        Recharge.objects.update(act_at=low.at)
        low.gateway.script = [Refused("BUYER_BALANCE_NOT_ENOUGH")]
        low.run()
        assert said.get() == ("declined", "BUYER_BALANCE_NOT_ENOUGH", "soft")


class TestASettlement:
    def test_that_is_rejected_says_so_to_whoever_holds_it(self, low):
        low.gateway.script = [Unknown("timeout")]
        low.run()
        Recharge.objects.update(act_at=None)
        CaseFactory.create(recharge=only(), code="payment_unknown", since=low.at)
        said = attestations.request(
            recharge=only(),
            found=Found(Finding.NOTHING),
            reason="on its own pages",
            requested_by=w.person("oliver"),
            at=low.at,
        )
        attestations.reject(settlement=said, rejected_by=w.person("cora"), at=low.at)
        assert (said.state, said.settled_at) == ("rejected", low.at)
        assert (only().state, PaymentAttempt.objects.get().state) == ("payment_unknown", "unknown")
        w.assert_balanced()
