"""What operators may mend: checked at the field, written alone, kept in the log."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from billing import rates
from billing.models import DeclineCode, Promotion, Rail, Rate
from lines.models import Carrier
from portal.accounts.models import User
from tests import world as w
from tests.admin.conftest import give, sign_in
from tests.factories.billing import (
    DeclineCodeFactory,
    PromotionFactory,
    RateFactory,
    SpendingCapFactory,
)

NOTICE = "notice_before_deduction_h"
NEW_CARRIER = {
    "code": "new",
    "name": "新",
    "name_en": "New",
    "is_enabled": "on",
    "denominations_minor": "",
    "min_amount_minor": "1",
    "max_amount_minor": "100000",
    "adapter": "tmf654",
    "base_url": "https://bss.example.com/tmf",
    "reference_field": "description",
    "can_query_by_reference": "on",
    "permanent_codes": "",
    "timezone": "Asia/Shanghai",
}


def change(client, row, **fields):
    """Send the object's form as its page shows it, with `fields` changed."""
    meta = row._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    form = client.get(address).context["adminform"].form
    sent: dict[str, Any] = {}
    for name, field in form.fields.items():
        value = form.get_initial_for_field(field, name)
        if hasattr(value, "strftime"):
            local = timezone.localtime(value)
            sent |= {f"{name}_0": f"{local:%Y-%m-%d}", f"{name}_1": f"{local:%H:%M:%S}"}
        elif value is True:
            sent[name] = "on"
        elif value is not None and value is not False:
            sent[name] = field.prepare_value(value)
    sent = {key: value for key, value in (sent | fields).items() if value is not None}
    return client.post(address, sent)


def errors(response) -> dict[str, list[str]]:
    return {
        name: [str(error) for error in found]
        for name, found in response.context["adminform"].form.errors.items()
    }


class TestADeclineCode:
    @pytest.fixture
    def code(self, db):
        return DeclineCodeFactory.create(code="NEW.CODE", decline_class="unknown")

    def test_gets_another_class_and_the_log_keeps_both(self, root, code):
        response = change(root, code, decline_class="soft", note="as the rail's support says")

        assert response.status_code == 302
        code.refresh_from_db()
        assert (code.decline_class, code.note) == ("soft", "as the rail's support says")
        assert LogEntry.objects.get().change_message == (
            "decline_class: unknown → soft; note:  → as the rail's support says"
        )

    @pytest.mark.parametrize(("rail", "is_added"), [("wechat", True), ("wechta", False)])
    def test_is_added_for_a_rail_that_there_is(self, root, rail, is_added):
        w.rail("wechat")
        address = reverse("admin:billing_declinecode_add")

        response = root.post(address, {"rail": rail, "code": "MET", "decline_class": "soft"})

        assert DeclineCode.objects.filter(code="MET").count() == is_added
        if not is_added:
            assert errors(response).keys() == {"rail"}

    def test_that_was_met_is_filled_in_from_the_front_page(self, root, db):
        w.rail("wechat")

        page = root.get(reverse("admin:billing_declinecode_add") + "?rail=wechat&code=MET")

        form = page.context["adminform"].form
        assert (form["rail"].value(), form["code"].value()) == ("wechat", "MET")

    def test_never_changes_its_rail_or_code(self, root, code):
        change(root, code, rail="wechat", code="OTHER", decline_class="hard")

        code.refresh_from_db()
        assert (code.rail, code.code, code.decline_class) == ("alipay", "NEW.CODE", "hard")

    def test_with_an_unknown_class_is_refused(self, root, code):
        response = change(root, code, decline_class="whatever")

        assert errors(response).keys() == {"decline_class"}
        code.refresh_from_db()
        assert code.decline_class == "unknown"

    def test_is_not_for_whoever_may_only_look(self, operator, code):
        client = sign_in(give(operator, "billing.view_declinecode"))

        client.post(
            reverse("admin:billing_declinecode_change", args=[code.pk]), {"decline_class": "hard"}
        )

        code.refresh_from_db()
        assert code.decline_class == "unknown"


