"""What the admin's pages share: nobody edits a record, and no list counts a whole table.

The site hands in how money is written (`AdminSite.money`): numbers know nothing of billing.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet, URLField
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextInputWidget

Text = str | Promise


class Desk(ModelAdmin):
    """A list and pages for operators. Nothing is deleted, and no list counts a whole table."""

    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    list_fullwidth = True
    actions = None
    formfield_overrides = {
        ArrayField: {"widget": UnfoldAdminTextInputWidget},
        URLField: {"assume_scheme": "https"},
    }
    search_help_text = _("Reference, e-mail address, or the last 4 figures of a number")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class RecordAdmin(Desk):
    """A record, or what only the domain writes: to be seen, never added, changed or deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class StoryMixin:
    """For a record whose page is not a form, since there is nothing to edit, but its story."""

    page_template: str
    admin_site: Any
    opts: Any

    def page_context(self, request: HttpRequest, one: Any) -> dict[str, Any]:
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        one = self.get_object(request, unquote(object_id))  # type: ignore[attr-defined]
        if one is None:
            raise Http404
        if not self.has_view_permission(request, one):  # type: ignore[attr-defined]
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": one,
            **self.page_context(request, one),
        }
        return TemplateResponse(request, self.page_template, context)


class SettingAdmin(Desk):
    """Data that operators mend. Each change is in the log, old value and new."""

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm, change: bool) -> None:
        """Write what was changed and nothing else: other columns have moved on meanwhile."""
        if not change:
            obj.save()
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)

    def construct_change_message(
        self, request: HttpRequest, form: ModelForm, formsets: Any, add: bool = False
    ) -> Any:
        if add:
            return super().construct_change_message(request, form, formsets, add)
        return "; ".join(
            f"{name}: {form.initial.get(name)!s} → {form.cleaned_data.get(name)!s}"
            for name in form.changed_data
        )


class Period(admin.SimpleListFilter):
    """A filter by time that asks the table nothing to draw itself: a hierarchy would scan it."""

    title = _("time")
    parameter_name = "when"
    field = "at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        today = timezone.localdate()
        found: list[tuple[str, Any]] = [
            (f"{today:%Y-%m-%d}", _("today")),
            (f"{today - timedelta(days=1):%Y-%m-%d}", _("yesterday")),
            ("7", _("last 7 days")),
        ]
        month = today.replace(day=1)
        for _back in range(12):
            found.append((f"{month:%Y-%m}", f"{month:%Y-%m}"))
            month = (month - timedelta(days=1)).replace(day=1)
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        begins, ends = _span(self.value())
        if begins is None:
            return queryset
        return queryset.filter(**{f"{self.field}__gte": begins, f"{self.field}__lt": ends})


