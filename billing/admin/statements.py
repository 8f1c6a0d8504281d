"""Statements with how far they have come, and the differences to settle."""

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import (
    HttpRequest,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from billing import money as money_texts
from billing.admin import difference_words, tones, words
from billing.models import Difference, DifferenceState, Statement, StatementState
from billing.reconciliation import days, statements
from billing.spreadsheets import BYTE_ORDER_MARK, harmless
from lines.admin.acts import Act, ActsMixin
from lines.admin.base import RecordAdmin, StoryMixin, label, link, period, state
from lines.admin.searching import SearchMixin

FETCH = Act(
    verb="fetch-statement",
    label=_("Fetch again"),
    explanation=_(
        "The statement is asked for anew within minutes and compared. What was explained stays"
        " explained while its figures are the same."
    ),
    permission="billing.fetch_statement",
    is_legal=lambda statement: (
        statement.state in (StatementState.DONE, StatementState.FAILED, StatementState.WAITING)
    ),
    run=lambda statement, *, actor, reason, at: statements.ask_again(statement=statement, at=at),
)
EXPLAIN = Act(
    verb="explain-difference",
    label=_("Explain"),
    explanation=_(
        "It is closed with your reason. No money moves: what is to be given back or charged is done"
        " on the page of the recharge."
    ),
    permission="billing.explain_difference",
    is_legal=lambda difference: difference.state == DifferenceState.OPEN,
    run=lambda difference, **why: days.explain(difference=difference, **why),
    refusals={days.NotOpen: _("It is closed already.")},
)


@admin.register(Statement)
class StatementAdmin(ActsMixin, RecordAdmin):
    """Each day of each rail's and carrier's own books."""

    acts = (FETCH,)
    list_display = ("day", "source", "state_label", "progress", "unreadable_rows", "to_settle",
                    "finished_at", "next_try_at", "last_error")  # fmt: skip
    list_filter = ("state", "source_kind", "code")
    ordering = ("-day", "code")
    fields = ("day", "source", "state_label", "progress", "unreadable_rows", "awaiting",
              "to_settle", "sums", "attempts", "started_at", "progress_at", "fetched_at",
              "finished_at", "next_try_at", "last_error")  # fmt: skip

    state_label = state(tones.STATEMENT)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        is_open = Q(differences__state=DifferenceState.OPEN)
        counted: QuerySet[Any] = rows.annotate(open_count=Count("differences", filter=is_open))
        return counted

    @display(description=_("whose"), ordering="code")
    def source(self, statement: Statement) -> str:
        return f"{statement.get_source_kind_display()} · {words.rail(statement.code)}"

    @display(description=_("rows read"), ordering="rows_read")
    def progress(self, statement: Statement) -> str:
        """How many, and while it is being read, how fast."""
        read = f"{statement.rows_read:,}"
        begun = statement.started_at
        if statement.state != StatementState.FETCHING or begun is None or not statement.rows_read:
            return read
        elapsed_s = max(1, int((timezone.now() - begun).total_seconds()))
        rate = statement.rows_read // elapsed_s
        return gettext("%(rows)s so far, %(rate)s a second") % {"rows": read, "rate": f"{rate:,}"}

    @display(description=_("to settle"))
    def to_settle(self, statement: Any) -> Any:
        if not statement.open_count:
            return "-"
        return _to_list(statement)

    @display(description=_("what it says in sum"))
    def sums(self, statement: Statement) -> str:
        return " · ".join(
            gettext("%(n)s × %(what)s, %(amount)s, fees %(fees)s")
            % {
                "n": f"{one['count']:,}",
                "what": difference_words.WHAT.get(one["kind"], one["kind"]),
                "amount": difference_words.amount(one["amount_minor"], one["currency"]),
                "fees": difference_words.amount(one["fee_minor"], one["currency"]),
            }
            for one in statement.totals
        )


def _to_list(statement: Any) -> Any:
    """A link to the open differences of one statement."""
    count = statement.open_count
    address = reverse("admin:billing_difference_changelist")
    text = ngettext("%(n)s difference", "%(n)s differences", count) % {"n": count}
    query = f"state__exact={DifferenceState.OPEN}&statement__id__exact={statement.pk}"
    return format_html('<a class="k-link" href="{}?{}">{}</a>', address, query, text)


@admin.register(Difference)
class DifferenceAdmin(StoryMixin, ActsMixin, SearchMixin, RecordAdmin):
    """What does not match; the page of one says what each side has, and what to do."""

    acts = (EXPLAIN,)
    page_template = "admin/billing/difference/page.html"
    list_before_template = "admin/billing/difference/export.html"
    list_display = ("found_at", "statement_link", "kind", "state_label", "our_ref", "their_ref",
                    "our_amount", "their_amount", "line_number", "recharge_link")  # fmt: skip
    list_display_links = ("found_at", "kind")
    list_filter = ("state", "kind", "line_kind", "statement__code", period("found_at"))
    list_select_related = ("statement", "recharge")
    ordering = ("-pk",)
    search_help_text = _("Our reference or theirs, or that of the recharge")

    statement_link = link("statement", description=_("statement"))
    recharge_link = link("recharge", description=_("recharge"))
    state_label = state(tones.DIFFERENCE)

    @display(description=_("our amount"), ordering="our_amount_minor")
    def our_amount(self, one: Difference) -> str:
        return difference_words.amount(one.our_amount_minor, one.our_currency)

    @display(description=_("their amount"), ordering="their_amount_minor")
    def their_amount(self, one: Difference) -> str:
        return difference_words.amount(one.their_amount_minor, one.their_currency)

    def found(self, term: str) -> Q:
        ref = term.upper()
        return Q(our_ref=ref) | Q(their_ref=term) | Q(recharge__ref=ref)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """A statement's page links to its own differences."""
        return lookup == "statement__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_urls(self) -> list[URLPattern]:
        export = path(
            "export.csv",
            self.admin_site.admin_view(self.export_view),
            name="billing_difference_export",
        )
        return [export, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> Any:
        """The list as it is filtered now, as CSV, streamed."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:billing_difference_changelist"))
        return StreamingHttpResponse(
            _csv(rows.order_by("pk").iterator(chunk_size=1000)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="differences.csv"'},
        )

    def facts(self, subject: Difference) -> list[tuple[Any, Any]]:
        told = difference_words.told(subject)
        return [(_("Our books"), told.ours), (_("Their statement"), told.theirs)]

    def page_context(self, request: HttpRequest, one: Difference) -> dict[str, Any]:
        """The two sides in words, where the evidence is, and what may be done."""
        return {
            "title": one.get_kind_display(),
            "difference": one,
            "told": difference_words.told(one),
            "state": label(one.get_state_display(), tones.DIFFERENCE.get(one.state, "")),
            "buttons": self.buttons(request, one),
            "evidence": _evidence(one),
        }


class _Echo:
    """A file that hands back what is written to it, so that a row can be streamed."""

    def write(self, row: str) -> str:
        return row


def _csv(rows: Iterator[Difference]) -> Iterator[str]:
    """Amounts as plain decimals, instants ISO 8601, texts that no spreadsheet runs."""
    writer = csv.writer(_Echo())
    yield BYTE_ORDER_MARK + writer.writerow(
        [
            _("statement"), _("difference"), _("state"), _("about"), _("our reference"),
            _("their reference"), _("our amount"), _("our currency"), _("their amount"),
            _("their currency"), _("line"), _("recharge"), _("found at"), _("explanation"),
        ]
    )  # fmt: skip
    for one in rows:
        yield writer.writerow([harmless(cell) for cell in _cells(one)])


def _cells(one: Difference) -> list[str]:
    return [
        str(one.statement),
        str(one.get_kind_display()),
        str(one.get_state_display()),
        one.line_kind,
        one.our_ref,
        one.their_ref,
        _decimal(one.our_amount_minor, one.our_currency),
        one.our_currency,
        _decimal(one.their_amount_minor, one.their_currency),
        one.their_currency,
        "" if one.line_number is None else str(one.line_number),
        one.recharge.ref if one.recharge else "",
        one.found_at.isoformat(timespec="seconds"),
        one.reason,
    ]


def _decimal(amount_minor: int | None, currency: str) -> str:
    if amount_minor is None:
        return ""
    try:
        return money_texts.to_decimal_text(amount_minor, currency)
    except money_texts.UnknownCurrency:
        return str(amount_minor)


def _evidence(one: Difference) -> list[tuple[Any, str]]:
    """Lists of what was sent, answered and told under its reference."""
    if not one.our_ref:
        return []
    is_rail = one.statement.source_kind == "rail"
    name = "railcall" if is_rail else "carriercall"
    app = "billing" if is_rail else "lines"
    lists = ((f"{app}_{name}", _("calls")), ("billing_inboundnotification", _("messages")))
    return [
        (words, f"{reverse(f'admin:{model}_changelist')}?q={one.our_ref}") for model, words in lists
    ]
