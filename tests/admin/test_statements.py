"""Statements and differences as operators see them: in words, once closed, and as CSV."""

import csv
import io
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone, translation

from billing.models import Statement, StatementState
from lines.models import Operation
from portal.desk import front_page
from tests import world as w
from tests.admin.conftest import give, open_one, sign_in
from tests.admin.test_acts import do, said
from tests.factories.billing import DifferenceFactory, StatementFactory

VIEW = ("billing.view_difference", "billing.view_statement")


@pytest.fixture
def statement(world):
    return StatementFactory.create(
        day=(world.at - timedelta(days=1)).date(),
        state="done",
        rows_read=100_000,
        totals=[
            {"kind": "payment", "currency": "CNY", "count": 2, "amount_minor": 10_000,
             "fee_minor": 60}
        ],
    )  # fmt: skip


@pytest.fixture
def differ(statement, world):
    def differ(kind="amount", **more):
        given = {
            "key": f"{kind}{more.get('our_ref', '')}", "line_kind": "payment", "our_ref": "P1",
            "their_ref": "T1", "our_amount_minor": 5000, "their_amount_minor": 4999,
            "our_currency": "CNY", "their_currency": "CNY", "our_state": "booked",
            "line_number": 7, "found_at": world.at, "seen_run": 1,
        }  # fmt: skip
        return DifferenceFactory.create(statement=statement, kind=kind, **(given | more))

    return differ


@pytest.fixture
def finance(operator):
    permissions = ("billing.explain_difference", "billing.fetch_statement")
    return sign_in(give(operator, *VIEW, *permissions))


def page(client, subject) -> str:
    meta = subject._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[subject.pk])
    shown: str = client.get(address).content.decode()
    return shown


class TestThePageOfADifference:
    @pytest.mark.parametrize(
        ("kind", "more", "ours", "theirs"),
        [
            (
                "amount", {},
                "Our books have a payment of ¥50.00.", "Line 7: a payment of ¥49.99.",
            ),
            (
                "missing_theirs", {"is_ours_alone": True, "their_amount_minor": None},
                "Our books have a payment of ¥50.00.", "Neither their statement of 2026-11-21",
            ),
            (
                "missing_ours", {"our_state": "", "our_amount_minor": None},
                "We have nothing under this reference.", "Line 7: a payment of ¥49.99.",
            ),
            (
                "status", {"our_state": "declined"},
                "We have it as “declined”, and nothing of it in our books.", "Line 7: a payment",
            ),
            (
                "refund_unmatched", {"our_state": "", "line_kind": "refund"},
                "We have nothing under this reference.", "Line 7: a refund of ¥49.99.",
            ),
            (
                "fee", {"our_amount_minor": 30, "their_amount_minor": 31},
                "By the rate on file they would keep ¥0.30.", "Line 7: they kept ¥0.31.",
            ),
            (
                "currency", {"their_currency": "ZZZ"},
                "Our books have a payment of ¥50.00.", "Line 7: a payment of 4999 ZZZ.",
            ),
            (
                "duplicate", {"line_kind": "credit"},
                "Our books have a credit to the line of ¥50.00.",
                "Line 7: a credit to the line of ¥49.99.",
            ),
            (
                "dispute", {"line_kind": "dispute", "our_state": "succeeded"},
                "No message of theirs has told of it.", "Line 7: money taken back for the payer of",
            ),
            (
                "unreadable", {"line_kind": "", "our_ref": "", "problem": "no amount",
                               "text": "…0021,<b>50.O0"},
                "We do not know whether it is about anything of ours.", "Line 7 cannot be read.",
            ),
        ],
    )  # fmt: skip
    def test_says_what_each_side_has(self, finance, differ, kind, more, ours, theirs):
        shown = page(finance, differ(kind, **more))
        assert ours in shown
        assert theirs in shown
        assert "What to do" in shown
        assert "<b>50" not in shown

    def test_leads_to_the_recharge_the_statement_and_the_evidence(self, finance, differ, world):
        recharge = open_one(world, w.rule(), "one")
        one = differ(recharge=recharge)
        shown = page(finance, one)
        for address in (
            reverse("admin:billing_recharge_change", args=[recharge.pk]),
            reverse("admin:billing_statement_change", args=[one.statement_id]),
            f"{reverse('admin:billing_railcall_changelist')}?q=P1",
            f"{reverse('admin:billing_inboundnotification_changelist')}?q=P1",
        ):
            assert address in shown

    def test_is_not_for_whoever_may_not_see_it(self, operator, differ):
        client = sign_in(operator)
        address = reverse("admin:billing_difference_change", args=[differ().pk])
        assert client.get(address).status_code == 403
        assert client.get(reverse("admin:billing_difference_export")).status_code == 403

    def test_of_one_that_is_not_there_is_not_found(self, finance):
        response = finance.get(reverse("admin:billing_difference_change", args=[999]))
        assert response.status_code in (302, 404)


