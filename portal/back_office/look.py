"""How the admin looks, where its sidebar leads, and what its pages may load."""

from collections.abc import Callable
from typing import Any

from csp.constants import SELF, UNSAFE_EVAL
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy
from django.utils.translation import gettext_lazy as _

# docs/decisions/0003-admin-csp.md: Alpine, which moves Unfold's pages, evaluates what their
# attributes say; nothing else is loosened.
CONTENT_SECURITY_POLICY = {
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF],
}


def _may(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perm(permission)


def _list(title: Any, icon: str, model: str) -> dict[str, Any]:
    """An entry of the sidebar: the list of a model, "app.model"."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "active": _is_here(f"admin:{app}_{name}_changelist"),
        "permission": _may(f"{app}.view_{name}"),
    }


def _filtered(title: Any, icon: str, model: str, **query: str) -> dict[str, Any]:
    """The same list, narrowed down to what waits."""
    app, name = model.split(".")
    url_name = f"admin:{app}_{name}_changelist"
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    return {
        "title": title,
        "icon": icon,
        "link": lambda request: f"{reverse(url_name)}?{asked}",
        "active": lambda request: request.get_full_path() == f"{reverse(url_name)}?{asked}",
        "permission": _may(f"{app}.view_{name}"),
    }


def _is_here(url_name: str) -> Callable[[HttpRequest], bool]:
    def is_here(request: HttpRequest) -> bool:
        return request.path.startswith(reverse(url_name))

    return is_here


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: by what an operator comes for, not by app."""
    return [
        {
            "title": _("Needs you"),
            "items": [
                {
                    "title": _("Front page"),
                    "icon": "home",
                    "link": reverse_lazy("admin:index"),
                },
                _filtered(_("Recharges waiting"), "front_hand", "billing.recharge", needs="yes"),
                _filtered(
                    _("Refunds to approve"),
                    "how_to_reg",
                    "billing.refund",
                    state__exact="requested",
                ),
                _filtered(
                    _("Differences"), "difference", "billing.difference", state__exact="open"
                ),
            ],
        },
        {
            "title": _("Lines"),
            "separator": True,
            "items": [
                _list(_("Lines"), "sim_card", "lines.line"),
                _list(_("Carriers"), "cell_tower", "lines.carrier"),
                _list(_("Deliveries"), "move_to_inbox", "lines.delivery"),
                _list(_("Balance readings"), "monitoring", "lines.balancereading"),
            ],
        },
        {
            "title": _("Money"),
            "separator": True,
            "items": [
                _list(_("Recharges"), "bolt", "billing.recharge"),
                _list(_("Refunds"), "undo", "billing.refund"),
                _list(_("Settlements"), "handshake", "billing.settlement"),
                _list(_("Payment attempts"), "send_money", "billing.paymentattempt"),
                _list(_("Ledger"), "menu_book", "billing.transfer"),
                _list(_("Statements"), "fact_check", "billing.statement"),
                _list(_("Payment methods"), "account_balance_wallet", "billing.binding"),
                _list(_("Payment rails"), "route", "billing.rail"),
                _list(_("Call rates"), "shutter_speed", "billing.rate"),
                _list(_("Promotions"), "redeem", "billing.promotion"),
                _list(_("Promotion uses"), "loyalty", "billing.promotionuse"),
                _list(_("Spending caps"), "speed", "billing.spendingcap"),
            ],
        },
        {
            "title": _("Rules"),
            "separator": True,
            "items": [
                _list(_("Auto-recharge rules"), "event_repeat", "billing.rule"),
                _list(_("Decisions"), "rule", "billing.decision"),
                _list(_("Consents"), "task_alt", "billing.consent"),
                _list(_("Notices"), "notifications", "billing.notice"),
                _list(_("Notice deliveries"), "outgoing_mail", "billing.noticedelivery"),
                _list(_("Decline codes"), "block", "billing.declinecode"),
            ],
        },
        {
            "title": _("System"),
            "separator": True,
            "items": [
                _list(_("Users"), "group", "accounts.user"),
                _list(_("Roles"), "badge", "auth.group"),
                _list(_("API clients"), "key", "portal.apiclient"),
                _list(_("Operations"), "handyman", "lines.operation"),
                _list(_("Log"), "history", "admin.logentry"),
                _list(_("Moves"), "swap_horiz", "billing.rechargemove"),
                _list(_("Rail calls"), "call_made", "billing.railcall"),
                _list(_("Carrier calls"), "call_made", "lines.carriercall"),
                _list(_("Outages"), "cloud_off", "billing.outage"),
                _list(_("Notifications"), "call_received", "billing.inboundnotification"),
                _list(_("Signs of life"), "ecg_heart", "portal.heartbeat"),
            ],
        },
    ]


UNFOLD = {
    "SITE_TITLE": _("Keepline operators"),
    "SITE_HEADER": _("Keepline"),
    "SITE_SUBHEADER": _("Operators"),
    "SITE_URL": "/",
    "SITE_SYMBOL": "sim_card",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("portal/favicon.svg"),
        },
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_LANGUAGES": True,
    "SHOW_BACK_BUTTON": True,
    # By name: the front page shows models, whose admin modules need the site to register with.
    "DASHBOARD_CALLBACK": "portal.desk.front_page.front_page",
    "BORDER_RADIUS": "8px",
    "STYLES": [lambda request: static("portal/admin.css")],
    "SIDEBAR": {"show_search": False, "navigation": navigation},
    "ACCOUNT": {
        "navigation": [
            {"title": _("Account and second factor"), "link": reverse_lazy("mfa_index")},
            {"title": _("Change password"), "link": reverse_lazy("account_change_password")},
        ],
    },
}
