"""Notices: told once, worded when read, reminded before a charge, sent until it is certain."""

import re
import smtplib
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any

import pytest
from django.core import mail
from django.db import transaction

from billing import channels, notices, pages, reminders, wakes
from billing.channels import CannotSend
from billing.models import Notice, NoticeDelivery, NoticeKind, Promotion
from billing.notices import Telling
from tests import world as w
from tests.billing.readers import LANGUAGES, teach_chinese
from tests.world import DAY, HOUR, MINUTE, NOON

FACTS = {
    "balance_minor": 840,
    "effective_minor": 840,
    "threshold_minor": 1000,
    "face_minor": 5000,
    "price_minor": 4925,
    "amount_minor": 4925,
    "bonus_minor": 100,
    "cap_minor": 15000,
    "spent_minor": 12000,
    "currency": "CNY",
    "rail": "alipay",
    "trigger": "low_balance",
    "at": "2026-12-01T01:00:00+00:00",
    "until": "2026-11-29T01:00:00+00:00",
    "observed_at": "2026-11-22T03:56:00+00:00",
    "days": 7,
    "code": "cap_month",
    "is_on": True,
}


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


@pytest.fixture(autouse=True)
def _quick_passwords(settings):
    """Nobody signs in here, and a strong hash for each person would be most of the time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def post():
    """A channel in memory, registered as "post"; what it raises can be set."""

    class Post:
        raises: Exception | None = None

        def __init__(self):
            self.sent = []

        def send(self, *, message):
            if self.raises:
                raise self.raises
            self.sent.append(message)

    kept = dict(channels._CHANNELS)
    channel = Post()
    channels.register("post", channel)
    yield channel
    channels._CHANNELS.clear()
    channels._CHANNELS.update(kept)


def tell(owner=None, **more) -> bool:
    owner = owner or w.person()
    given: dict[str, Any] = {
        "owner_id": owner.pk,
        "kind": NoticeKind.RECHARGED,
        "occurrence_key": "R1:credited",
        "facts": FACTS,
        "channels": ["inbox", "email"],
        "at": NOON,
    }
    return notices.tell(**(given | more))


def deliveries() -> list[tuple[str, str, int]]:
    found = NoticeDelivery.objects.order_by("pk")
    return [(one.channel, one.state, one.tries) for one in found]


@pytest.mark.django_db
class TestTell:
    def test_writes_the_inbox_entry_and_a_delivery_for_each_other_channel(self):
        line = w.line()

        assert tell(line_id=line.pk) is True

        notice = Notice.objects.get()
        assert (notice.owner, notice.line, notice.kind) == (w.person(), line, "recharged")
        assert (notice.facts, notice.created_at, notice.read_at) == (FACTS, NOON, None)
        assert deliveries() == [("email", "waiting", 0)]
        assert notice.deliveries.get().act_at == NOON

    def test_says_a_thing_once(self):
        tell()

        assert tell(facts={"face_minor": 1}, at=NOON + DAY) is False
        assert Notice.objects.get().facts == FACTS
        assert deliveries() == [("email", "waiting", 0)]

    def test_keeps_persons_kinds_and_occurrences_apart(self):
        assert tell() is True
        assert tell(owner=w.person("bob")) is True
        assert tell(kind=NoticeKind.REFUNDED) is True
        assert tell(occurrence_key="R2:credited") is True
        assert Notice.objects.count() == 4

    def test_goes_with_the_transaction_it_belongs_to(self):
        with transaction.atomic():
            tell()
            transaction.set_rollback(True)

        assert Notice.objects.count() == NoticeDelivery.objects.count() == 0

    def test_needs_no_channel_but_the_inbox(self):
        tell(channels=["inbox"])

        assert (Notice.objects.count(), deliveries()) == (1, [])

    def test_tells_many_in_two_statements(self, django_assert_num_queries):
        alice = w.person()
        many = [
            Telling(alice.pk, "recharged", f"R{n}", None, None, FACTS, ["inbox", "email"], NOON)
            for n in (1, 2, 2, 3)
        ]
        tell(occurrence_key="R3")

        with django_assert_num_queries(0):  # both go past Django's cursor: see rowsets.run
            assert notices.tell_many(many) == 2

        assert Notice.objects.count() == len(deliveries()) == 3

    def test_marks_ones_own_as_read_and_nobody_elses(self):
        tell()
        tell(owner=w.person("bob"))
        ids = list(Notice.objects.values_list("pk", flat=True))

        assert notices.mark_read(owner_id=w.person().pk, notice_ids=ids, at=NOON + HOUR) == 1
        assert notices.mark_read(owner_id=w.person().pk, notice_ids=ids, at=NOON + DAY) == 0

        read = Notice.objects.values_list("owner__name", "read_at")
        assert sorted(read, key=str) == [("alice", NOON + HOUR), ("bob", None)]


@pytest.mark.django_db
class TestWords:
    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("facts", [FACTS, {}, {"face_minor": "x", "code": 7, "at": None}])
    @pytest.mark.parametrize("has_line", [True, False])
    @pytest.mark.parametrize("kind", NoticeKind.values)
    def test_are_whole_for_every_kind(self, kind, has_line, facts, language):
        line = w.line() if has_line else None
        notice = Notice(kind=kind, owner=w.person(), line=line, facts=facts, created_at=NOON)

        said = notices.words(notice=notice, language=language)

        assert said.title
        assert not said.title.endswith((".", "。"))
        assert not re.search(r"[{}%!！]|None", said.title + said.body)
        assert said.body.endswith("." if language == "en" else "。")
        own = said.title + said.body
        if line is not None:
            own = own.replace(line.label, "")
        assert bool(re.search(r"[\u4e00-\u9fff]", own)) == (language == "zh-hans")
        assert not (language == "zh-hans" and re.search(r"[A-Za-z]{2,}", own))

    def test_of_a_kind_from_a_newer_release_are_still_words(self):
        notice = Notice(kind="brand_new", owner=w.person(), facts={}, created_at=NOON)

        assert notices.words(notice=notice, language="en") == notices.Words("Keepline", "Keepline")

    def test_say_amount_cause_and_result_of_a_recharge(self):
        line = w.line(msisdn="+8613800000021")
        notice = Notice(kind="recharged", owner=w.person(), line=line, facts=FACTS, created_at=NOON)

        assert notices.words(notice=notice, language="zh-hans") == notices.Words(
            "已充值 ¥50：妈妈的手机",
            "已通过支付宝扣款 ¥49.25，¥50 已充入妈妈的手机。"
            "原因是余额 ¥8.40 低于 ¥10。优惠为你节省 ¥0.75。优惠额外赠送 ¥1。",
        )
        assert notices.words(notice=notice, language="en").title == ("¥50 recharged: 妈妈的手机")

    def test_say_of_a_first_decline_that_nothing_was_taken_and_when_it_is_tried_again(self):
        line = w.line(msisdn="+8613800000021", label="Mum")
        notice = Notice(kind="retrying", owner=w.person(), line=line, facts=FACTS, created_at=NOON)

        assert notices.words(notice=notice, language="en") == notices.Words(
            "¥49.25 declined, will be tried again: Mum",
            "¥49.25 for Mum was declined through Alipay, and nothing was taken."
            " It will be tried again on Nov 29 at 09:00. See that the account has enough money,"
            " or choose another payment method in Keepline.",
        )

    def test_give_the_reason_of_a_recharge_that_did_not_happen(self):
        notice = Notice(
            kind="cap_reached", owner=w.person(), line=w.line(), facts=FACTS, created_at=NOON
        )

        said = notices.words(notice=notice, language="en")

        assert said.title.startswith("No recharge: monthly limit reached: ")
        assert said.body.startswith("The balance of ¥8.40 is below ¥10, but ¥120 of")

    @pytest.mark.parametrize(("is_on", "outlook"), [(True, "is on and acts"), (False, "is not on")])
    def test_say_of_a_low_balance_whether_it_will_be_recharged(self, is_on, outlook):
        facts = {key: FACTS[key] for key in ("balance_minor", "threshold_minor", "currency")}
        facts["is_on"] = is_on
        notice = Notice(kind="low_balance", owner=w.person(), facts=facts, created_at=NOON)

        assert outlook in notices.words(notice=notice, language="en").body

    @pytest.mark.parametrize(
        ("rules", "ending"),
        [
            (0, "Choose another payment method in Keepline where one is needed."),
            (1, "Auto-recharge of 1 line has stopped."),
            (3, "Auto-recharge of 3 lines has stopped."),
        ],
    )
    def test_say_of_an_ended_agreement_what_stops_with_it(self, rules, ending):
        facts = {"rail": "alipay", "rules": rules}
        notice = Notice(kind="binding_ended", owner=w.person(), facts=facts, created_at=NOON)

        body = notices.words(notice=notice, language="en").body

        assert ending in body
        assert body.startswith("The agreement with Alipay has ended;")

    def test_are_on_the_lines_clock_and_without_one_on_the_readers(self):
        owner = w.person(timezone="Europe/London")
        facts = {"rail": "alipay", "until": "2026-12-30T23:30:00+00:00"}
        notice = Notice(kind="binding_expiring", owner=owner, facts=facts, created_at=NOON)
        assert "on Dec 30." in notices.words(notice=notice, language="en").body

        notice.line = w.line(owner, timezone="Asia/Tokyo")
        assert "on Dec 31." in notices.words(notice=notice, language="en").body


# --- before a charge ----------------------------------------------------------------------------

# 09:00 in Shanghai, ten days from NOON.
RUN_AT = datetime(2026, 12, 2, 1, 0, tzinfo=UTC)


def scheduled(**more):
    given: dict[str, Any] = {
        "cycle": "monthly",
        "anchor_date": date(2026, 12, 2),
        "charge_time": time(9),
        "next_index": 0,
        "next_run_at": RUN_AT,
        "threshold_minor": None,
        "channels": ["inbox", "email"],
    }
    rule = w.rule(w.line(), **(given | more))
    rule.notify_at = reminders.next_at(rule, at=NOON)
    rule.save()
    return rule


def sweep(at: datetime) -> int:
    return notices.upcoming_sweep(at=at, limit=10)


def keys() -> list[str]:
    return list(Notice.objects.order_by("pk").values_list("occurrence_key", flat=True))


@pytest.mark.django_db
class TestTheReminder:
    def test_comes_five_and_two_days_before_at_the_hour_of_the_charge(self):
        rule = scheduled()
        assert rule.notify_at == RUN_AT - 5 * DAY

        assert sweep(RUN_AT - 5 * DAY - MINUTE) == 0
        assert sweep(RUN_AT - 5 * DAY) == 1
        rule.refresh_from_db()
        assert rule.notify_at == RUN_AT - 2 * DAY
        assert sweep(RUN_AT - 2 * DAY) == 1

        assert keys() == [f"{rule.pk}:0:2026-12-02:5:5000", f"{rule.pk}:0:2026-12-02:2:5000"]
        assert [one.facts["days"] for one in Notice.objects.order_by("pk")] == [5, 2]
        assert deliveries() == [("email", "waiting", 0)] * 2

    def test_then_waits_for_the_charge_after_it_though_nobody_touches_the_rule(self):
        rule = scheduled()
        sweep(RUN_AT - 2 * DAY)
        rule.refresh_from_db()

        # 2 January, five days before: the executor has not written a thing.
        assert rule.notify_at == datetime(2026, 12, 28, 1, 0, tzinfo=UTC)

    def test_is_one_where_several_were_slept_through(self):
        rule = scheduled()

        sweep(RUN_AT - DAY)

        assert keys() == [f"{rule.pk}:0:2026-12-02:2:5000"]
        assert Notice.objects.get().facts["days"] == 1

    def test_says_no_number_of_days_on_the_day_itself(self):
        scheduled()

        sweep(RUN_AT - HOUR)

        notice = Notice.objects.get()
        assert "days" not in notice.facts
        assert notices.words(notice=notice, language="en").body.startswith("On Dec 2 at 09:00, ")

    def test_is_given_up_once_the_charge_is_due(self):
        scheduled()

        assert sweep(RUN_AT) == 1

        assert keys() == []

    @pytest.mark.parametrize(
        "more",
        [
            {"is_on": False},
            {"paused_at": NOON, "pause_reason": "breaker"},
            {"paused_until": RUN_AT + HOUR},
            {"skip_index": 0},
        ],
    )
    def test_is_silent_about_a_charge_that_will_not_be_made(self, more):
        rule = scheduled()
        type(rule).objects.filter(pk=rule.pk).update(**more)

        sweep(RUN_AT - 5 * DAY)

        assert keys() == []

    def test_is_silent_while_the_payment_method_cannot_pay(self):
        rule = scheduled()
        type(rule.binding).objects.filter(pk=rule.binding_id).update(state="revoked")

        sweep(RUN_AT - 5 * DAY)

        assert keys() == []

    def test_leaves_out_the_skipped_charge_and_comes_for_the_next(self):
        assert scheduled(skip_index=0).notify_at == datetime(2026, 12, 28, 1, 0, tzinfo=UTC)

    def test_comes_for_the_first_charge_after_a_pause(self):
        rule = scheduled(paused_until=datetime(2027, 3, 10, tzinfo=UTC))

        assert rule.notify_at == datetime(2027, 3, 28, 1, 0, tzinfo=UTC)

    def test_goes_on_being_looked_for_while_the_system_pauses_the_rule(self):
        assert scheduled(paused_at=NOON, pause_reason="breaker").notify_at is not None

    def test_of_a_higher_amount_is_told_anew(self):
        rule = scheduled()
        sweep(RUN_AT - 2 * DAY)
        type(rule).objects.update(face_minor=10_000, notify_at=RUN_AT - 2 * DAY)

        sweep(RUN_AT - 2 * DAY + HOUR)

        assert keys()[1:] == [f"{rule.pk}:0:2026-12-02:2:10000"]
        assert Notice.objects.latest("pk").facts["face_minor"] == 10_000

    def test_names_the_most_that_is_taken_and_the_offer_apart(self):
        scheduled()
        Promotion.objects.create(
            code="five",
            name="优惠",
            name_en="Offer",
            kind="discount",
            fixed_minor=75,
            starts_at=NOON,
            ends_at=NOON + 30 * DAY,
        )

        sweep(RUN_AT - 5 * DAY)

        said = notices.words(notice=Notice.objects.get(), language="en")
        assert said.title.startswith("¥50 will be charged on Dec 2: ")
        assert "An offer takes ¥0.75 off, if it still holds then." in said.body

    def test_of_a_poisoned_rule_is_left_for_a_day_and_stops_no_other(self):
        poisoned, sound = scheduled(), scheduled()
        type(poisoned.line).objects.filter(pk=poisoned.line_id).update(timezone="Nowhere/Land")

        assert sweep(RUN_AT - 5 * DAY) == 2

        assert keys() == [f"{sound.pk}:0:2026-12-02:5:5000"]
        poisoned.refresh_from_db()
        assert poisoned.notify_at == RUN_AT - 4 * DAY

    def test_is_bounded(self):
        for _ in range(3):
            scheduled()

        assert notices.upcoming_sweep(at=RUN_AT - 5 * DAY, limit=2) == 2
        assert Notice.objects.count() == 2


@pytest.mark.django_db
class TestTheMandatoryNotice:
    def sent(self, rule, days: int = 2) -> bool:
        rule.refresh_from_db()
        return notices.mandatory_notice_sent(rule=rule, due_at=RUN_AT, days=days)

    def test_counts_when_it_got_out_in_time(self):
        rule = scheduled()
        sweep(RUN_AT - 2 * DAY)
        NoticeDelivery.objects.update(state="sent")

        assert self.sent(rule)
        assert not self.sent(rule, days=3)

    def test_does_not_count_before_it_is_told(self):
        assert not self.sent(scheduled())

    @pytest.mark.parametrize("state", ["waiting", "failed"])
    def test_does_not_count_until_it_got_out(self, state):
        rule = scheduled()
        sweep(RUN_AT - 2 * DAY)
        NoticeDelivery.objects.update(state=state)

        assert not self.sent(rule)

    def test_counts_in_the_inbox_where_the_owner_wants_no_other(self):
        rule = scheduled(channels=["inbox"])
        sweep(RUN_AT - 2 * DAY)

        assert self.sent(rule)

    def test_does_not_count_for_a_higher_amount_or_another_day(self):
        rule = scheduled(channels=["inbox"])
        sweep(RUN_AT - 2 * DAY)

        type(rule).objects.update(face_minor=5001)
        assert not self.sent(rule)
        type(rule).objects.update(face_minor=4000)
        assert self.sent(rule)
        rule.refresh_from_db()
        assert not notices.mandatory_notice_sent(rule=rule, due_at=RUN_AT + 31 * DAY, days=2)

    def test_is_sent_though_the_owner_wants_no_reminders(self):
        rule = scheduled(remind_days_before=[], channels=["inbox"])
        assert rule.notify_at is None
        w.rail(mandatory_notice_days=3)
        rule.binding.rail.refresh_from_db()

        assert reminders.next_at(rule, at=NOON) == RUN_AT - 3 * DAY


# --- sending ------------------------------------------------------------------------------------


@pytest.mark.django_db
class TestSending:
    def test_mails_the_words_in_the_readers_language(self):
        line = w.line(w.person(language="en"), label="Mum", msisdn="+8613800000021")
        tell(line_id=line.pk)

        assert notices.send_due(at=NOON, limit=10) == 1

        (message,) = mail.outbox
        assert message.to == ["alice@example.com"]
        assert message.subject == "¥50 recharged: Mum"
        assert message.body.startswith("¥49.25 was taken through Alipay, and ¥50 has arrived")
        assert message.extra_headers["Message-ID"] == f"<notice-{Notice.objects.get().pk}@keepline>"
        delivery = NoticeDelivery.objects.get()
        assert (delivery.state, delivery.tries, delivery.sent_at) == ("sent", 1, NOON)
        assert (delivery.act_at, delivery.lease_until, delivery.error) == (None, None, "")

    def test_says_where_to_see_more_and_how_to_have_fewer(self):
        line = w.line(w.person(language="en"), label="Mum")
        tell(line_id=line.pk)

        page_of = partial(pages.of_notice, public_url="https://keepline.example")
        notices.send_due(at=NOON, limit=10, page_of=page_of)

        (message,) = mail.outbox
        assert message.body.endswith(
            f"\n\nSee it here: https://keepline.example/lines/{line.public_id}/\n\n"
            "Which messages are mailed is set in the auto-recharge of each line.\n"
        )

    def test_sends_once(self):
        tell()
        notices.send_due(at=NOON, limit=10)

        assert notices.send_due(at=NOON + DAY, limit=10) == 0
        assert len(mail.outbox) == 1

    def test_sends_nothing_before_its_time_or_beyond_its_limit(self):
        for number in range(3):
            tell(occurrence_key=str(number))

        assert notices.send_due(at=NOON - MINUTE, limit=10) == 0
        assert notices.send_due(at=NOON, limit=2) == 2
        assert len(mail.outbox) == 2

    def test_leaves_alone_what_another_worker_has_leased(self):
        tell()
        NoticeDelivery.objects.update(lease_until=NOON + MINUTE)

        assert notices.send_due(at=NOON, limit=10) == 0
        assert notices.send_due(at=NOON + 2 * MINUTE, limit=10) == 1

    def test_backs_off_further_each_time_and_gives_up_after_eight(self, post):
        post.raises = CannotSend("busy")
        tell(channels=["post"])
        at, waits = NOON, []

        for _ in range(8):
            assert notices.send_due(at=at, limit=10) == 1
            delivery = NoticeDelivery.objects.get()
            waits.append(delivery.act_at and (delivery.act_at - at) // MINUTE)
            at = delivery.act_at or at

        assert waits == [1, 5, 15, 60, 180, 360, 720, None]
        assert (delivery.state, delivery.tries, delivery.error) == ("failed", 8, "busy")
        assert notices.send_due(at=at + 30 * DAY, limit=10) == 0

    def test_gives_up_at_once_where_no_try_can_help(self):
        owner = w.person()
        owner.phone, owner.email = "+8613800000099", None
        owner.save()
        tell(owner)

        notices.send_due(at=NOON, limit=10)

        assert (deliveries(), mail.outbox) == ([("email", "failed", 1)], [])
        assert NoticeDelivery.objects.get().error == "no address on file"

    def test_gives_up_a_channel_that_nobody_has_registered(self):
        tell(channels=["pigeon"])

        notices.send_due(at=NOON, limit=10)

        assert deliveries() == [("pigeon", "failed", 1)]

    def test_stops_when_the_server_is_down_and_charges_the_others_no_try(self, post):
        post.raises = CannotSend("down", is_outage=True)
        for number in range(3):
            tell(occurrence_key=str(number), channels=["post"])

        assert notices.send_due(at=NOON, limit=10) == 1

        assert [tries for _, _, tries in deliveries()] == [1, 0, 0]
        assert NoticeDelivery.objects.filter(lease_until__isnull=False).count() == 0
        post.raises = None
        assert notices.send_due(at=NOON + MINUTE, limit=10) == 3
        assert len(post.sent) == 3

    def test_survives_a_message_that_breaks_its_channel(self, post):
        class Broken:
            def send(self, *, message):
                raise ValueError("broken")

        channels.register("broken", Broken())
        tell(channels=["broken", "post"])

        assert notices.send_due(at=NOON, limit=10) == 2

        assert sorted(deliveries()) == [("broken", "waiting", 1), ("post", "sent", 1)]

    def test_counts_a_try_even_if_the_worker_dies_in_it(self, post):
        post.raises = KeyboardInterrupt()
        tell(channels=["post"])

        with pytest.raises(KeyboardInterrupt):
            notices.send_due(at=NOON, limit=10)

        delivery = NoticeDelivery.objects.get()
        assert (delivery.state, delivery.tries) == ("waiting", 1)
        assert delivery.lease_until == NOON + notices.LEASE

    def test_keeps_a_line_break_in_a_lines_name_out_of_the_subject(self):
        line = w.line(label="Mum\r\nBcc: eve@example.com")
        tell(line_id=line.pk)

        notices.send_due(at=NOON, limit=10)

        assert "\n" not in mail.outbox[0].subject
        assert mail.outbox[0].recipients() == ["alice@example.com"]


class TestTheEmailChannel:
    MESSAGE = channels.Message(reference="notice-1", email="a@example.com", title="T", body="B")

    @pytest.mark.parametrize(
        ("raised", "is_outage", "reason"),
        [
            (ConnectionRefusedError("a@example.com"), True, "ConnectionRefusedError"),
            (TimeoutError(), True, "TimeoutError"),
            (smtplib.SMTPServerDisconnected("a@example.com"), True, "SMTPServerDisconnected"),
            (smtplib.SMTPAuthenticationError(535, b"no"), True, "SMTPAuthenticationError"),
            (smtplib.SMTPConnectError(421, b"no"), True, "SMTPConnectError"),
            (smtplib.SMTPDataError(552, b"a@example.com"), False, "SMTPDataError 552"),
            (
                smtplib.SMTPRecipientsRefused({"a@example.com": (550, b"")}),
                False,
                "address refused",
            ),
        ],
    )
    def test_tells_an_outage_from_a_refusal_and_repeats_no_address(
        self, monkeypatch, raised, is_outage, reason
    ):
        def send(*_args, **_more):
            raise raised

        monkeypatch.setattr(mail.EmailMessage, "send", send)

        with pytest.raises(CannotSend) as refusal:
            channels.get("email").send(message=self.MESSAGE)

        assert (str(refusal.value), refusal.value.is_outage) == (reason, is_outage)
        assert refusal.value.is_final is False

    def test_is_known_beside_the_inbox(self):
        assert [channels.is_known(name) for name in ("inbox", "email", "pigeon")] == [
            True,
            True,
            False,
        ]


# --- wakes --------------------------------------------------------------------------------------


def next_wake(**more):
    given: dict[str, Any] = {
        "next_run_at": None,
        "valid_until": None,
        "expiry_days_before": None,
        "expiry_fired_for": None,
        "timezone": "Asia/Shanghai",
        "paused_until": None,
        "at": NOON,
    }
    return wakes.next_wake(**(given | more))


class TestNextWake:
    EXPIRY = {"valid_until": NOON + 10 * DAY, "expiry_days_before": 3}

    def test_is_never_for_a_rule_that_only_waits_for_readings(self):
        assert next_wake() is None

    def test_is_the_earlier_of_schedule_and_expiry(self):
        assert next_wake(next_run_at=NOON + 8 * DAY, **self.EXPIRY) == NOON + 7 * DAY
        assert next_wake(next_run_at=NOON + 6 * DAY, **self.EXPIRY) == NOON + 6 * DAY

    def test_leaves_out_an_expiry_that_was_dealt_with(self):
        fired = {"expiry_fired_for": date(2026, 12, 2)}

        assert next_wake(**self.EXPIRY, **fired) is None
        assert next_wake(**self.EXPIRY, expiry_fired_for=date(2026, 12, 1)) == NOON + 7 * DAY

    def test_knows_an_expiry_by_its_local_date(self):
        late = {"valid_until": datetime(2026, 12, 1, 17, tzinfo=UTC), "expiry_days_before": 3}

        assert next_wake(**late, expiry_fired_for=date(2026, 12, 2)) is None
        assert next_wake(**late, expiry_fired_for=date(2026, 12, 2), timezone="UTC") is not None

    def test_is_now_or_earlier_for_what_is_due(self):
        assert next_wake(next_run_at=NOON - HOUR) == NOON - HOUR
        assert next_wake(valid_until=NOON + DAY, expiry_days_before=3) == NOON - 2 * DAY

    def test_of_a_paused_rule_is_its_schedule_or_the_end_of_the_pause(self):
        paused = {"paused_until": NOON + 5 * DAY}

        assert next_wake(**paused) == NOON + 5 * DAY
        assert next_wake(**paused, next_run_at=NOON + 2 * DAY) == NOON + 2 * DAY
        assert next_wake(**paused, next_run_at=NOON + 9 * DAY) == NOON + 5 * DAY
        assert next_wake(**paused, valid_until=NOON + DAY, expiry_days_before=3) == NOON + 5 * DAY

    def test_of_a_pause_that_is_over_is_as_if_there_were_none(self):
        assert next_wake(paused_until=NOON, next_run_at=NOON + DAY) == NOON + DAY


class TestNextNotice:
    def at(self, at: datetime, days=(5, 2), run_at=RUN_AT, timezone="Asia/Shanghai"):
        return wakes.next_notice(
            next_run_at=run_at, remind_days_before=days, at=at, timezone=timezone
        )

    def test_is_the_first_that_is_still_ahead(self):
        assert self.at(NOON) == RUN_AT - 5 * DAY
        assert self.at(RUN_AT - 5 * DAY) == RUN_AT - 2 * DAY
        assert self.at(RUN_AT - 2 * DAY) is None

    def test_is_none_without_a_charge_or_a_wish(self):
        assert self.at(NOON, run_at=None) is None
        assert self.at(NOON, days=()) is None

    @pytest.mark.parametrize(
        ("charge_hour", "told"),
        [
            (3, datetime(2026, 11, 29, 20, 0)),  # noqa: DTZ001 - the wall clock of the line
            (8, datetime(2026, 11, 30, 8, 0)),  # noqa: DTZ001
            (20, datetime(2026, 11, 30, 20, 0)),  # noqa: DTZ001
            (23, datetime(2026, 11, 30, 20, 0)),  # noqa: DTZ001
        ],
    )
    def test_wakes_nobody_and_is_never_too_late(self, charge_hour, told):
        run_at = datetime(2026, 12, 2, charge_hour, tzinfo=UTC)

        instant = wakes.reminder_at(run_at=run_at, days=2, timezone="UTC")

        assert instant.replace(tzinfo=None) == told

    def test_keeps_the_wall_clock_across_a_change_of_the_clocks(self):
        run_at = datetime(2026, 11, 2, 14, tzinfo=UTC)  # 09:00 in New York, after 1 November

        told = wakes.reminder_at(run_at=run_at, days=2, timezone="America/New_York")

        assert told == datetime(2026, 10, 31, 13, tzinfo=UTC)
