from django.db import models
from django.utils.translation import gettext_lazy as _


class BalanceReading(models.Model):
    """One balance as reported. All are kept; only those newer than the last applied one count."""

    class Source(models.TextChoices):
        PUSHED = "pushed", _("pushed by the carrier")
        POLLED = "polled", _("asked from the carrier")
        DELIVERY = "delivery", _("with a delivery")

    line = models.ForeignKey("lines.Line", models.PROTECT, related_name="readings")
    balance_minor = models.BigIntegerField(_("balance"))  # may be negative
    reserved_minor = models.BigIntegerField(default=0)
    observed_at = models.DateTimeField(_("as of"))
    sequence = models.BigIntegerField(null=True)
    valid_until = models.DateTimeField(_("valid until"), null=True)
    received_at = models.DateTimeField(_("received at"))
    source = models.CharField(_("source"), max_length=8, choices=Source)
    is_applied = models.BooleanField(_("applied"))

    class Meta:
        verbose_name = _("balance reading")
        verbose_name_plural = _("balance readings")
        # For a carrier's own system: a balance it reports may start a recharge.
        permissions = [("push_readings", _("Can report balances of a carrier's lines"))]
        indexes = [models.Index(name="reading_by_line", fields=["line", "-observed_at"])]

    def __str__(self) -> str:
        return f"{self.line_id} {self.observed_at:%Y-%m-%d %H:%M}"
