"""History, receipts and what is taken away: nothing in it runs, nothing in it is another's."""

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from django.urls import reverse

from billing import spreadsheets
from billing.models import Notice, Recharge, Rule
from billing.plans.previews import UpcomingCharge
from portal import exports
from tests.factories.billing import NoticeFactory
from tests.portal import people

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class TestHistory:
    def test_lists_every_recharge_with_its_outcome(self, alice, as_user):
        text = as_user(alice).get("/history/").content.decode()
        assert text.count("¥50 credited") == 12
        assert "¥50 not recharged, nothing charged" in text

    def test_is_filtered_by_line(self, alice, as_user):
        line = alice.lines.get(kind="esim")
        text = as_user(alice).get(f"/history/?line={line.public_id}").content.decode()
        assert "¥50 credited" not in text
        assert "No recharge yet" in text

    def test_goes_on_on_the_next_page(self, alice, as_user):
        line, pays = alice.lines.get(kind="fm"), alice.bindings.get()
        for hours in range(10):
            people.recharge(line, pays, at=NOON - timedelta(days=500, hours=hours), completed=True)
        first = as_user(alice).get("/history/").content.decode()
        second = as_user(alice).get("/history/?page=2").content.decode()
        assert (first.count("¥50 credited"), second.count("¥50 credited")) == (19, 3)

    @pytest.mark.parametrize("page", ["0", "-1", "99", "x", "1e9"])
    def test_survives_a_page_that_is_not_there(self, alice, as_user, page):
        assert as_user(alice).get(f"/history/?page={page}").status_code == 200


class TestOneRecharge:
    def test_tells_its_whole_story(self, alice, as_user):
        ref = alice.recharges.filter(state="completed").order_by("-pk")[0].ref
        text = as_user(alice).get(reverse("portal:recharge", args=[ref])).content.decode()
        for words in ("¥49.25", "Recharge started", "Charging", "Paid", ref):
            assert words in text

    def test_says_on_which_day_a_slow_rail_will_take_the_money(self, alice, as_user):
        line, pays = alice.lines.get(kind="fm"), alice.bindings.get()
        made = people.recharge(line, pays, at=datetime.now(UTC))
        on = datetime(datetime.now(UTC).year + 2, 1, 14, 1, 30, tzinfo=UTC)
        told = {"state": "waiting", "reason": "announced", "earliest_charge_at": on}
        Recharge.objects.filter(pk=made.pk).update(**told)
        text = as_user(alice).get(reverse("portal:recharge", args=[made.ref])).content.decode()
        assert "¥50 will be charged on Jan 14" in text

    def test_has_a_receipt_only_when_it_was_paid(self, alice, as_user):
        client = as_user(alice)
        paid = alice.recharges.filter(state="completed")[0].ref
        failed = alice.recharges.get(state="failed").ref
        assert client.get(reverse("portal:receipt", args=[paid])).status_code == 200
        assert client.get(reverse("portal:receipt", args=[failed])).status_code == 404

    def test_that_waits_is_canceled_and_one_that_ended_is_not(self, alice, as_user):
        client = as_user(alice)
        line, pays = alice.lines.get(kind="fm"), alice.bindings.get()
        waits = people.recharge(line, pays, at=datetime.now(UTC))
        client.post(reverse("portal:recharge-cancel", args=[waits.ref]))
        waits.refresh_from_db()
        assert (waits.state, waits.moves.order_by("-pk")[0].actor) == ("canceled", alice)
        done = alice.recharges.filter(state="completed")[0]
        page = client.post(reverse("portal:recharge-cancel", args=[done.ref]), follow=True)
        assert "Too late to cancel" in page.content.decode()
        assert Recharge.objects.get(pk=done.pk).state == "completed"


