"""Operators come in with a second factor or not at all.

allauth asks for it when somebody signs in who has one; that operators must have one, and that this
very session has shown it, is decided here.
"""

import time

from allauth.account.authentication import get_authentication_records
from allauth.mfa.signals import authenticator_added
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.dispatch import receiver
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

_ADDED = "second_factor_added_by"
FRESH_S = 10 * 60


@receiver(authenticator_added, dispatch_uid="portal.back_office.second_factor")
def note_added(request: HttpRequest, user, **_kwargs: object) -> None:
    """Whoever has just set one up has shown it: they need not show it again in this session."""
    request.session[_ADDED] = user.pk


def missing_step(request: HttpRequest) -> str:
    """Where this operator must go before the admin opens; "" when nothing is missing."""
    if not settings.ADMIN_NEEDS_SECOND_FACTOR:
        return ""
    here = urlencode({"next": request.get_full_path()})
    if not is_mfa_enabled(request.user):
        return f"{reverse('mfa_activate_totp')}?{here}"
    return "" if _is_shown(request) else f"{reverse('mfa_reauthenticate')}?{here}"


def fresh_step(request: HttpRequest) -> str:
    """Where the factor is shown once more before money moves; "" when it was shown just now.

    Back to the page, by GET: what was being sent is sent again by a person, not by a redirect.
    """
    if not settings.ADMIN_NEEDS_SECOND_FACTOR:
        return ""
    records = get_authentication_records(request, request.user)
    shown = (record["at"] for record in records if record.get("method") == "mfa")
    if time.time() - max(shown, default=0) <= FRESH_S:
        return ""
    return f"{reverse('mfa_reauthenticate')}?{urlencode({'next': request.path})}"


def _is_shown(request: HttpRequest) -> bool:
    records = get_authentication_records(request, request.user)
    shown = any(record.get("method") == "mfa" for record in records)
    return shown or request.session.get(_ADDED) == request.user.pk
