"""Notices: told once, worded when read, reminded before a charge."""

import re
from datetime import UTC, date, datetime, time
from itertools import product
from typing import Any

import pytest
from django.db import transaction

from billing.models import Notice, NoticeDelivery, NoticeKind
from billing.notices import reminders, telling
from billing.notices.telling import Telling
from tests import world as w
from tests.billing import plans_world as p
from tests.billing.notices_world import FACTS, RUN_AT, deliveries, tell
from tests.billing.readers import LANGUAGES, teach_chinese
from tests.every import failing
from tests.factories.billing import PromotionFactory
from tests.world import DAY, HOUR, MINUTE, NOON


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


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

    @pytest.mark.parametrize("chosen", [None, [], ()])
    def test_goes_to_inbox_and_mail_where_its_owner_has_chosen_nothing(self, chosen):
        tell(channels=chosen)

        assert deliveries() == [("email", "waiting", 0)]

    def test_tells_many_in_two_statements(self, django_assert_num_queries):
        alice = w.person()
        many = [
            Telling(alice.pk, "recharged", f"R{n}", None, None, FACTS, ["inbox", "email"], NOON)
            for n in (1, 2, 2, 3)
        ]
        tell(occurrence_key="R3")

        with django_assert_num_queries(0):  # both go past Django's cursor: see rowsets.run
            assert telling.tell_many(many) == 2

        assert Notice.objects.count() == len(deliveries()) == 3

    def test_marks_ones_own_as_read_and_nobody_elses(self):
        tell()
        tell(owner=w.person("bob"))
        ids = list(Notice.objects.values_list("pk", flat=True))

        assert telling.mark_read(owner_id=w.person().pk, notice_ids=ids, at=NOON + HOUR) == 1
        assert telling.mark_read(owner_id=w.person().pk, notice_ids=ids, at=NOON + DAY) == 0

        read = Notice.objects.values_list("owner__name", "read_at")
        assert sorted(read, key=str) == [("alice", NOON + HOUR), ("bob", None)]


@pytest.mark.django_db
class TestWords:
    def test_are_whole_for_every_kind(self):
        mums, facts = w.line(), [FACTS, {}, {"face_minor": "x", "code": 7, "at": None}]

        def check(kind, has_line, which, language):
            line = mums if has_line else None
            notice = Notice(
                kind=kind, owner=mums.owner, line=line, facts=facts[which], created_at=NOON
            )

            said = telling.words(notice=notice, language=language)

            assert said.title
            assert not said.title.endswith((".", "。"))
            assert not re.search(r"[{}%!！]|None", said.title + said.body)
            assert said.body.endswith("." if language == "en" else "。")
            own = said.title + said.body
            if line is not None:
                own = own.replace(line.label, "")
            assert bool(re.search(r"[\u4e00-\u9fff]", own)) == (language == "zh-hans")
            assert not (language == "zh-hans" and re.search(r"[A-Za-z]{2,}", own))

        cases = product(NoticeKind.values, [True, False], range(len(facts)), LANGUAGES)
        assert failing(check, cases) == {}

    def test_of_a_kind_from_a_newer_release_are_still_words(self):
        notice = Notice(kind="brand_new", owner=w.person(), facts={}, created_at=NOON)

        assert telling.words(notice=notice, language="en") == telling.Words("Keepline", "Keepline")

    def test_say_amount_cause_and_result_of_a_recharge(self):
        line = w.line(msisdn="+8613800000021")
        notice = Notice(kind="recharged", owner=w.person(), line=line, facts=FACTS, created_at=NOON)

        assert telling.words(notice=notice, language="zh-hans") == telling.Words(
            "已充值 ¥50：妈妈的手机",
            "已通过支付宝扣款 ¥49.25，¥50 已充入妈妈的手机。"
            "原因是余额 ¥8.40 低于 ¥10。优惠为你节省 ¥0.75。优惠额外赠送 ¥1。",
        )
        assert telling.words(notice=notice, language="en").title == ("¥50 recharged: 妈妈的手机")

    def test_say_of_a_first_decline_that_nothing_was_taken_and_when_it_is_tried_again(self):
        line = w.line(msisdn="+8613800000021", label="Mum")
        notice = Notice(kind="retrying", owner=w.person(), line=line, facts=FACTS, created_at=NOON)

        assert telling.words(notice=notice, language="en") == telling.Words(
            "¥49.25 declined, will be tried again: Mum",
            "¥49.25 for Mum was declined through Alipay, and nothing was taken."
            " It will be tried again on Nov 29 at 09:00. See that the account has enough money,"
            " or choose another payment method in Keepline.",
        )

    def test_give_the_reason_of_a_recharge_that_did_not_happen(self):
        notice = Notice(
            kind="cap_reached", owner=w.person(), line=w.line(), facts=FACTS, created_at=NOON
        )

        said = telling.words(notice=notice, language="en")

        assert said.title.startswith("No recharge: monthly limit reached: ")
        assert said.body.startswith("The balance of ¥8.40 is below ¥10, but ¥120 of")

    @pytest.mark.parametrize(("is_on", "outlook"), [(True, "is on and acts"), (False, "is not on")])
    def test_say_of_a_low_balance_whether_it_will_be_recharged(self, is_on, outlook):
        facts = {key: FACTS[key] for key in ("balance_minor", "threshold_minor", "currency")}
        facts["is_on"] = is_on
        notice = Notice(kind="low_balance", owner=w.person(), facts=facts, created_at=NOON)

        assert outlook in telling.words(notice=notice, language="en").body

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

        body = telling.words(notice=notice, language="en").body

        assert ending in body
        assert body.startswith("The agreement with Alipay has ended;")

    def test_are_on_the_lines_clock_and_without_one_on_the_readers(self):
        owner = w.person(timezone="Europe/London")
        facts = {"rail": "alipay", "until": "2026-12-30T23:30:00+00:00"}
        notice = Notice(kind="binding_expiring", owner=owner, facts=facts, created_at=NOON)
        assert "on Dec 30." in telling.words(notice=notice, language="en").body

        notice.line = w.line(owner, timezone="Asia/Tokyo")
        assert "on Dec 31." in telling.words(notice=notice, language="en").body