class TestTheTable:
    def rows(self, alice, as_user) -> list[dict[str, str]]:
        response = as_user(alice).get("/history/export.csv")
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        text = response.content.decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text)))

    def test_has_a_row_for_each_with_plain_figures(self, alice, as_user):
        rows = self.rows(alice, as_user)
        assert len(rows) == 13
        paid = next(row for row in rows if row["What happened"] == "¥50 credited")
        assert (paid["Amount"], paid["Charged"], paid["Saved"]) == ("50.00", "49.25", "0.75")
        failed = next(row for row in rows if "not recharged" in row["What happened"])
        assert failed["Charged"] == "0.00"
        assert all("+86" not in str(row) for row in rows)

    def test_saves_nothing_where_nothing_was_charged(self, alice, as_user):
        trip = alice.lines.get(kind="esim")
        pays = alice.bindings.get()
        people.recharge(trip, pays, at=datetime.now(UTC), failed=True, discount_minor=75)
        [row] = [row for row in self.rows(alice, as_user) if row["Line"] == trip.label]
        assert (row["Charged"], row["Saved"], row["Bonus"]) == ("0.00", "0.00", "0.00")

    @pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@cmd", "\t=1", "  =1", "\r=1"])
    def test_holds_no_cell_that_a_spreadsheet_would_run(self, alice, as_user, name):
        alice.lines.filter(kind="fm").update(label=name)
        for row in self.rows(alice, as_user):
            assert row["Line"] == "'" + name

    def test_leaves_harmless_words_alone(self):
        assert spreadsheets.harmless("妈妈的手机 a-b") == "妈妈的手机 a-b"
        assert spreadsheets.harmless("") == ""


class TestTheCalendar:
    def test_holds_each_coming_charge_once_under_a_lasting_name(self, alice, as_user):
        response = as_user(alice).get("/history/charges.ics")
        text = response.content.decode()
        assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
        assert text.count("BEGIN:VEVENT") == 12
        uids = [line for line in text.splitlines() if line.startswith("UID:")]
        assert len(set(uids)) == 12
        again = as_user(alice).get("/history/charges.ics").content.decode()
        assert [line for line in again.splitlines() if line.startswith("UID:")] == uids

    def test_names_a_charge_alike_from_whichever_host_it_is_read(self, alice, as_user, settings):
        settings.ALLOWED_HOSTS = ["keepline.example", "www.keepline.example"]
        named = [
            re.findall(
                r"UID:(\S+)", as_user(alice).get("/history/charges.ics", **host).content.decode()
            )
            for host in ({"HTTP_HOST": one} for one in settings.ALLOWED_HOSTS)
        ]
        assert len(named[0]) == 12
        assert named[0] == named[1]

    def test_is_folded_and_escaped_as_the_standard_says(self, alice):
        rule = alice.lines.get(kind="fm").rule
        rule.line.label = "妈妈；的,手机;\\" * 5
        charge = UpcomingCharge(0, date(2026, 12, 31), NOON, NOON, "", 5000, 4925, 75, 0)
        text = exports.icalendar([(rule, charge)], at=NOON)
        assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
        unfolded = text.replace("\r\n ", "")
        assert "妈妈；的\\,手机\\;\\\\" in unfolded
        assert "DTSTART:20261122T120000Z" in unfolded
        assert text.endswith("END:VCALENDAR\r\n")

    def test_leaves_out_a_charge_that_is_skipped(self, alice, as_user):
        rule = alice.lines.get(kind="fm").rule
        Rule.objects.filter(pk=rule.pk).update(skip_index=rule.next_index)
        text = as_user(alice).get("/history/charges.ics").content.decode()
        assert text.count("BEGIN:VEVENT") == 11
        assert f"UID:{rule.public_id}-{rule.next_index}@" not in text.replace("\r\n ", "")

    def test_leaves_out_a_plan_that_is_off(self, alice, as_user):
        rule = alice.lines.get(kind="fm").rule
        rule.is_on = False
        rule.save()
        assert "BEGIN:VEVENT" not in as_user(alice).get("/history/charges.ics").content.decode()


class TestTheInbox:
    def test_shows_what_was_told_and_counts_the_unread(self, alice, as_user):
        client = as_user(alice)
        text = client.get("/notices/").content.decode()
        assert "¥8.40" in text
        assert '<span class="count">2' in text
        client.post("/notices/read/")
        assert not Notice.objects.filter(owner=alice, read_at__isnull=True).exists()
        assert '<span class="count">' not in client.get("/notices/").content.decode()

    def test_marks_nobody_elses_as_read(self, alice, bob, as_user):
        theirs = NoticeFactory.create(owner=bob)
        as_user(alice).post("/notices/read/")
        theirs.refresh_from_db()
        assert theirs.read_at is None
