"""Setting up auto-recharge in steps: nothing typed is lost, and only the last page turns it on."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.urls import reverse

from billing import gateways
from billing.models import Consent, Rule
from billing.plans import contract, drafts
from billing.plans.drafts import Draft
from lines.models import Line
from portal.forms import setup as forms
from tests.factories.billing import PaymentAttemptFactory, RechargeFactory
from tests.portal import people

AMOUNT = {"face": "5000", "cycle": "none", "anchor_date": "", "charge_time": "09:00"}
LOW = {"threshold": "10", "topup_mode": "by", "target": "", "expiry_days_before": ""}
LIMITS = {
    "max_per_charge": "50",
    "max_per_day": "1",
    "max_per_month": "150",
    "remind_low_balance": "on",
    "remind_days": ["5", "2"],
    "remind_result": "on",
}


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def dora(db, now):
    """Dora has a verified line and a payment method, and no plan yet."""
    dora = people.person("Dora")
    people.binding(dora, at=now)
    people.line(dora, at=now)
    return dora


@pytest.fixture
def line(dora):
    return dora.lines.get()


@pytest.fixture
def client(dora, as_user):
    return as_user(dora)


def at(name: str, line) -> str:
    return reverse(f"portal:setup-{name}", args=[line.public_id])


def walk(client, line, **changes):
    """Every step but the last, with what is usual or what `changes` says."""
    tool = {"binding": line.owner.bindings.first().ref}
    steps = {"tool": tool, "amount": AMOUNT, "low": LOW, "limits": LIMITS}
    for name, form in steps.items():
        response = client.post(at(name, line), form | changes.get(name, {}))
    return response


def seen(page) -> str:
    [mark] = re.findall(r'name="seen" value="(\w+)"', page.content.decode())
    return str(mark)


def agree(client, line):
    mark = seen(client.get(at("review", line)))
    return client.post(at("review", line), {"seen": mark})


class TestTheWholeWay:
    def test_turns_the_rule_on_with_the_words_agreed_to(self, client, line):
        walk(client, line)
        words = client.get(at("review", line)).content.decode()
        done = agree(client, line)
        assert done.headers["Location"] == at("done", line)
        rule = Rule.objects.get()
        assert (rule.is_on, rule.face_minor, rule.threshold_minor) == (True, 5000, 1000)
        assert rule.max_per_month_minor == 15_000
        consent = Consent.objects.get()
        assert consent.text in words
        assert consent.ip == "127.0.0.1"
        assert "Set: auto-recharge is on" in client.get(at("done", line)).content.decode()

    def test_goes_from_step_to_step(self, client, line):
        tool = {"binding": line.owner.bindings.get().ref}
        ways = [("tool", tool, "amount"), ("amount", AMOUNT, "low"), ("low", LOW, "limits")]
        for name, form, following in ways:
            assert client.post(at(name, line), form).headers["Location"] == at(following, line)
        last = client.post(at("limits", line), LIMITS)
        assert last.headers["Location"] == at("review", line)

    def test_charges_nothing_and_turns_nothing_on_before_the_end(self, client, line):
        walk(client, line)
        client.get(at("review", line))
        assert not Rule.objects.exists()
        assert not Consent.objects.exists()

    def test_shows_twelve_dates_with_the_short_months_marked(self, client, line, now):
        start = (now + timedelta(days=20)).date().replace(day=1) + timedelta(days=61)
        first = start.replace(day=31 if start.month in (1, 3, 5, 7, 8, 10, 12) else 30)
        walk(client, line, amount={"cycle": "monthly", "anchor_date": first.isoformat()})
        text = client.get(at("review", line)).content.decode()
        assert text.count('<li class="tile') == 12
        assert 'class="tile adjusted"' in text
        assert "¥150 at most" in text

    def test_pressed_twice_agrees_once(self, client, line):
        walk(client, line)
        mark = seen(client.get(at("review", line)))
        for _press in range(2):
            done = client.post(at("review", line), {"seen": mark})
        assert done.headers["Location"] == at("done", line)
        assert Consent.objects.count() == 1

    def test_says_before_that_a_low_line_is_charged_at_once(self, client, line):
        line.balance_minor = 500
        line.save()
        walk(client, line)
        text = client.get(at("review", line)).content.decode()
        assert "¥50.00 is charged as soon as you confirm" in text


class TestWhatIsTyped:
    def test_wrongly_is_kept_and_said_at_its_field(self, client, line):
        form = LOW | {"threshold": "ten yuan", "expiry_days_before": "3"}
        text = client.post(at("low", line), form).content.decode()
        assert 'value="ten yuan"' in text
        assert '<option value="3" selected>' in text
        assert "Write the amount in figures" in text
        assert 'href="#id_threshold"' in text
        assert 'aria-describedby="id_threshold_helptext id_threshold_error"' in text

    def test_in_one_step_is_there_when_coming_back(self, client, line):
        walk(client, line, limits={"max_per_month": "300"})
        assert 'value="300"' in client.get(at("limits", line)).content.decode()
        assert 'value="10"' in client.get(at("low", line)).content.decode()

    @pytest.mark.parametrize(
        ("step", "change", "sentence"),
        [
            ("amount", {"face": "7777"}, "The carrier does not sell that."),
            ("amount", {"cycle": "monthly", "anchor_date": ""}, "Choose the day of the first"),
            ("amount", {"cycle": "monthly", "anchor_date": "2020-01-31"}, "today or a later"),
            ("low", {"topup_mode": "to", "target": "10"}, "Enter a balance above"),
            ("low", {"topup_mode": "to", "target": ""}, "Enter the balance to top up to."),
            ("low", {"threshold": "-5"}, "cannot be negative"),
            ("limits", {"max_per_month": "30"}, "month"),
            ("limits", {"max_per_charge": "20"}, "charge"),
            ("limits", {"max_per_day": "x"}, "Write a whole number"),
            ("limits", {"max_per_month": "9" * 40}, "30"),
        ],
    )
    def test_that_cannot_be_is_refused_in_its_own_step(self, client, line, step, change, sentence):
        walk(client, line)
        usual = {"amount": AMOUNT, "low": LOW, "limits": LIMITS}[step]
        response = client.post(at(step, line), usual | change)
        text = response.content.decode()
        assert response.status_code == 200
        assert 'class="error"' in text
        assert sentence in text
        assert not Rule.objects.exists()

    def test_on_a_day_the_rail_cannot_do_is_offered_others(self, client, line, rail, now):
        rail.capabilities = people.gateway(last_day_of_month=28).capabilities
        day = date(now.year + 1, 3, 29).isoformat()
        tool = {"binding": line.owner.bindings.get().ref}
        client.post(at("tool", line), tool)
        form = AMOUNT | {"cycle": "monthly", "anchor_date": day}
        text = client.post(at("amount", line), form).content.decode()
        assert "28" in text
        assert "not possible with Alipay" in text
        assert f'value="{day}"' in text

    def test_lets_the_limits_offered_follow_the_amount_until_they_are_touched(self, client, line):
        client.post(at("tool", line), {"binding": line.owner.bindings.get().ref})
        client.post(at("amount", line), AMOUNT | {"face": "20000"})
        text = client.get(at("limits", line)).content.decode()
        assert ('value="200"' in text, 'value="600"' in text) == (True, True)
        client.post(at("limits", line), LIMITS | {"max_per_charge": "250", "max_per_month": "900"})
        client.post(at("amount", line), AMOUNT | {"face": "5000"})
        assert 'value="250"' in client.get(at("limits", line)).content.decode()

    def test_half_way_does_not_reach_the_review(self, client, line):
        client.post(at("low", line), LOW | {"threshold": "x"})
        response = client.get(at("review", line))
        assert response.headers["Location"] == at("low", line)


class TestAgreeing:
    def test_to_a_page_that_is_no_longer_true_asks_again(self, client, line):
        walk(client, line)
        mark = seen(client.get(at("review", line)))
        client.post(at("limits", line), LIMITS | {"max_per_month": "300"})
        response = client.post(at("review", line), {"seen": mark}, follow=True)
        assert "Something changed meanwhile" in response.content.decode()
        assert not Rule.objects.filter(is_on=True).exists()

    def test_without_having_seen_the_page_changes_nothing(self, client, line):
        walk(client, line)
        client.post(at("review", line), {})
        assert not Rule.objects.exists()

    def test_needs_a_payment_method(self, client, line):
        line.owner.bindings.update(state="revoked", is_default=False)
        assert "First bind a payment method" in client.get(at("tool", line)).content.decode()
        assert client.get(at("review", line)).status_code == 302

    def test_is_not_possible_for_a_line_that_is_not_verified(self, client, line):
        line.status = "unverified"
        line.save()
        response = client.post(at("tool", line), {"binding": "x"}, follow=True)
        assert "Verify this line first" in response.content.decode()


class TestARunningPlan:
    def test_goes_on_as_agreed_until_the_change_is_confirmed(self, client, line):
        walk(client, line)
        agree(client, line)
        walk(client, line, amount={"face": "3000"})
        assert Rule.objects.get().face_minor == 5000
        agree(client, line)
        rule = Rule.objects.get()
        assert (rule.face_minor, rule.is_on) == (3000, True)
        assert Consent.objects.count() == 2

    def test_is_offered_as_it_stands_when_it_is_changed(self, client, line):
        walk(client, line, low={"threshold": "12.50"})
        agree(client, line)
        assert 'value="12.50"' in client.get(at("low", line)).content.decode()

    def test_is_changed_part_by_part_from_the_whole(self, client, line):
        walk(client, line)
        agree(client, line)
        whole = client.get(at("review", line))
        begun = client.get(reverse("portal:setup", args=[line.public_id]))
        assert begun.headers["Location"] == at("review", line)
        part = f"{at('amount', line)}?review=1"
        assert part in whole.content.decode()
        shown = client.get(part).content.decode()
        assert "Back to the whole plan" in shown
        typed = {"face": "3000", "cycle": "none", "charge_time": "09:00"}
        assert client.post(part, typed).headers["Location"] == at("review", line)
        assert Rule.objects.get().face_minor == 5000  # not before it is agreed to

    def test_is_skipped_paused_resumed_and_stopped(self, client, line, now):
        day = (now + timedelta(days=10)).date().isoformat()
        walk(client, line, amount={"cycle": "monthly", "anchor_date": day})
        agree(client, line)
        act = lambda name, **form: client.post(  # noqa: E731
            reverse(f"portal:{name}", args=[line.public_id]), form, follow=True
        ).content.decode()
        assert "is skipped" in act("skip", seen="0")
        assert Rule.objects.get().skip_index == 0
        act("unskip")
        assert Rule.objects.get().skip_index is None
        until = (now + timedelta(days=5)).date()
        assert "Paused until" in act("pause", until=until.isoformat())
        assert "Paused until" in client.get("/").content.decode()
        act("resume")
        assert Rule.objects.get().paused_until is None
        assert "Auto-recharge is off" in act("stop")
        assert not Rule.objects.get().is_on

    def test_skips_the_charge_that_was_seen_and_no_other(self, client, line, now):
        day = (now + timedelta(days=10)).date().isoformat()
        walk(client, line, amount={"cycle": "monthly", "anchor_date": day})
        agree(client, line)
        target = reverse("portal:skip", args=[line.public_id])
        text = client.post(target, {"seen": "7"}, follow=True).content.decode()
        assert "another one by now" in text
        assert Rule.objects.get().skip_index is None

    @pytest.mark.parametrize("until", ["", "yesterday", "2020-01-01", "2199-01-01"])
    def test_is_not_paused_until_a_day_that_makes_no_sense(self, client, line, until):
        walk(client, line)
        agree(client, line)
        target = reverse("portal:pause", args=[line.public_id])
        text = client.post(target, {"until": until}).content.decode()
        assert 'class="error"' in text
        assert Rule.objects.get().paused_until is None

    def test_names_what_stops_before_it_is_stopped(self, client, line):
        walk(client, line)
        agree(client, line)
        text = client.get(reverse("portal:stop", args=[line.public_id])).content.decode()
        assert "¥50 when below ¥10" in text
        assert Rule.objects.get().is_on


def selected(page, name: str) -> list[str]:
    """What stands in the choice `name` of a page."""
    [choice] = re.findall(rf'<select[^>]*name="{name}".*?</select>', page.content.decode(), re.S)
    return re.findall(r'<option value="([^"]*)" selected', choice)


def ticked(page, name: str) -> list[str]:
    return re.findall(
        rf'<input[^>]*name="{name}"[^>]*value="(\d+)"[^>]*checked', page.content.decode()
    )


class TestAPlanMadeElsewhere:
    """Over REST, on terms that these pages do not offer: they are shown, and kept."""

    @pytest.fixture
    def rule(self, line, now) -> Rule:
        return self.made(line, now)

    def made(self, line, now, **more) -> Rule:
        given = {
            "line": line, "binding": line.owner.bindings.first(), "face_minor": 5000,
            "cycle": "monthly", "anchor_date": (now + timedelta(days=60)).date().replace(day=15),
            "charge_time": time(9, 30), "threshold_minor": 1000, "expiry_days_before": 45,
            "max_per_charge_minor": 10_000, "max_per_month_minor": 30_000, "max_per_day_count": 7,
            "remind_days_before": (14, 10, 4), "remind_result": False, "channels": ("email",),
        }  # fmt: skip
        rail = gateways.capabilities("alipay")
        rule = contract.save_draft(draft=Draft(**given | more), capabilities=rail, at=now)
        return contract.confirm(
            rule=rule, owner=line.owner, seen_version=rule.version, capabilities=rail,
            language="en", ip=None, user_agent="", at=now,
        )  # fmt: skip

    def test_is_shown_as_it_stands(self, client, line, rule):
        amount, low, limits = (client.get(at(name, line)) for name in ("amount", "low", "limits"))
        assert selected(amount, "charge_time") == ["09:30"]
        assert selected(low, "expiry_days_before") == ["45"]
        assert ticked(limits, "remind_days") == ["4", "10", "14"]

    def test_keeps_what_was_not_touched(self, client, line, rule):
        before = drafts.of(rule)
        url = at("amount", line) + "?review=1"
        client.post(url, {
            "face": "10000", "cycle": "monthly", "anchor_date": rule.anchor_date.isoformat(),
            "charge_time": selected(client.get(url), "charge_time")[0],
        })  # fmt: skip
        assert agree(client, line).headers["Location"] == at("done", line)
        after = drafts.of(Rule.objects.get())
        assert after == replace(before, face_minor=10_000)

    def test_is_agreed_to_again_unchanged(self, client, line, rule):
        before = drafts.of(rule)
        agree(client, line)
        assert drafts.of(Rule.objects.get()) == before
        assert Consent.objects.count() == 2

    def test_keeps_other_channels_when_mail_is_switched(self, client, line, rule):
        form = {name: value for name, value in forms.values_of(rule)["limits"].items() if value}
        del form["by_email"]
        for more, channels in (({}, ["inbox"]), ({"by_email": "on"}, ["inbox", "email"])):
            client.post(at("limits", line), form | more)
            agree(client, line)
            assert Rule.objects.get().channels == channels

    def test_keeps_its_idle_day_where_it_has_no_schedule(self, client, line, now):
        rule = self.made(line, now, cycle="none")
        agree(client, line)
        assert Rule.objects.get().anchor_date == rule.anchor_date is not None

    def test_has_a_resting_second_method_named_and_not_dropped(self, client, line, now):
        second = people.binding(line.owner, at=now, label="second", is_default=False)
        self.made(line, now, fallback_binding=second)
        second.paused_at, second.pause_reason = now, "breaker"
        second.save()
        assert selected(client.get(at("tool", line)), "fallback") == [second.ref]
        text = client.get(at("review", line)).content.decode()
        assert "This payment method rests after declined payments." in text
        assert Rule.objects.get().fallback_binding == second

    def test_is_not_undone_by_what_was_typed_before_it_was_changed(self, client, line, rule, now):
        client.post(at("low", line), LOW | {"threshold": "20", "expiry_days_before": "45"})
        changed = replace(drafts.of(rule), charge_time=time(10, 15), remind_days_before=(13,))
        rail = gateways.capabilities("alipay")
        contract.confirm(
            rule=rule, owner=line.owner, seen_version=rule.version, capabilities=rail,
            language="en", ip=None, user_agent="", at=now, draft=changed,
        )  # fmt: skip
        agree(client, line)
        assert drafts.of(Rule.objects.get()) == replace(changed, threshold_minor=2000)

    @pytest.mark.parametrize("hour", ["24:00", "9:30", "09:60", "noon", ""])
    def test_is_not_given_an_hour_that_there_is_not(self, client, line, rule, hour):
        response = client.post(at("amount", line), AMOUNT | {"charge_time": hour})
        assert 'class="error"' in response.content.decode()
        assert Rule.objects.get().charge_time == time(9, 30)

    @pytest.mark.parametrize("days", ["0", "15", "-1", "x", "٣"])
    def test_is_not_given_days_that_no_plan_has(self, client, line, rule, days):
        response = client.post(at("limits", line), LIMITS | {"remind_days": [days]})
        assert 'class="error"' in response.content.decode()
        assert Rule.objects.get().remind_days_before == [14, 10, 4]


class TestWhatIsUnderWay:
    @pytest.fixture
    def waiting(self, client, line, now):
        """Declined, and to be tried again."""
        walk(client, line)
        agree(client, line)
        Line.objects.filter(pk=line.pk).update(balance_minor=900)  # low still
        rule = Rule.objects.get()
        return RechargeFactory.create(rule=rule, declined=True, at=now, period_key="e1")

    def test_is_named_with_what_the_change_makes_of_it(self, client, line, waiting):
        def said(**changes):
            walk(client, line, **changes)
            return client.get(at("review", line)).content.decode()

        assert "A charge of ¥50 is under way. It fits this plan, and goes on." in said()
        text = said(low={"threshold": "", "expiry_days_before": "5"})
        assert "A charge of ¥50 is under way and not made yet. With this plan it ends" in text

    def test_must_be_read_again_where_it_has_been_sent_meanwhile(self, client, line, waiting):
        walk(client, line)
        mark = seen(client.get(at("review", line)))
        PaymentAttemptFactory.create(recharge=waiting)
        page = client.post(at("review", line), {"seen": mark}, follow=True).content.decode()
        assert "A charge of ¥50 has been sent already." in page
        assert Rule.objects.get().version == 2
