"""Putting a line in, proving it, recharging it by hand: what is refused, where, what is kept."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.urls import reverse

from billing.models import Recharge, Rule
from lines import carriers, lifecycle
from lines.models import Carrier, Line
from portal.accounts.models import User
from tests import world as w
from tests.factories.billing import PaymentAttemptFactory
from tests.portal import people

CARD = {
    "label": "Mum",
    "carrier": "cmcc",
    "msisdn": "138 0000 0021",
    "iccid": "8944538532008160222",
}
ESIM = {
    "label": "Trip",
    "carrier": "cmcc",
    "activation_code": "LPA:1$smdp.example.com$QR-G-5C-1LS-1W1Z9P7",
    "msisdn": "13800000022",
}
LATER = datetime.now(UTC).year + 2  # far enough to be told with its year, on any day
ADD_CARD, ADD_ESIM = "/lines/add/fm/", "/lines/add/esim/"


class Phone:
    """A carrier that takes every text, and remembers it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def send_code(self, *, address, text: str) -> bool:
        self.texts.append(text)
        return True

    @property
    def code(self) -> str:
        return str(re.findall(r"\b\d{6}\b", self.texts[-1])[-1])


@pytest.fixture
def phone(monkeypatch) -> Phone:
    phone = Phone()
    monkeypatch.setattr(carriers, "adapter_for", lambda _carrier: phone)
    return phone


@pytest.fixture
def charlie(db):
    w.carrier()
    return people.person("Charlie")


@pytest.fixture
def client(charlie, as_user):
    return as_user(charlie)


class TestAddingACard:
    def test_goes_on_to_the_code_and_then_to_the_line(self, client, phone):
        page = client.post(ADD_CARD, CARD)
        line = Line.objects.get()
        assert page.headers["Location"] == reverse("portal:prove", args=[line.public_id])
        assert line.status == "unverified"
        done = client.post(page.headers["Location"], {"code": phone.code})
        line.refresh_from_db()
        assert done.headers["Location"] == reverse("portal:line", args=[line.public_id])
        assert line.status == "active"

    @pytest.mark.parametrize(
        ("change", "field", "sentence"),
        [
            ({"iccid": "8944538532008160223"}, "iccid", "check digit"),
            ({"iccid": "89445385320081602225"}, "iccid", "check digit"),
            ({"iccid": ""}, "iccid", "Enter the ICCID"),
            ({"msisdn": "12"}, "msisdn", "No such number"),
            ({"msisdn": "010-12345678"}, "msisdn", "not a mobile number"),
            ({"carrier": "nobody"}, "carrier", "choice"),
            ({"carrier": ""}, "carrier", "Choose the carrier"),
        ],
    )
    def test_wrongly_is_said_at_the_field_and_nothing_typed_is_lost(
        self, client, phone, change, field, sentence
    ):
        text = client.post(ADD_CARD, CARD | change).content.decode()
        assert f'id="id_{field}_error"' in text
        assert f'href="#id_{field}"' in text
        assert sentence in text
        assert 'value="Mum"' in text
        assert not Line.objects.exists()
        assert phone.texts == []

    @pytest.mark.parametrize("iccid", ["89860012345678901239", "8986001234567890123X"])
    def test_from_the_mainland_whose_check_digit_tells_nothing_asks_to_compare(
        self, client, phone, iccid
    ):
        text = client.post(ADD_CARD, CARD | {"iccid": iccid}, follow=True).content.decode()
        assert "check digit of this ICCID cannot be verified. Compare it with the card." in text
        assert "If it differs, remove this line and add it again." in text
        assert Line.objects.get().iccid == iccid

    @pytest.mark.parametrize("iccid", [CARD["iccid"], "89860012345678901238"])
    def test_whose_check_digit_is_right_warns_of_nothing(self, client, phone, iccid):
        text = client.post(ADD_CARD, CARD | {"iccid": iccid}, follow=True).content.decode()
        assert "Compare it with the card" not in text
        assert Line.objects.get().iccid == iccid

    def test_with_a_card_that_somebody_else_has_is_refused(self, client, phone, bob):
        people.line(bob, 33, at=datetime.now(UTC), iccid=CARD["iccid"])
        text = client.post(ADD_CARD, CARD).content.decode()
        assert "This card is verified by someone else here." in text
        assert Line.objects.count() == 1

    def test_with_a_number_that_somebody_else_had_goes_over_by_the_code(
        self, client, phone, bob, as_user
    ):
        now = datetime.now(UTC)
        old = people.line(bob, 21, at=now)
        rule = people.rule(old, people.binding(bob, at=now), at=now)
        Line.objects.filter(pk=old.pk).update(verified_at=now - timedelta(days=300))
        page = client.post(ADD_CARD, CARD)
        client.post(page.headers["Location"], {"code": phone.code})
        mine = Line.objects.get(owner__name="Charlie")
        old.refresh_from_db()
        rule.refresh_from_db()
        assert (mine.status, old.status, rule.is_on) == ("active", "terminated", False)
        bobs = as_user(bob).get("/notices/").content.decode()
        assert "Number verified by someone else" in bobs
        assert "Charlie" not in bobs

    def test_whose_number_the_library_does_not_know_asks_to_compare(self, client, phone):
        card = CARD | {"msisdn": "14911030512", "iccid": CARD["iccid"][:-1]}
        text = client.post(ADD_CARD, card, follow=True).content.decode()
        assert "This number is of a kind we do not know. Check each digit of it." in text
        assert "This ICCID seems to lack its last digit. Look at the card." in text
        line = Line.objects.get()
        assert (line.msisdn, line.iccid) == ("+8614911030512", card["iccid"])

    def test_twice_makes_one_line(self, client, phone):
        client.post(ADD_CARD, CARD)
        client.post(ADD_CARD, CARD)
        assert Line.objects.exclude(status="removed").count() == 1


