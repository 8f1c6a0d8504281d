"""The inbox: everything told, in the words of today's reader."""

from typing import cast

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from billing import queries
from billing.notices import telling
from portal.accounts.models import User

_PAGE = 20
_MOST_MARKED = 1_000


@login_required
def index(request: HttpRequest) -> HttpResponse:
    told = queries.notices(request.user).select_related("line", "owner", "recharge")
    page = Paginator(told.order_by("-created_at", "-pk"), _PAGE).get_page(request.GET.get("page"))
    shown = [
        (notice, telling.words(notice=notice, language=request.LANGUAGE_CODE)) for notice in page
    ]
    context = {"page": page, "shown": shown, "section": ""}
    return render(request, "portal/notices.html", context)


@login_required
@require_POST
def mark_read(request: HttpRequest) -> HttpResponse:
    unread = queries.notices(request.user).filter(read_at__isnull=True)
    ids = list(unread.values_list("pk", flat=True)[:_MOST_MARKED])
    telling.mark_read(owner_id=cast(User, request.user).pk, notice_ids=ids, at=timezone.now())
    return redirect("portal:notices")
