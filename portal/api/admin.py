"""Who may call the API, for operators: to be seen, and to be revoked with a reason."""

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from lines.admin.acts import Act, ActsMixin
from lines.admin.base import RecordAdmin, label, plain
from portal.api import clients
from portal.api.models import ApiClient

REVOKE = Act(
    verb="revoke-api-client",
    label=_("Revoke token"),
    explanation=_("The program is refused from now on. A revoked token cannot be given back."),
    permission="portal.change_apiclient",
    is_legal=lambda client: client.revoked_at is None,
    run=lambda client, *, actor, reason, at: clients.revoke(client=client, at=at),
    is_grave=True,
)


@admin.register(ApiClient)
class ApiClientAdmin(ActsMixin, RecordAdmin):
    """Tokens are made by `manage.py make_api_token`, which alone can show them."""

    acts = (REVOKE,)
    list_display = ("name", "owner", "carrier", "standing", "hint", "used")
    list_select_related = ("owner", "carrier")
    ordering = ("-pk",)
    fields = (
        "public_id",
        "name",
        "owner",
        "carrier",
        "scopes",
        "hint",
        "issued",
        "used",
        "revoked",
    )

    hint = plain("token_hint", _("token ends in"))
    issued = plain("created_at", _("issued at"))
    used = plain("last_used_at", _("last used at"))
    revoked = plain("revoked_at", _("revoked at"))

    @display(description=_("state"))
    def standing(self, client: ApiClient) -> Any:
        return label(_("withdrawn"), "bad") if client.revoked_at else label(_("in use"), "good")
