from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Operation(models.Model):
    """What an operator did to something, and why. One row a token. Append only."""

    # Handed out with the page that offers it: a double click brings the same one twice.
    token = models.CharField(max_length=43, unique=True)
    verb = models.CharField(_("operation"), max_length=30)
    target = models.CharField(_("on"), max_length=60)  # "recharge:01JD…", "carrier:cmcc"
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("by")
    )
    reason = models.CharField(_("why"), max_length=200)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        indexes = [models.Index(name="operation_by_target", fields=["target", "-at"])]

    def __str__(self) -> str:
        return f"{self.verb} {self.target}"
