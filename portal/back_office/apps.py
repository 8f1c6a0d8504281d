"""Django's admin app with our site in it. A module of its own: settings name it, so it must not
import what needs them."""

from django.contrib.admin.apps import AdminConfig


class OperatorsAdmin(AdminConfig):
    """The operators' admin; `django.contrib.admin.site` is ours everywhere."""

    default_site = "portal.back_office.site.OperatorsSite"
