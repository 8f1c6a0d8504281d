"""The roles every installation starts with: what support, finance and whoever is on duty may do.

Made once: what an administrator changes afterwards stays changed. Nobody gets one by himself.
"""

from collections.abc import Iterable

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

# Every model that has a page; not what only administrators see (roles, users' rights, API clients).
_SEEN_APPS = ("lines", "billing")
_SEEN_BESIDES = ("accounts.view_user", "admin.view_logentry", "portal.view_heartbeat")

ROLES: dict[str, tuple[str, ...]] = {
    "客服 Support": (
        "billing.query_recharge",
        "billing.cancel_recharge",
        "billing.request_refund",
        "billing.resume_rule",
        "billing.unpause_binding",
    ),
    "财务 Finance": (
        "billing.query_recharge",
        "billing.review_recharge",
        "billing.redeliver_recharge",
        "billing.request_refund",
        "billing.approve_refund",
        "billing.request_settlement",
        "billing.approve_settlement",
        "billing.explain_difference",
        "billing.fetch_statement",
        "billing.change_spendingcap",
        "billing.add_spendingcap",
    ),
    "值班 On duty": (
        "billing.query_recharge",
        "billing.review_recharge",
        "billing.redeliver_recharge",
        "billing.request_settlement",
        "billing.defer_rail",
        "billing.fetch_statement",
        "billing.change_rail",
        "billing.change_rate",
        "billing.add_rate",
        "billing.delete_rate",
        "billing.change_declinecode",
        "billing.add_declinecode",
        "lines.defer_carrier",
        "lines.change_carrier",
    ),
    "市场 Marketing": ("billing.add_promotion", "billing.change_promotion"),
}


def ensure(**_signal: object) -> None:
    """Make the roles that are missing. Repeatable; takes a signal's arguments and needs none."""
    for name, permissions in ROLES.items():
        group, is_new = Group.objects.get_or_create(name=name)
        if is_new:
            group.permissions.set(_named([*permissions, *_SEEN_BESIDES]) | _views())


def _views() -> set[Permission]:
    found = Permission.objects.filter(
        content_type__app_label__in=_SEEN_APPS, codename__startswith="view_"
    )
    return set(found.exclude(codename="view_full_number"))


def _named(permissions: Iterable[str]) -> set[Permission]:
    wanted = Q()
    for permission in permissions:
        app, codename = permission.split(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    return set(Permission.objects.filter(wanted))
