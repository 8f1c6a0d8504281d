from django.db import models
from django.utils.translation import gettext_lazy as _


class RailCall(models.Model):
    """Raw evidence of one exchange with a rail, secrets masked. Append only."""

    rail = models.CharField(_("payment rail"), max_length=20)
    kind = models.CharField(_("call"), max_length=60)
    reference = models.CharField(_("reference"), max_length=40)
    request = models.TextField(_("request"))
    response = models.TextField(_("response"))
    is_verified = models.BooleanField(_("signature good"))
    error = models.CharField(_("error"), max_length=200, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("rail call")
        verbose_name_plural = _("rail calls")
        indexes = [
            models.Index(name="rail_call_by_reference", fields=["reference"]),
            # Almost none: the operators' front page looks for them.
            models.Index(
                name="rail_call_not_genuine",
                fields=["at"],
                condition=models.Q(is_verified=False) & ~models.Q(response=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class InboundNotification(models.Model):
    """A verified message from a rail or carrier, stored before it is acknowledged.

    It is a reason to ask its sender, never a truth: `done_at` is set once that has been arranged.
    """

    source = models.CharField(_("from"), max_length=30)  # "rail:alipay", "carrier:cmcc"
    dedupe_id = models.CharField(max_length=128)
    kind = models.CharField(_("kind"), max_length=20)
    our_ref = models.CharField(_("our reference"), max_length=40, blank=True)
    provider_ref = models.CharField(_("its reference"), max_length=128, blank=True)
    refund_ref = models.CharField(_("refund reference"), max_length=40, blank=True)
    claims = models.CharField(_("what it says"), max_length=60, blank=True)
    dispute_ref = models.CharField(_("dispute"), max_length=64, blank=True, default="")
    said_at = models.DateTimeField(_("said at"), null=True)  # by the sender's clock
    amount_minor = models.BigIntegerField(_("amount"), null=True)
    body_masked = models.TextField(_("body"))
    received_at = models.DateTimeField(_("received at"))
    repeats = models.PositiveIntegerField(_("repeats"), default=0)
    done_at = models.DateTimeField(_("acted on at"), null=True)
    outcome = models.CharField(_("what was done"), max_length=40, blank=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        constraints = [
            models.UniqueConstraint(name="notification_once", fields=["source", "dedupe_id"]),
        ]
        indexes = [
            models.Index(
                name="notification_open",
                fields=["received_at"],
                condition=models.Q(done_at__isnull=True),
            ),
            models.Index(name="notification_by_ref", fields=["our_ref"]),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.kind} {self.our_ref}"