class TestAddingAnEsim:
    def test_by_an_install_link_shows_the_same_code_with_all_its_fields(self, client, phone):
        code = "LPA:1$smdp.example.com$QR-G-5C-1LS-1W1Z9P7$$$81370F5125D0B1D408D4C3B232E6D25E$1"
        link = "https://esimsetup.apple.com/esim_qrcode_provisioning?carddata=" + quote(code)
        page = client.post(ADD_ESIM, ESIM | {"activation_code": link})
        client.post(page.headers["Location"], {"code": phone.code})
        line = Line.objects.get()
        assert lifecycle.activation_code(line=line, actor=line.owner).qr_text == code
        shown = client.get(reverse("portal:install", args=[line.public_id])).content.decode()
        assert code.removeprefix("LPA:") in shown

    def test_by_a_pasted_code_keeps_its_secret_out_of_every_list(self, client, phone):
        page = client.post(ADD_ESIM, ESIM)
        client.post(page.headers["Location"], {"code": phone.code})
        line = Line.objects.get()
        for path in ("/", reverse("portal:line", args=[line.public_id])):
            assert "1W1Z9P7" not in client.get(path).content.decode()
        shown = client.get(reverse("portal:install", args=[line.public_id]))
        assert "QR-G-5C-1LS-1W1Z9P7" in shown.content.decode()
        assert "<svg" in shown.content.decode()
        assert "no-store" in shown.headers["Cache-Control"]

    def test_says_how_to_install_it_and_not_that_anybody_has(self, client, phone):
        client.post(ADD_ESIM, ESIM)
        line = Line.objects.get()
        text = client.get(reverse("portal:line", args=[line.public_id])).content.decode()
        assert "Not on your phone yet? Install it with its QR code." in text
        assert ">available<" not in text

    def test_that_another_card_has_replaced_offers_no_code(self, client, phone):
        client.post(ADD_ESIM, ESIM)
        line = Line.objects.get()
        lifecycle.replace_sim(line=line, iccid=CARD["iccid"], at=datetime.now(UTC))
        text = client.get(reverse("portal:line", args=[line.public_id])).content.decode()
        assert '<span class="chip">deleted</span>' in text
        assert reverse("portal:install", args=[line.public_id]) not in text

    @pytest.mark.parametrize(
        ("change", "field", "sentence"),
        [
            ({"activation_code": "LPA:2$x"}, "activation_code", "looks like LPA:1$"),
            ({"activation_code": ""}, "activation_code", "Paste the activation code"),
            ({"eid": "89049032123451234512345678901234"}, "eid", "check digits"),
            ({"msisdn": ""}, "msisdn", "mobile number or the ICCID"),
        ],
    )
    def test_wrongly_is_said_at_the_field(self, client, phone, change, field, sentence):
        text = client.post(ADD_ESIM, ESIM | change).content.decode()
        assert f'id="id_{field}_error"' in text
        assert sentence in text
        assert 'value="Trip"' in text
        assert not Line.objects.exists()

    def test_left_empty_says_all_that_is_missing_at_once(self, client, phone):
        text = client.post(ADD_ESIM, {}).content.decode()
        for field in ("carrier", "activation_code", "msisdn"):
            assert f'id="id_{field}_error"' in text
        assert 'id="id_iccid_error"' not in text


