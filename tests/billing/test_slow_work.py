"""Slow work drains as fast as what it touches allows, and what has a time on it comes first."""

import smtplib
from dataclasses import replace
from threading import Event

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django_q.models import OrmQ

from billing import tasks
from billing.engine import polling, sweeps
from billing.engine.sweeps import Found
from billing.models import Notice, NoticeDelivery, Rule
from billing.notices import sending
from lines.carriers.base import Balance, BalanceAnswer, Unknown
from lines.models import Line
from tests import world as w
from tests.billing.notices_world import tell
from tests.billing.test_notices import RUN_AT, scheduled

pytestmark = pytest.mark.django_db


class TestWhatIsDue:
    @pytest.fixture
    def at(self, monkeypatch):
        """Three reminders are due, and a step is one."""
        monkeypatch.setattr(sweeps, "REMINDERS", 1)
        for _ in range(3):
            scheduled()
        return RUN_AT - 5 * w.DAY

    def test_is_done_until_none_is_left(self, world, at):
        found = sweeps.drain(clock=lambda: at, outside=world.outside, budget_s=600)
        assert (found.notices - len(mail.outbox), found.is_more) == (3, False)
        assert Notice.objects.count() == 3
        assert not Rule.objects.filter(notify_at__lte=at).exists()

    def test_is_done_a_step_where_there_is_no_time_and_said_to_be_more(self, world, at):
        found = sweeps.drain(clock=lambda: at, outside=world.outside, budget_s=0)
        assert (Notice.objects.count(), found.is_more) == (1, True)

    def test_is_told_of_before_anybody_is_asked_anything(self, world, at, monkeypatch):
        told = []
        poll = polling.poll_balances

        def asking(**given):
            told.append(Notice.objects.count())
            return poll(**given)

        monkeypatch.setattr(polling, "poll_balances", asking)
        sweeps.drain(clock=lambda: at, outside=world.outside, budget_s=600)
        assert told[0] == 3

    def test_and_left_is_done_by_another_task(self, monkeypatch):
        for is_more, tasks_left in ((True, 1), (False, 0)):
            found = Found(is_more=is_more)
            monkeypatch.setattr(sweeps, "drain", lambda found=found, **_given: found)
            OrmQ.objects.all().delete()
            tasks.slow_tick()
            assert OrmQ.objects.filter(key="slow").count() == tasks_left


class TestACarrierThatHangs:
    def test_keeps_no_other_from_being_asked(self, world):
        """Its lines come first, and are more than one carrier's calls at once."""
        hanging, other = w.carrier("cmcc"), w.carrier("cucc")
        for _ in range(20):
            w.line(carrier=hanging, poll_at=world.at - w.MINUTE)
        mine = w.line(carrier=other, poll_at=world.at)
        asked, was_asked = Event(), []

        class Hanging:
            def balance(self, *, address):
                was_asked.append(asked.wait(timeout=10))
                return BalanceAnswer(Unknown("slow"))

        class Other:
            def balance(self, *, address):
                asked.set()
                return BalanceAnswer(Balance(980, "CNY", world.at, None, "active"))

        adapters = {hanging.pk: Hanging(), other.pk: Other()}
        outside = replace(world.outside, adapter_for=lambda carrier: adapters[carrier.pk])
        assert polling.poll_balances(at=world.at, outside=outside, limit=50) == 21
        assert was_asked == [True] * 20
        assert Line.objects.get(pk=mine.pk).balance_minor == 980


class Backend(BaseEmailBackend):
    """A mail server that ends a connection when it is told to."""

    opened, sent, ends = 0, 0, 0
    connection: object = None

    def open(self):
        if self.connection is not None:
            return False
        self.connection = object()
        Backend.opened += 1
        return True

    def close(self):
        self.connection = None

    def send_messages(self, messages):
        is_mine = bool(self.open())
        if Backend.ends:
            Backend.ends -= 1
            raise smtplib.SMTPServerDisconnected
        Backend.sent += len(messages)
        if is_mine:
            self.close()
        return len(messages)


class TestMails:
    @pytest.fixture(autouse=True)
    def _server(self, settings):
        settings.EMAIL_BACKEND = f"{__name__}.Backend"
        Backend.opened = Backend.sent = Backend.ends = 0
        line = w.line()
        for number in range(3):
            tell(line_id=line.pk, occurrence_key=f"G{number}:credited")

    def test_of_a_batch_share_a_connection(self):
        assert sending.send_due(at=w.NOON, limit=10) == 3
        assert (Backend.opened, Backend.sent) == (1, 3)

    def test_go_on_by_a_new_one_where_the_server_has_ended_it(self, monkeypatch):
        post = Backend.send_messages

        def ending_after_one(self, messages):
            if Backend.sent == 1 and Backend.opened == 1:
                Backend.ends = 1
            return post(self, messages)

        monkeypatch.setattr(Backend, "send_messages", ending_after_one)
        assert sending.send_due(at=w.NOON, limit=10) == 3
        assert (Backend.opened, Backend.sent) == (2, 3)
        assert set(NoticeDelivery.objects.values_list("state", flat=True)) == {"sent"}

    def test_wait_where_the_server_takes_none_at_all(self):
        Backend.ends = 99
        assert sending.send_due(at=w.NOON, limit=10) == 1
        assert Backend.sent == 0
        assert set(NoticeDelivery.objects.values_list("state", flat=True)) == {"waiting"}
