from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = _("Billing")

    def ready(self) -> None:
        # Django's own hook for rows that every installation has, as it uses it for permissions.
        from billing import reference_data  # noqa: PLC0415 - models exist only now

        post_migrate.connect(reference_data.load, sender=self)
