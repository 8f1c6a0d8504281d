"""The edge as a Django app. Importing `checks` registers the refusals of wrong settings."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from portal import checks

__all__ = ["PortalConfig", "checks"]


class PortalConfig(AppConfig):
    name = "portal"

    def ready(self) -> None:
        from portal import housekeeping  # noqa: PLC0415 - models exist only now
        from portal.back_office import roles  # noqa: PLC0415 - models exist only now

        post_migrate.connect(housekeeping.ensure, sender=self)
        post_migrate.connect(roles.ensure, sender=self)