class TestProving:
    def test_with_a_wrong_code_says_how_many_tries_are_left(self, client, phone):
        page = client.post(ADD_CARD, CARD)
        wrong = "000000" if phone.code != "000000" else "111111"
        text = client.post(page.headers["Location"], {"code": wrong}).content.decode()
        assert "Tries left: 4" in text
        assert Line.objects.get().status == "unverified"

    def test_asks_for_no_more_codes_than_are_good(self, client, phone):
        page = client.post(ADD_CARD, CARD)
        again = page.headers["Location"] + "send/"
        for _press in range(5):
            text = client.post(again, follow=True).content.decode()
        assert "Enough codes were sent" in text
        assert len(phone.texts) == 3

    def test_says_so_when_the_carrier_cannot_be_reached(self, client, monkeypatch):
        def nowhere(_carrier):
            raise carriers.CarrierNotConfigured("no token")

        monkeypatch.setattr(carriers, "adapter_for", nowhere)
        text = client.post(ADD_CARD, CARD, follow=True).content.decode()
        assert "cannot be reached now" in text


class TestByHand:
    def test_is_charged_once_however_often_it_is_pressed(self, alice, as_user):
        client, line = as_user(alice), alice.lines.get(kind="fm")
        Rule.objects.update(max_per_day_count=2)  # she was charged three hours ago
        target = reverse("portal:by-hand", args=[line.public_id])
        [once] = re.findall(r'name="once" value="(\w+)"', client.get(target).content.decode())
        form = {"face": "2000", "binding": alice.bindings.get().ref, "once": once}
        before = Recharge.objects.count()
        first, second = client.post(target, form), client.post(target, form)
        assert first.headers["Location"] == second.headers["Location"]
        assert Recharge.objects.count() == before + 1
        made = Recharge.objects.order_by("-pk")[0]
        assert (made.trigger, made.price_minor, made.owner) == ("manual", 2000, alice)

    def test_while_one_is_under_way_is_refused(self, alice, as_user):
        line, pays = alice.lines.get(kind="fm"), alice.bindings.get()
        people.recharge(line, pays, at=datetime.now(UTC))
        form = {"face": "2000", "binding": pays.ref, "once": "another"}
        target = reverse("portal:by-hand", args=[line.public_id])
        before = Recharge.objects.count()
        text = as_user(alice).post(target, form).content.decode()
        assert "is under way" in text
        assert Recharge.objects.count() == before

    def test_over_the_months_limit_is_refused_at_the_amount(self, alice, as_user):
        Rule.objects.update(max_per_day_count=2)  # else the day's is named first, as to the robot
        line, pays = alice.lines.get(kind="fm"), alice.bindings.get()
        form = {"face": "20000", "binding": pays.ref, "once": "another"}
        target = reverse("portal:by-hand", args=[line.public_id])
        text = as_user(alice).post(target, form).content.decode()
        assert 'id="id_face_error"' in text
        assert "of this month&#x27;s ¥150 for the line is used, and ¥200 more" in text
        assert not Recharge.objects.filter(trigger="manual").exists()

    def test_over_the_days_limit_is_refused_in_other_words(self, alice, as_user):
        line, pays = alice.lines.get(kind="fm"), alice.bindings.get()
        people.recharge(line, pays, at=datetime.now(UTC), completed=True)
        form = {"face": "2000", "binding": pays.ref, "once": "another"}
        target = reverse("portal:by-hand", args=[line.public_id])
        text = as_user(alice).post(target, form).content.decode()
        assert "You allow 1 recharge a day, and today&#x27;s is used up" in text
        assert "Recharge again tomorrow, or change the limit in its auto-recharge." in text
        assert not Recharge.objects.filter(trigger="manual").exists()