class TestARail:
    def test_keeps_its_name_duty_and_ladder(self, root):
        rail = w.rail()

        change(root, rail, name="支付宝代扣", mandatory_notice_days="5", retry_ladder_s="60,3600")

        rail = Rail.objects.get(code="alipay")
        assert (rail.name, rail.mandatory_notice_days) == ("支付宝代扣", 5)
        assert rail.retry_ladder_s == [60, 3600]

    @pytest.mark.parametrize("ladder", ["3600,60", "60,60", "0", "1,2,3,4", "soon"])
    def test_refuses_a_ladder_that_does_not_climb(self, root, ladder):
        rail = w.rail()
        before = rail.retry_ladder_s

        response = change(root, rail, retry_ladder_s=ladder)

        assert errors(response).keys() == {"retry_ladder_s"}
        assert Rail.objects.get(code="alipay").retry_ladder_s == before

    def test_the_switch_thrown_meanwhile_stays_thrown(self, root, world, monkeypatch):
        """Only what was changed is written: a form opened before must not undo the switch."""
        rail = w.rail()
        address = reverse("admin:billing_rail_change", args=[rail.pk])
        plain = Rail.save

        def throw_first(self, *args, **kwargs):
            Rail.objects.update(deferred_since=world.at)
            return plain(self, *args, **kwargs)

        monkeypatch.setattr(Rail, "save", throw_first)
        root.post(
            address,
            {
                "name": "新名字",
                "name_en": rail.name_en,
                "is_enabled": "on",
                "mandatory_notice_days": "0",
                "retry_ladder_s": ",".join(map(str, rail.retry_ladder_s)),
            },
        )

        rail = Rail.objects.get(code="alipay")
        assert (rail.name, rail.deferred_since) == ("新名字", world.at)

    def test_nobody_adds_one(self, root):
        assert root.get(reverse("admin:billing_rail_add")).status_code == 403


class TestACarrier:
    def test_sells_its_amounts_ascending_each_once(self, root):
        change(root, w.carrier(), denominations_minor="5000,1000,5000")

        assert Carrier.objects.get().denominations_minor == [1000, 5000]

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"denominations_minor": "0,1000"}, "denominations_minor"),
            ({"min_amount_minor": "500", "max_amount_minor": "100"}, "max_amount_minor"),
            ({"base_url": "not an address"}, "base_url"),
        ],
    )
    def test_refuses_what_cannot_be_sold_or_reached(self, root, fields, wrong):
        carrier = w.carrier()

        response = change(root, carrier, **fields)

        assert wrong in errors(response)
        assert Carrier.objects.get().denominations_minor == carrier.denominations_minor

    @pytest.mark.parametrize(
        "url",
        [
            "http://bss.example.com",
            "ftp://bss.example.com",
            "https://user:secret@bss.example.com",
            "https://bss.example.com/?q=1",
            "https://bss.example.com/#x",
            "https://169.254.169.254/latest",
            "https://[fe80::1]",
            "https://[::ffff:169.254.169.254]",
            "https://0.0.0.0",
            "https://metadata.google.internal",
            "http://10.0.0.1",
        ],
    )
    def test_sends_its_token_nowhere_unsafe(self, root, url):
        carrier = w.carrier()
        assert "base_url" in errors(change(root, carrier, base_url=url))
        assert Carrier.objects.get().base_url == carrier.base_url

    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("https://bss.example.com/tmf", "https://bss.example.com/tmf"),
            ("bss.example.com", "https://bss.example.com"),
            ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),  # a carrier behind a tunnel
            ("http://127.0.0.1:9002", "http://127.0.0.1:9002"),  # the demo's
        ],
    )
    def test_is_reached_over_tls_or_on_this_machine(self, root, typed, kept):
        change(root, w.carrier(), base_url=typed)
        assert Carrier.objects.get().base_url == kept

    @pytest.mark.parametrize(
        ("currency", "typed", "kept"),
        [
            ("CNY", "", 24),  # the mainland's law, from April 2026
            ("CNY", "0", 0),  # of another market, though it bills in yuan
            ("CNY", "48", 48),
            ("EUR", "", 0),
            ("HKD", "12", 12),
        ],
    )
    def test_that_is_new_tells_before_each_charge_as_its_market_has_it(
        self, root, db, currency, typed, kept
    ):
        address = reverse("admin:lines_carrier_add")
        form = root.get(address).context["adminform"].form
        assert form[NOTICE].initial is None
        assert "Left empty: what the law of its market asks for." in form[NOTICE].help_text
        root.post(address, NEW_CARRIER | {"currency": currency, NOTICE: typed})
        assert Carrier.objects.get().notice_before_deduction_h == kept

    def test_keeps_its_notice_until_somebody_changes_it(self, root):
        carrier = w.carrier(notice_before_deduction_h=24)
        change(root, carrier, name="移动")
        assert Carrier.objects.get().notice_before_deduction_h == 24
        change(root, carrier, **{NOTICE: "0"})
        assert Carrier.objects.get().notice_before_deduction_h == 0
        for wrong in ("", "-1", "241", "soon"):
            assert NOTICE in errors(change(root, carrier, **{NOTICE: wrong})), wrong
        assert Carrier.objects.get().notice_before_deduction_h == 0

    def test_never_changes_its_code(self, root):
        change(root, w.carrier(), code="other", name="移动")

        assert (Carrier.objects.get().code, Carrier.objects.get().name) == ("cmcc", "移动")


