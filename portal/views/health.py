"""For monitors: 200 while money can move by itself, 503 with what ails it. No secrets, no login."""

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse

from portal.supervision.health import ailments


def healthz(request: HttpRequest) -> JsonResponse:
    """What is wrong, by name; an empty list is health."""
    try:
        wrong = ailments()
    except DatabaseError:
        wrong = ["database"]
    return JsonResponse({"ok": not wrong, "ailments": wrong}, status=503 if wrong else 200)