# --- before a charge ----------------------------------------------------------------------------

# 09:00 in Shanghai, ten days from NOON.


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
    return reminders.upcoming_sweep(at=at, limit=10)


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
        assert telling.words(notice=notice, language="en").body.startswith("On Dec 2 at 09:00, ")

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

    def test_is_silent_where_the_payment_method_ends_before_the_charge(self):
        tool = w.binding(expires_at=NOON + 3 * DAY)
        plan = p.draft(line=w.line(tool.owner), binding=tool, anchor_date=date(2026, 11, 27))
        rule = p.confirm(plan)
        assert rule.notify_at is not None
        reminders.upcoming_sweep(at=rule.notify_at, limit=10)
        assert not Notice.objects.filter(kind="upcoming_charge").exists()

    def test_comes_where_the_payment_method_ends_just_after_it(self):
        rule = scheduled()
        type(rule.binding).objects.update(expires_at=RUN_AT + MINUTE)

        sweep(RUN_AT - 5 * DAY)

        assert keys() == [f"{rule.pk}:0:2026-12-02:5:5000"]

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
        PromotionFactory.create(fixed_minor=75, ends_at=NOON + 30 * DAY)

        sweep(RUN_AT - 5 * DAY)

        said = telling.words(notice=Notice.objects.get(), language="en")
        assert said.title.startswith("¥50 will be charged on Dec 2: ")
        assert "An offer takes ¥0.75 off, if it still holds then." in said.body

    def test_of_a_poisoned_rule_is_left_for_a_day_and_stops_no_other(self):
        poisoned, sound = scheduled(), scheduled()
        type(poisoned).objects.filter(pk=poisoned.pk).update(next_index=2_000_000)

        assert sweep(RUN_AT - 5 * DAY) == 2

        assert keys() == [f"{sound.pk}:0:2026-12-02:5:5000"]
        poisoned.refresh_from_db()
        assert poisoned.notify_at == RUN_AT - 4 * DAY

    def test_is_bounded(self):
        for _ in range(3):
            scheduled()

        assert reminders.upcoming_sweep(at=RUN_AT - 5 * DAY, limit=2) == 2
        assert Notice.objects.count() == 2


@pytest.mark.django_db
class TestTheMandatoryNotice:
    def sent(self, rule, days: int = 2) -> bool:
        rule.refresh_from_db()
        return reminders.mandatory_notice_sent(rule=rule, due_at=RUN_AT, days=days)

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
        assert not reminders.mandatory_notice_sent(rule=rule, due_at=RUN_AT + 31 * DAY, days=2)

    def test_is_sent_though_the_owner_wants_no_reminders(self):
        rule = scheduled(remind_days_before=[], channels=["inbox"])
        assert rule.notify_at is None
        w.rail(mandatory_notice_days=3)
        rule.binding.rail.refresh_from_db()

        assert reminders.next_at(rule, at=NOON) == RUN_AT - 3 * DAY