class TestExplaining:
    def test_closes_it_with_the_reason_and_writes_it_down(self, finance, operator, differ):
        one = differ()
        response = do(finance, one, "explain-difference", reason="paid by hand")
        one.refresh_from_db()
        assert (one.state, one.closed_by, one.reason) == ("explained", operator, "paid by hand")
        assert said(response) == ["Done: Explain."]
        assert Operation.objects.get().target == f"difference:D{one.pk}"
        shown = page(finance, one)
        assert "paid by hand" in shown
        assert "/do/explain-difference/" not in shown

    def test_needs_a_reason(self, finance, differ):
        one = differ()
        do(finance, one, "explain-difference", reason=" ")
        one.refresh_from_db()
        assert one.state == "open"
        assert not Operation.objects.exists()

    def test_is_refused_to_who_may_only_look(self, operator, differ):
        one = differ()
        response = do(sign_in(give(operator, *VIEW)), one, "explain-difference")
        one.refresh_from_db()
        assert (response.status_code, one.state) == (403, "open")

    def test_of_one_that_has_gone_says_so(self, finance, differ):
        one = differ(state="resolved")
        response = do(finance, one, "explain-difference")
        one.refresh_from_db()
        assert one.state == "resolved"
        assert said(response)[0].startswith("It is closed already.")


class TestStatements:
    def test_show_how_far_they_have_come_and_what_is_to_settle(self, finance, statement, differ):
        differ()
        listed = finance.get(reverse("admin:billing_statement_changelist")).content.decode()
        assert "100,000" in listed
        assert "1 difference" in listed
        assert "2 × a payment, ¥100.00, fees ¥0.60" in page(finance, statement)

    def test_lead_to_their_own_differences(self, finance, statement, differ):
        differ()
        address = reverse("admin:billing_difference_changelist")
        query = f"?state__exact=open&statement__id__exact={statement.pk}"
        assert query.replace("&", "&amp;") in page(finance, statement)
        listed = finance.get(address + query)
        assert listed.status_code == 200
        assert "P1" in listed.content.decode()

    def test_being_read_show_their_pace(self, finance, statement):
        Statement.objects.update(
            state="fetching", rows_read=30_000, started_at=timezone.now() - timedelta(seconds=10)
        )
        assert "30,000 so far, " in page(finance, statement)

    def test_can_be_asked_for_again(self, finance, statement):
        Statement.objects.update(state="failed", attempts=9)
        do(finance, statement, "fetch-statement")
        statement.refresh_from_db()
        assert (statement.state, statement.attempts) == (StatementState.WAITING, 0)
        assert statement.next_try_at <= timezone.now()


class TestTheCsv:
    def test_has_the_rows_of_the_list_as_it_is_filtered(self, finance, differ):
        differ()
        differ("duplicate", our_ref="P2")
        text = download(finance, "?kind__exact=duplicate")
        header, row = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
        assert header[:5] == ["statement", "difference", "state", "about", "our reference"]
        assert row[1:11] == [
            "there more than once", "open", "payment", "P2", "T1", "50.00", "CNY", "49.99", "CNY",
            "7",
        ]  # fmt: skip

    def test_runs_nothing_that_the_other_side_wrote(self, finance, differ):
        differ(their_ref="=HYPERLINK(0)", our_ref="@SUM(1)")
        rows = list(csv.reader(io.StringIO(download(finance))))
        assert rows[1][4:6] == ["'@SUM(1)", "'=HYPERLINK(0)"]

    def test_of_a_nonsense_filter_leads_back_to_the_list(self, finance, differ):
        differ()
        response = finance.get(
            reverse("admin:billing_difference_export") + "?statement__id__exact=x"
        )
        assert response.status_code == 302


def download(client, query: str = "") -> str:
    response = client.get(reverse("admin:billing_difference_export") + query)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return b"".join(response.streaming_content).decode()


class TestTheFrontPage:
    def seen(self, user, world):
        with translation.override("en"):
            return {
                str(section.name): (section.count, [item.title for item in section.items])
                for section in front_page.shown(user=user, at=world.at).sections
            }

    def test_lists_what_is_open_and_what_never_came(self, operator, world, differ, statement):
        differ()
        differ("status", our_ref="P2", state="resolved")
        late = statement.day - timedelta(days=4)
        StatementFactory.create(source_kind="carrier", code="cmcc", day=late, state="failed")
        user = give(operator, *VIEW)
        assert self.seen(user, world) == {
            "Statement rows that do not match": (1, ["another amount · Alipay"]),
            "Statements that never came": (1, ["cmcc · Nov 17, 2026"]),
        }

    def test_says_nothing_to_who_may_not_see_them(self, operator, world, differ):
        differ()
        assert self.seen(operator, world) == {}
