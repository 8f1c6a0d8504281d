"""The machinery's own records, to be read."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from lines.admin.base import RecordAdmin, period, plain
from lines.admin.searching import SearchMixin, people
from portal.api import admin as api_admin
from portal.models import Heartbeat

__all__ = ["HeartbeatAdmin", "LogEntryAdmin", "api_admin"]


@admin.register(Heartbeat)
class HeartbeatAdmin(RecordAdmin):
    """The last sign of life of each part."""

    list_display = ("part", "asked", "answered")
    ordering = ("name",)
    fields = ("part", "asked", "answered")

    part = plain("name", _("part"))
    asked = plain("asked_at", _("asked at"))
    answered = plain("answered_at", _("answered at"))


@admin.register(LogEntry)
class LogEntryAdmin(SearchMixin, RecordAdmin):
    """What was changed or done in the admin, by whom."""

    list_display = ("action_time", "user", "what", "object_repr", "message")
    list_filter = (period("action_time"),)
    list_select_related = ("user", "content_type")
    ordering = ("-pk",)
    fields = ("action_time", "user", "what", "object_id", "object_repr", "message")
    search_help_text = _("E-mail address of an operator")

    @display(description=_("kind"))
    def what(self, entry: LogEntry) -> str:
        kind: Any = entry.content_type
        return str(kind.name) if kind else "-"

    @display(description=_("what was done"))
    def message(self, entry: LogEntry) -> str:
        return entry.get_change_message()

    def found(self, term: str) -> Q:
        return Q(user__in=people(term)) | Q(object_id=term)
