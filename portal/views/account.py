"""The person's own account: who they are, how they sign in, what they read."""

from typing import Any, cast

from allauth.account.views import SignupView
from allauth.mfa.utils import is_mfa_enabled
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _

from lines.identifiers import mask_msisdn
from portal import languages, owned
from portal.accounts.models import User
from portal.forms.account import ProfileForm


class Register(SignupView):
    """allauth's sign-up, by phone number or, with ?by=email, by e-mail address."""

    def get_form_kwargs(self) -> Any:
        return super().get_form_kwargs() | {"by": self._by()}

    def get_context_data(self, **kwargs: object) -> Any:
        return super().get_context_data(**kwargs) | {"by": self._by()}

    def _by(self) -> str:
        return "email" if self.request.GET.get("by") == "email" else "phone"


@login_required
def show(request: HttpRequest) -> HttpResponse:
    user = cast(User, request.user)
    form = ProfileForm(owned.posted(request), instance=user)
    if request.method == "POST" and form.is_valid():
        form.save()
        with translation.override(user.language):
            messages.success(request, _("Saved."))
        response = redirect("portal:account")
        languages.remember(response, user.language)
        return response
    context = {
        "form": form,
        "phone": mask_msisdn(user.phone or ""),
        "has_second_factor": is_mfa_enabled(user),
        "session_count": UserSession.objects.filter(user=user).count(),
        "section": "",
    }
    return render(request, "portal/account.html", context)


@login_required
def leave(request: HttpRequest) -> HttpResponse:
    """How an account is closed, and what the law makes us keep."""
    return render(request, "portal/leave.html", {"section": ""})
