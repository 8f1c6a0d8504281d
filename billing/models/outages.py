from django.db import models
from django.utils.translation import gettext_lazy as _


class OutageSide(models.TextChoices):
    RAIL = "rail", _("payment rail")
    CARRIER = "carrier", _("carrier")


class Outage(models.Model):
    """The last time that a rail or carrier gave no answer: one row each, kept for the next one."""

    side = models.CharField(_("side"), max_length=7, choices=OutageSide)
    code = models.SlugField(_("code"), max_length=20)
    is_failing = models.BooleanField(_("gives no answer"))
    since = models.DateTimeField(_("since"))
    reason = models.CharField(_("what came instead"), max_length=200, default="", db_default="")
    probe_at = models.DateTimeField(null=True)  # while it fails: when to try it next
    wake_at = models.DateTimeField(null=True)  # once it answers: when to have more asked about
    woken_at = models.DateTimeField(null=True)
    watched_until = models.DateTimeField(null=True)  # by the one task that does not go away

    class Meta:
        verbose_name = _("outage")
        verbose_name_plural = _("outages")
        constraints = [
            models.UniqueConstraint(name="outage_one_each", fields=["side", "code"]),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.code}"
