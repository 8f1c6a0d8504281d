"""What every page keeps to: nothing is edited, numbers are masked, no row costs a query."""

from itertools import cycle
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.contrib import admin
from django.contrib.messages.storage import default_storage
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from billing.models import (
    Binding,
    Consent,
    Decision,
    InboundNotification,
    Notice,
    NoticeDelivery,
    Outage,
    PaymentAttempt,
    PromotionUse,
    RailCall,
    Recharge,
    RechargeMove,
    Refund,
    Rule,
    Settlement,
    Transfer,
)
from lines.models import BalanceReading, CarrierCall, Delivery, Line, Operation
from portal.accounts.models import User
from tests.admin import pages
from tests.admin.conftest import SECRET_CODE, give, resident, sign_in

RECORDS: list[Any] = [
    BalanceReading,
    Binding,
    CarrierCall,
    Consent,
    Decision,
    Delivery,
    InboundNotification,
    Line,
    Notice,
    NoticeDelivery,
    Operation,
    Outage,
    PaymentAttempt,
    PromotionUse,
    RailCall,
    Recharge,
    RechargeMove,
    Refund,
    Rule,
    Settlement,
    Transfer,
]


def address_of(model, page: str, *args) -> str:
    meta = model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args)


class TestRecords:
    @pytest.mark.parametrize("model", RECORDS, ids=lambda model: model.__name__)
    def test_nobody_adds_changes_or_deletes_one(self, rf, model):
        request = rf.get("/admin/")
        request.user = User(is_superuser=True, is_staff=True, is_active=True)
        model_admin = admin.site.get_model_admin(model)

        assert model_admin.has_add_permission(request) is False
        assert model_admin.has_change_permission(request, model()) is False
        assert model_admin.has_delete_permission(request, model()) is False

    def test_an_administrators_post_changes_nothing(self, house, root):
        answers, changed = {}, []
        for model in RECORDS:
            row = model.objects.order_by("pk").last()
            before = model.objects.filter(pk=row.pk).values().get()
            wanted = {"state": "completed", "is_on": "on", "_save": "1"}
            nasty = dict.fromkeys(before, "1") | wanted
            root.post(address_of(model, "change", row.pk), nasty)
            picked = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
            root.post(address_of(model, "changelist"), picked)
            answers[model] = (
                root.post(address_of(model, "add"), nasty).status_code,
                root.post(address_of(model, "delete", row.pk), {"post": "yes"}).status_code,
            )
            if model.objects.filter(pk=row.pk).values().get() != before:
                changed.append(model)

        assert changed == []
        assert answers == dict.fromkeys(RECORDS, (403, 403))

    def test_nothing_at_all_is_deleted_here(self, house, root):
        counts = {model: model.objects.count() for model in RECORDS}

        for _model, address in pages.of_objects():
            if address.endswith("/delete/"):
                assert root.post(address, {"post": "yes"}).status_code == 403

        assert {model: model.objects.count() for model in RECORDS} == counts


class TestNumbers:
    SECRETS = (
        "8613700000001",  # the line's number, whatever stands before it
        "13700000001",
        "8613900000001",  # the owner's own number
        "8944538532008000001",  # the card
        SECRET_CODE,
    )

    @pytest.fixture
    def reader(self, house, operator):
        """May see everything there is to see, but no number in full."""
        views = [
            f"{model._meta.app_label}.view_{model._meta.model_name}"
            for model, _address in pages.lists()
        ]
        return sign_in(give(operator, *views))

    def test_stand_in_full_on_no_page(self, reader):
        contents = {one: reader.get(one).content.decode() for one in self.readable()}
        shown = [
            (address, secret)
            for address, content in contents.items()
            for secret in self.SECRETS
            if secret in content
        ]

        assert shown == []

    def test_are_shown_masked(self, reader):
        line = Line.objects.get(msisdn="+8613700000001")

        page = reader.get(address_of(Line, "change", line.pk)).content.decode()

        assert "137 **** 0001" in page
        assert "8944 **** 0001" in page

    def test_are_shown_in_full_on_the_lines_page_to_who_may_see_them(self, house, root):
        line = Line.objects.get(msisdn="+8613700000001")

        page = root.get(address_of(Line, "change", line.pk)).content.decode()
        lists = root.get(address_of(Line, "changelist")).content.decode()

        assert "+8613700000001" in page
        assert "8944538532008000001" not in page
        assert SECRET_CODE not in page
        assert "8613700000001" not in lists

    def test_are_never_searched_for_in_full(self, reader):
        """What is searched for stands in the page's address, and so in logs."""
        response = reader.get(address_of(Line, "changelist"), {"q": "13700000001"})

        assert list(response.context["cl"].result_list) == []

    def readable(self):
        yield from (address for _model, address in pages.lists())
        for model in (Line, Rule, Recharge, Binding, Refund, Notice, Delivery, Consent, User):
            for row in model.objects.order_by("pk")[:4]:
                yield address_of(model, "change", row.pk)
        yield "/admin/"