class TestAPromotion:
    @pytest.fixture
    def promotion(self, db):
        at = timezone.now().replace(microsecond=0)
        return PromotionFactory.create(
            at=at, basis_points=150, budget_minor=100_000, reserved_minor=500, consumed_minor=2000
        )

    def test_budget_is_not_lowered_below_what_is_promised(self, root, promotion):
        response = change(root, promotion, budget_minor="2499")

        assert errors(response) == {
            "budget_minor": ["¥25.00 is reserved or consumed already: no less than 2500."]
        }
        promotion.refresh_from_db()
        assert promotion.budget_minor == 100_000

    def test_budget_may_be_lowered_to_just_that(self, root, promotion):
        change(root, promotion, budget_minor="2500")

        promotion.refresh_from_db()
        assert promotion.budget_minor == 2500

    def test_what_was_reserved_meanwhile_is_kept(self, root, promotion, monkeypatch):
        plain = Promotion.save

        def reserve_first(self, *args, **kwargs):
            Promotion.objects.update(reserved_minor=900)
            return plain(self, *args, **kwargs)

        monkeypatch.setattr(Promotion, "save", reserve_first)
        change(root, promotion, name="秋季")

        promotion.refresh_from_db()
        assert (promotion.name, promotion.reserved_minor) == ("秋季", 900)

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"fixed_minor": "500"}, "fixed_minor"),
            ({"basis_points": None}, "fixed_minor"),
            ({"basis_points": "10001"}, "basis_points"),
            ({"basis_points": None, "fixed_minor": "0"}, "fixed_minor"),
            ({"ends_at_0": "2020-01-01"}, "ends_at"),
            ({"rails": ["paypal"]}, "rails"),
            ({"triggers": ["whim"]}, "triggers"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, root, promotion, fields, wrong):
        response = change(root, promotion, **fields)

        assert wrong in errors(response)
        promotion.refresh_from_db()
        assert (promotion.basis_points, promotion.fixed_minor) == (150, None)

    def test_reaches_whom_it_is_ticked_for(self, root, promotion):
        w.rail()
        w.carrier()

        change(root, promotion, rails=["alipay"], carriers=["cmcc"], triggers=["low_balance"])

        promotion.refresh_from_db()
        assert (promotion.rails, promotion.carriers) == (["alipay"], ["cmcc"])
        assert promotion.triggers == ["low_balance"]


class TestASpendingCap:
    def test_is_changed_and_kept_in_the_log(self, root):
        cap = SpendingCapFactory.create(max_per_month_minor=50_000)

        change(root, cap, max_per_month_minor="60000")

        cap.refresh_from_db()
        assert cap.max_per_month_minor == 60_000
        assert LogEntry.objects.get().change_message == "max_per_month_minor: 50000 → 60000"


