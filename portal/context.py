"""What every page's frame shows."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from billing.models import Notice


def chrome(request: HttpRequest) -> dict[str, Any]:
    """`unread`: how many notices wait in the inbox, asked only where a page shows it."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"unread": 0}
    return {
        "unread": SimpleLazyObject(
            lambda: Notice.objects.filter(owner=user, read_at__isnull=True).count()
        )
    }