def declined(owner: User) -> Line:
    """A line whose charge was declined for want of money, to be tried again on 14 January."""
    line, pays = owner.lines.get(kind="fm"), owner.bindings.get()
    again = datetime(LATER, 1, 14, 1, 30, tzinfo=UTC)
    made = people.recharge(line, pays, at=datetime.now(UTC), declined=True, act_at=again)
    PaymentAttemptFactory.create(recharge=made, declined=True)
    return line


class TestALinesPage:
    @pytest.mark.parametrize(
        ("hours", "said"),
        [
            (24, "We tell you 24 hours before each automatic charge when and how much"),
            (1, "We tell you 1 hour before each automatic charge when and how much"),
            (0, ""),
        ],
    )
    def test_says_how_long_before_each_charge_its_owner_is_told(self, alice, as_user, hours, said):
        Carrier.objects.update(notice_before_deduction_h=hours)
        line = alice.lines.first()
        text = as_user(alice).get(reverse("portal:line", args=[line.public_id])).content.decode()
        assert said in text
        assert ("before each automatic charge" in text) is bool(said)

    def test_tells_why_it_was_and_was_not_charged(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        text = as_user(alice).get(reverse("portal:line", args=[line.public_id])).content.decode()
        assert "¥50 credited" in text
        assert "No recharge: cooling down" in text
        assert "¥9.80 is below ¥10" in text
        assert "nothing charged" in text

    def test_says_what_was_paid_and_how_soon_it_arrived(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        page = as_user(alice).get(reverse("portal:line", args=[line.public_id]))
        told = "The balance of ¥8.40 was below ¥10. ¥49.25 was paid through Alipay; the carrier"
        assert f"{told} credited it within 2 seconds." in page.content.decode()

    def test_says_why_a_payment_was_declined_and_when_it_is_tried_again(self, alice, as_user):
        line = declined(alice)
        text = as_user(alice).get(reverse("portal:line", args=[line.public_id])).content.decode()
        assert "declined: there is not enough money in the account. Nothing was taken; next" in text
        assert f"Jan 14, {LATER} at 09:30" in text

    def test_shows_no_balance_before_it_is_verified_and_says_so(self, alice, as_user):
        line = people.line(
            alice,
            77,
            at=datetime.now(UTC),
            unproven=True,
            balance_minor=None,
            balance_observed_at=None,
        )
        text = as_user(alice).get(reverse("portal:line", args=[line.public_id])).content.decode()
        assert "shown once the line is verified" in text

    def test_draws_the_balance_with_words_beside_it(self, alice, as_user):
        line = alice.lines.get(kind="fm")
        text = as_user(alice).get(reverse("portal:line", args=[line.public_id])).content.decode()
        assert re.search(r'role="img" aria-label="Balance from ¥[\d.]+ to ¥18.60\.', text)

    def test_is_renamed_and_refuses_no_name(self, alice, as_user):
        client, line = as_user(alice), alice.lines.get(kind="fm")
        target = reverse("portal:rename", args=[line.public_id])
        assert "Give the line a name" in client.post(target, {"label": " "}).content.decode()
        client.post(target, {"label": "<b>Mum</b>"})
        text = client.get(reverse("portal:line", args=[line.public_id])).content.decode()
        assert "&lt;b&gt;Mum&lt;/b&gt;" in text
        assert "<b>Mum" not in text

    def test_removed_stops_its_rule_and_leaves_its_history(self, alice, as_user):
        client, line = as_user(alice), alice.lines.get(kind="fm")
        target = reverse("portal:remove", args=[line.public_id])
        assert "Its auto-recharge" in client.get(target).content.decode()
        client.post(target)
        line.refresh_from_db()
        assert (line.status, line.rule.is_on) == ("removed", False)
        assert "¥50 credited" in client.get("/history/").content.decode()
