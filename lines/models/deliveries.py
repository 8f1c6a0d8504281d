from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class DeliveryState(models.TextChoices):
    INTENDED = "intended", _("intended")
    ACCEPTED = "accepted", _("accepted by the carrier")
    CREDITED = "credited", _("credited")
    REJECTED = "rejected", _("rejected")
    UNKNOWN = "unknown", _("outcome unknown")
    REVERSED = "reversed", _("reversed")


class Delivery(models.Model):
    """One credit of one line. `reference` is committed before the carrier hears of it."""

    reference = models.CharField(_("reference"), max_length=26, unique=True)
    # The recharge it is for, by that recharge's own reference: lines know nothing of billing.
    order_ref = models.CharField(_("order"), max_length=26)
    number = models.PositiveSmallIntegerField(_("attempt"), default=1)
    line = models.ForeignKey("lines.Line", models.PROTECT, related_name="deliveries")
    amount_minor = models.PositiveBigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    state = models.CharField(
        _("state"), max_length=8, choices=DeliveryState, default=DeliveryState.INTENDED
    )
    carrier_ref = models.CharField(_("carrier's reference"), max_length=64, blank=True)
    credited_minor = models.PositiveBigIntegerField(_("credited"), null=True)  # carrier's figure
    code = models.CharField(_("carrier's code"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("created at"))
    settled_at = models.DateTimeField(_("settled at"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        constraints = [
            models.CheckConstraint(
                name="delivery_amount_positive", condition=Q(amount_minor__gt=0)
            ),
            models.CheckConstraint(
                name="delivery_state_known", condition=Q(state__in=DeliveryState.values)
            ),
            models.UniqueConstraint(name="delivery_numbered", fields=["order_ref", "number"]),
            # One effective credit per order, and nothing new while one may yet take effect.
            models.UniqueConstraint(
                name="delivery_one_live_per_order",
                fields=["order_ref"],
                condition=~Q(state__in=["rejected", "reversed"]),
            ),
        ]

        # A carrier's message may know an order by the carrier's own number alone.
        indexes = [models.Index(name="delivery_by_carrier_ref", fields=["carrier_ref"])]

    def __str__(self) -> str:
        return self.reference


class CarrierCall(models.Model):
    """Raw evidence of one exchange with a carrier, numbers masked. Append only."""

    kind = models.CharField(_("call"), max_length=60)
    reference = models.CharField(_("reference"), max_length=40)
    request = models.TextField(_("request"))
    response = models.TextField(_("response"))
    error = models.CharField(_("error"), max_length=200, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("carrier call")
        verbose_name_plural = _("carrier calls")
        indexes = [models.Index(name="carrier_call_by_reference", fields=["reference"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"
