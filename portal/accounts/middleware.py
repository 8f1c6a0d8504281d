"""How long a session lasts: so long unused, so long in all; shorter for operators.

What is shown in one is kept by no browser: after signing out, the back button shows nothing.
"""

import time
from collections.abc import Callable

from allauth.core.exceptions import RateLimited
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext as _

from lines import zones

_KEY = "session_limits"
# The last use is written no more often: a page is not worth a write each time.
_PRECISION_S = 60


class SessionLimits:
    """Ends a session that was unused or lived for too long, and answers a throttled request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated:
            return self.get_response(request)
        self._check(request, int(time.time()))
        zone = getattr(request.user, "timezone", None)  # nobody's, where the session just ended
        with timezone.override(zones.zone_of(zone) if zone else None):
            response = self.get_response(request)
        patch_cache_control(response, private=True, no_store=True)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        # allauth raises it where a code is sent again too soon, and answers it nowhere.
        return render(request, "429.html", status=429) if isinstance(error, RateLimited) else None

    def _check(self, request: HttpRequest, now_s: int) -> None:
        is_staff = request.user.is_staff
        idle_s = settings.SESSION_IDLE_STAFF_S if is_staff else settings.SESSION_IDLE_S
        whole_s = settings.SESSION_LIFE_STAFF_S if is_staff else settings.SESSION_COOKIE_AGE
        began_s, seen_s = request.session.get(_KEY, (now_s, 0))
        if now_s - began_s > whole_s or (seen_s and now_s - seen_s > idle_s):
            logout(request)
            messages.info(request, _("You were signed out to keep your account safe."))
        elif now_s - seen_s >= _PRECISION_S:
            request.session[_KEY] = (began_s, now_s)
