"""Declines in a row pause the instrument, whatever binding it has."""

import pytest

from billing.bindings import lifecycle
from billing.models import Binding, NoticeKind, Rule
from billing.recharges import aftermath
from tests import world as w
from tests.billing.bindings_world import ACTIVE, REVOKED, notices, pending, refresh
from tests.world import DAY, HOUR, MINUTE, NOON


@pytest.mark.django_db
class TestTheBreaker:
    def decline(self, binding, meaning="soft", at=NOON):
        lifecycle.record_decline(binding_id=binding.pk, decline_class=meaning, at=at)
        binding.refresh_from_db()
        return binding

    def test_pauses_at_the_third_soft_decline_in_a_row(self):
        rule = w.rule(wake_at=NOON + DAY)
        for n in (1, 2):
            assert self.decline(rule.binding).failures_in_a_row == n
        assert (rule.binding.paused_at, Rule.objects.get().paused_at) == (None, None)

        binding = self.decline(rule.binding)

        assert (binding.paused_at, binding.pause_reason) == (NOON, "breaker")
        assert not binding.is_usable
        rule.refresh_from_db()
        assert (rule.paused_at, rule.pause_reason, rule.wake_at) == (NOON, "breaker", None)
        assert rule.is_on
        [notice] = notices(NoticeKind.RULE_PAUSED)
        assert (notice.line, notice.facts) == (rule.line, {"code": "breaker", "rail": "alipay"})

    def test_is_reset_by_a_success(self):
        binding = w.binding()
        self.decline(binding)
        self.decline(binding)
        aftermath.paid(promoted_ids=[], binding_ids=[binding.pk])
        assert self.decline(binding).failures_in_a_row == 1
        assert binding.paused_at is None

    @pytest.mark.parametrize(
        ("meaning", "reason"), [("hard", "hard_decline"), ("auth", "needs_confirmation")]
    )
    def test_pauses_at_once_where_trying_again_cannot_help(self, meaning, reason):
        rule = w.rule()
        binding = self.decline(rule.binding, meaning)
        assert binding.pause_reason == reason
        assert Rule.objects.get().pause_reason == reason

    def test_asks_the_rail_after_a_hard_decline(self):
        binding = w.binding(check_at=NOON + DAY)
        assert self.decline(binding, "soft").check_at == NOON + DAY
        assert self.decline(binding, "hard").check_at == NOON

    @pytest.mark.parametrize("meaning", ["unknown", "config", "pending", "done"])
    def test_does_not_count_what_is_no_decline(self, meaning):
        binding = w.binding()
        for _ in range(5):
            self.decline(binding, meaning)
        assert (binding.failures_in_a_row, binding.paused_at) == (0, None)

    def test_knows_the_same_card_under_every_binding_and_owner(self):
        mine, again = w.binding(fingerprint="x"), w.binding(fingerprint="x")
        bobs = w.binding(w.person("bob"), fingerprint="x")
        other = w.binding(fingerprint="y")
        bobs_rule = w.rule(w.line(bobs.owner), binding=bobs)
        for binding in (mine, again, mine):
            self.decline(binding)
        paused = Binding.objects.filter(paused_at__isnull=False)
        assert set(paused) == {mine, again, bobs}
        assert Binding.objects.get(pk=other.pk).failures_in_a_row == 0
        [notice] = notices(NoticeKind.RULE_PAUSED)
        assert (notice.owner, notice.line) == (bobs.owner, bobs_rule.line)

    def test_never_takes_unknown_cards_for_the_same_one(self):
        one, two = w.binding(fingerprint=""), w.binding(fingerprint="")
        for _ in range(3):
            self.decline(one)
        two.refresh_from_db()
        assert (two.failures_in_a_row, two.paused_at) == (0, None)

    def test_tells_once_though_declines_go_on(self):
        rule = w.rule()
        for minutes in range(6):
            self.decline(rule.binding, at=NOON + minutes * MINUTE)
        assert len(notices(NoticeKind.RULE_PAUSED)) == 1
        assert rule.binding.paused_at == NOON + 2 * MINUTE

    def test_is_not_shaken_off_by_binding_the_same_card_again(self):
        old = w.binding(fingerprint="f" * 64)
        for _ in range(3):
            self.decline(old)
        refresh(old, REVOKED)
        new = refresh(pending(), ACTIVE)
        assert (new.state, new.pause_reason, new.is_usable) == ("active", "breaker", False)

    def test_carries_its_count_to_a_further_binding(self):
        old = w.binding(fingerprint="f" * 64)
        self.decline(old)
        self.decline(old)
        new = refresh(pending(), ACTIVE)
        assert (new.failures_in_a_row, new.paused_at) == (2, None)
        assert self.decline(new).pause_reason == "breaker"

    def test_lets_a_new_agreement_replace_a_dead_one(self):
        old = w.binding(fingerprint="f" * 64)
        self.decline(old, "hard")
        refresh(old, REVOKED)
        assert refresh(pending(), ACTIVE).is_usable

    def test_is_closed_by_its_owner(self):
        rule = w.rule()
        again = w.binding(fingerprint=rule.binding.fingerprint)
        for _ in range(3):
            self.decline(rule.binding)

        binding = lifecycle.resume(binding=rule.binding, actor=rule.line.owner, at=NOON + HOUR)

        assert (binding.paused_at, binding.pause_reason) == (None, "")
        assert (binding.failures_in_a_row, binding.is_usable) == (0, True)
        again.refresh_from_db()
        assert again.is_usable
        rule.refresh_from_db()
        assert (rule.paused_at, rule.pause_reason, rule.wake_at) == (None, "", NOON + HOUR)

    def test_is_closed_for_that_owner_alone_and_for_its_own_pauses(self):
        mine = w.rule(w.line(), paused=True, pause_reason="crashed")
        bobs = w.rule(
            w.line(w.person("bob")),
            binding=w.binding(w.person("bob"), fingerprint=mine.binding.fingerprint),
        )
        for _ in range(3):
            self.decline(mine.binding)
        lifecycle.resume(binding=mine.binding, actor=mine.line.owner, at=NOON)
        mine.refresh_from_db()
        bobs.refresh_from_db()
        assert (mine.pause_reason, bobs.pause_reason) == ("crashed", "breaker")
        assert not Binding.objects.get(pk=bobs.binding.pk).is_usable

    def test_turns_no_rule_on_when_closed(self):
        rule = w.rule(is_on=False)
        for _ in range(3):
            self.decline(rule.binding)
        lifecycle.resume(binding=rule.binding, actor=rule.line.owner, at=NOON)
        rule.refresh_from_db()
        assert (rule.is_on, rule.wake_at) == (False, None)
