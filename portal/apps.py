"""The edge as a Django app. Importing `checks` registers the refusals of wrong settings."""

from django.apps import AppConfig

from portal import checks

__all__ = ["PortalConfig", "checks"]


class PortalConfig(AppConfig):
    name = "portal"