class TestAUser:
    def test_is_made_an_operator_by_an_administrator_without_a_password(self, root):
        group = Group.objects.create(name="Support")

        root.post(
            reverse("admin:accounts_user_add"),
            {
                "email": "New@Example.com",
                "name": "New",
                "language": "en",
                "is_staff": "on",
                "groups": [group.pk],
            },
        )

        user = User.objects.get(email="new@example.com")
        assert (user.is_staff, user.has_usable_password()) == (True, False)
        assert list(user.groups.all()) == [group]

    def test_gives_nobody_roles_who_is_no_administrator(self, operator):
        client = sign_in(give(operator, "accounts.view_user", "accounts.change_user"))
        alice = w.person("alice")

        change(client, alice, name="Alice A.", is_staff="on", is_superuser="on")

        alice.refresh_from_db()
        assert (alice.name, alice.is_staff, alice.is_superuser) == ("Alice A.", False, False)

    def test_of_the_staff_is_changed_by_administrators_only(self, operator, colleague):
        client = sign_in(give(operator, "accounts.view_user", "accounts.change_user"))

        client.post(
            reverse("admin:accounts_user_change", args=[colleague.pk]),
            {"name": "Hacked", "language": "en", "timezone": "UTC"},
        )

        colleague.refresh_from_db()
        assert (colleague.name, colleague.is_active) == ("cora", True)

    def test_keeps_the_address_that_they_sign_in_with(self, root):
        alice = w.person("alice")

        change(root, alice, email="thief@example.com", phone="+8613900000009")

        alice.refresh_from_db()
        assert (alice.email, alice.phone) == ("alice@example.com", None)

    def test_that_is_switched_off_is_out_at_once(self, root, colleague):
        client = sign_in(colleague)
        assert client.get("/admin/").status_code == 200

        change(root, colleague, is_active=None)

        assert client.get("/admin/").status_code == 302
        colleague.refresh_from_db()
        assert colleague.is_active is False


class TestACallRate:
    @pytest.fixture
    def rate(self, db):
        w.rail()
        return RateFactory(tokens=7)

    def test_is_changed_and_what_is_left_of_it_stays(self, root, rate):
        Rate.objects.update(tokens=3)

        assert change(root, rate, calls_per_s="20", in_flight="50").status_code == 302

        rate.refresh_from_db()
        assert (rate.calls_per_s, rate.in_flight, rate.burst, rate.tokens) == (20, 50, 10, 3)

    @pytest.mark.parametrize(
        ("fields", "at_fault"),
        [
            ({"calls_per_s": "0"}, "calls_per_s"),
            ({"burst": "0"}, "burst"),
            ({"calls_per_s": "10", "burst": "101"}, "__all__"),
            ({"in_flight": "0"}, "in_flight"),
        ],
    )
    def test_that_makes_no_sense_is_refused(self, root, rate, fields, at_fault):
        assert at_fault in errors(change(root, rate, **fields))
        rate.refresh_from_db()
        assert (rate.calls_per_s, rate.burst, rate.in_flight) == (100, 10, None)

    def test_is_added_for_a_carrier_that_there_is_and_no_other(self, root, db):
        w.carrier("cmcc")
        address = reverse("admin:billing_rate_add")
        sent = {"side": "carrier", "code": "cmcc", "calls_per_s": "5", "burst": "5"}

        assert "code" in errors(root.post(address, sent | {"code": "cmmc"}))
        assert root.post(address, sent).status_code == 302
        assert Rate.objects.get().code == "cmcc"

    def test_shows_how_fast_it_is_called_now(self, root, rate):
        rates.slow_down(side="rail", code="alipay", was_per_s=80)

        page = root.get(reverse("admin:billing_rate_changelist")).content.decode()
        shown = "".join(page.split())
        assert any(f">{pace}<" in shown for pace in range(40, 60))  # it climbs a third a second
        assert ">100<" in shown