class Among(admin.SimpleListFilter):
    """A filter among values known beforehand: Django would read the whole table for them."""

    known: Callable[[], Sequence[tuple[str, Text]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(type(self).known())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(**{str(self.parameter_name): chosen}) if chosen else queryset


def among(
    field_name: str, title: Text, known: Callable[[], Sequence[tuple[str, Text]]]
) -> type[Among]:
    """The filter on `field_name` by the values, with their words, that `known` gives."""
    made = {"parameter_name": field_name, "title": title, "known": staticmethod(known)}
    return type("AmongFilter", (Among,), made)


def period(field_name: str) -> type[Period]:
    """The filter on the instants in `field_name`."""
    return type("PeriodFilter", (Period,), {"field": field_name})


def _span(value: str | None) -> tuple[datetime | None, datetime | None]:
    """The instants a value of the filter lies between; (None, None) for all and for nonsense."""
    today = timezone.localdate()
    try:
        if not value:
            return None, None
        if value == "7":
            first, after = today - timedelta(days=6), today + timedelta(days=1)
        elif len(value) == 7:
            first = datetime.strptime(value, "%Y-%m").date()  # noqa: DTZ007 - a local month
            after = (first + timedelta(days=31)).replace(day=1)
        else:
            first = datetime.strptime(value, "%Y-%m-%d").date()  # noqa: DTZ007 - a local day
            after = first + timedelta(days=1)
    except ValueError:
        return None, None
    begins, ends = (timezone.make_aware(datetime.combine(day, time.min)) for day in (first, after))
    return begins, ends


class Switched(admin.SimpleListFilter):
    """Whether a nullable instant is set: paused or not, deferred or not."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("yes")), ("no", _("no"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(**{f"{self.field}__isnull": self.value() == "no"})


def switched(field_name: str, title: Text) -> type[Switched]:
    """The filter on whether `field_name` is set, under `title`."""
    made = {"field": field_name, "title": title, "parameter_name": field_name}
    return type("SwitchedFilter", (Switched,), made)


def money(
    amount: str, *, currency: str = "currency", description: Text = "", ordering: str = ""
) -> Any:
    """A column of an amount in minor units, written with its currency's sign; "-" for none."""

    @display(description=description, ordering=ordering or amount)
    def column(self: Any, obj: Any) -> str:
        minor, code = (walk(obj, path) for path in (amount, currency))
        return "-" if minor is None else self.admin_site.money(minor, code)

    return column


def link(path: str, *, description: Text, text: str = "", ordering: str = "") -> Any:
    """A column that leads to the page of the object at `path`, where the operator may see it."""

    @display(description=description, ordering=ordering or path.replace(".", "__"))
    def column(self: Any, obj: Any) -> str | SafeString:
        other = walk(obj, path)
        if other is None:
            return "-"
        return page_link(other, walk(other, text) if text else other)

    return column


def page_link(other: Model, text: object = "") -> SafeString:
    """A link to the page of `other`."""
    return format_html('<a class="k-link" href="{}">{}</a>', page_url(other), text or str(other))


def page_url(other: Model) -> str:
    """The page of `other` in the admin."""
    meta = other._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[other.pk])


def plain(path: str, description: Text) -> Any:
    """A column of what is at `path`, under words of our own: some fields have none."""

    @display(description=description, ordering=path.replace(".", "__"))
    def column(self: Any, obj: Any) -> Any:
        value = walk(obj, path)
        if isinstance(value, datetime):
            # Django writes a page's read-only values without the reader's zone.
            return date_format(timezone.localtime(value), "DATETIME_FORMAT")
        return "-" if value is None else value

    return column


def said(what: object, says: object) -> str:
    """ "What: what it says", with the colon of the reader's language."""
    return gettext("%(what)s: %(says)s") % {"what": what, "says": says}


def related(lists: Sequence[tuple[str, str, Text]], key: int) -> SafeString:
    """Links to lists of what belongs to an object: (model's URL name, filter, words) each."""
    links = (
        (reverse(f"admin:{name}_changelist"), lookup, key, words) for name, lookup, words in lists
    )
    return format_html_join(" · ", '<a class="k-link" href="{}?{}={}">{}</a>', links)


def state(tones: Mapping[str, str], *, field: str = "state", description: Text = "") -> Any:
    """A column of a state as a label, coloured as in the portal: amber needs a person."""

    @display(description=description or _("state"), ordering=field)
    def column(self: Any, obj: Any) -> SafeString:
        return label(getattr(obj, f"get_{field}_display")(), tones.get(getattr(obj, field), ""))

    return column


def label(words: Text, tone: str = "") -> SafeString:
    """Words on a coloured ground; `tone`: "good", "warn", "bad" or ""."""
    return format_html('<span class="k-label k-{}">{}</span>', tone or "calm", words)


def walk(obj: Any, path: str) -> Any:
    """What is at `path` ("binding.rail"); None where the way there ends."""
    for name in path.split("."):
        if obj is None:
            return None
        obj = getattr(obj, name)
    return obj


def in_language(chinese: str, english: str) -> str:
    """The one of two names that the reader can read."""
    return english if (get_language() or "").startswith("en") and english else chinese
