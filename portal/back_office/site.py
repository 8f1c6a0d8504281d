"""The operators' site: Unfold's look, our front page, our guards.

Only models of ours are registered. Others bring pages that show secrets (tokens, second factors)
or run what is typed into them (django-q's schedules).
"""

from collections.abc import Callable
from typing import Any

from allauth.account.decorators import secure_admin_login
from csp.decorators import csp_replace
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from unfold.sites import UnfoldAdminSite

from billing import money
from portal.back_office import second_factor
from portal.back_office.look import CONTENT_SECURITY_POLICY

OURS = frozenset({"lines", "billing", "accounts", "portal", "auth", "admin"})


class OperatorsSite(UnfoldAdminSite):
    """`django.contrib.admin.site`, by `portal.back_office.apps`."""

    index_title = gettext_lazy("What needs you")

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """allauth's entrance and no other: Django's form knows no throttle and no second factor.

        The one with a password: most operators have an address here and no number.
        """
        if not request.user.is_authenticated:
            wanted = request.GET.get("next") or reverse("admin:index", current_app=self.name)
            return redirect_to_login(wanted, reverse("account_login"))
        return secure_admin_login(self._come_in)(request)  # type: ignore[no-any-return]

    def _come_in(self, request: HttpRequest) -> HttpResponse:
        """An operator who is signed in; what is missing yet is asked for on the way."""
        index = reverse("admin:index", current_app=self.name)
        return HttpResponseRedirect(second_factor.missing_step(request) or index)

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Ours only: whatever another app registers by itself is left out."""
        is_one = isinstance(model_or_iterable, type)
        models: list[Any] = [model_or_iterable] if is_one else list(model_or_iterable)
        ours = [model for model in models if model._meta.app_label in OURS]
        if ours:
            super().register(ours, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and not second_factor.missing_step(request)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        """Every page of the site passes here: no second factor, no page; and its own policy."""
        inner = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            is_operator = UnfoldAdminSite.has_permission(self, request)
            if is_operator and (step := second_factor.missing_step(request)):
                messages.info(request, _("Operators sign in with a second factor."))
                return HttpResponseRedirect(step)
            return inner(request, *args, **kwargs)  # type: ignore[no-any-return]

        return csp_replace(CONTENT_SECURITY_POLICY)(guarded)

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The sidebar lists everything; a page for each app would say it twice."""
        return HttpResponseRedirect(reverse("admin:index"))

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One place for passwords: the account's own pages."""
        return HttpResponseRedirect(reverse("account_change_password"))

    def extra_context(self, context: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        """Colours come from `admin.css`: Unfold would write them into each page as a style."""
        context["colors"] = None
        return context

    def fresh_factor_step(self, request: HttpRequest) -> str:
        """Where the second factor is shown again before money moves; "" while it is fresh."""
        return second_factor.fresh_step(request)

    def money(self, amount_minor: int, currency: str) -> str:
        """An amount in minor units as people read it; the pages of `lines` ask here."""
        return money.format_minor(amount_minor, currency, get_language() or "en")