class TestLists:
    def test_cost_the_same_few_queries_however_many_rows_they_show(self, house, root):
        """They count no table; a field without choices would be read whole, to draw its filter."""
        root.get("/admin/")  # the first page of a session writes it
        asked = self.queries(root)
        for number in (3, 4, 5):
            resident(number, house)

        after = self.queries(root)

        assert {model: len(sql) for model, sql in after.items()} == {
            model: len(sql) for model, sql in asked.items()
        }
        big = (Recharge, PaymentAttempt, RailCall, CarrierCall, InboundNotification, Transfer,
               Decision, Consent, Refund, Settlement)  # fmt: skip

        counting = [sql for model in (*RECORDS, User) for sql in asked[model] if "COUNT(" in sql]
        reading = [sql for model in big for sql in asked[model] if "DISTINCT" in sql]
        assert max(len(sql) for sql in asked.values()) <= 12
        assert (counting, reading) == ([], [])

    def test_write_instants_in_one_order_in_both_languages(self, house, root):
        opened = timezone.localtime(Recharge.objects.latest("pk").created_at)

        for language in ("en", "zh-hans"):
            root.cookies["django_language"] = language
            page = root.get(address_of(Recharge, "changelist")).content.decode()
            assert f"{opened:%Y-%m-%d %H:%M}" in page

    def test_say_what_to_do_where_there_is_nothing(self, root, db):
        address = address_of(Recharge, "changelist")

        assert "Nothing here yet" in root.get(address).content.decode()
        searched = root.get(address, {"q": "nobody@example.com"}).content.decode()
        assert "Nothing found for “nobody@example.com”" in searched
        assert "or the last 4 figures of a number" in searched
        narrowed = root.get(address, {"state__exact": "failed"}).content.decode()
        assert "Nothing matches these filters" in narrowed

    def queries(self, client) -> dict[Any, list[str]]:
        return {model: self.sql(client, address) for model, address in pages.lists()}

    def sql(self, client, address: str) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        return [query["sql"] for query in queries.captured_queries]


class TestFiltersAndSearches:
    """Answered without HTML, but once for each term: one template draws every list."""

    @pytest.fixture
    def found(self, house, root):
        """Whether a list answers this query with rows, or with none, but without a complaint."""
        request_of = root.get("/admin/").wsgi_request

        def is_found(model, **query: Any) -> bool:
            request = RequestFactory().get(address_of(model, "changelist"), query)
            request.user, request.session = request_of.user, request_of.session
            request._messages = default_storage(request)
            answer = admin.site.get_model_admin(model).changelist_view(request)
            if answer.status_code != 200:
                return False
            changelist = answer.context_data["cl"]
            list(changelist.result_list)
            return all(list(spec.choices(changelist)) for spec in changelist.filter_specs)

        return is_found

    def test_every_filter_of_every_list_answers(self, found, root):
        broken = []
        for model, address in pages.lists():
            changelist = root.get(address).context["cl"]
            for spec in changelist.filter_specs:
                for choice in list(spec.choices(changelist))[:4]:
                    query = choice.get("query_string", "")
                    if not found(model, **dict(parse_qsl(query.removeprefix("?")))):
                        broken.append((model, query))

        assert broken == []

    def test_every_list_can_be_searched_for_anything(self, found, root):
        terms = ("01JD0000000000000000000000", "0001", "a@example.com", "'", "%", "\x00", "啊")
        lists = list(pages.lists())
        broken = [(model, term) for model, _ in lists for term in terms if not found(model, q=term)]
        drawn = [
            (address, term, status)
            for (_model, address), term in zip(lists, cycle(terms), strict=False)
            if (status := root.get(address, {"q": term}).status_code) != 200
        ]

        assert (broken, drawn) == ([], [])
