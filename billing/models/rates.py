from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from billing.models.outages import OutageSide

MOST_CALLS_PER_S = 10_000
MOST_IN_FLIGHT = 10_000
BURST_S = 10  # no burst is longer than what is allowed in so many seconds


class Rate(models.Model):
    """How fast a rail or carrier may be called, by all workers together: what its contract says,
    and what is left of it now, which `billing.rates` keeps."""

    side = models.CharField(_("a rail's or a carrier's"), max_length=7, choices=OutageSide)
    code = models.SlugField(_("code"), max_length=20)
    calls_per_s = models.PositiveIntegerField(
        _("calls a second"),
        help_text=_("As its contract says. Empty: it names no limit."),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_CALLS_PER_S)],
    )
    burst = models.PositiveIntegerField(
        _("at once"),
        help_text=_("So many calls at once after a rest: no more than ten seconds' worth."),
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(BURST_S * MOST_CALLS_PER_S)],
    )
    in_flight = models.PositiveIntegerField(
        _("at a time"),
        help_text=_("Calls under way, of all workers together. Empty: as many as they have seats."),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_IN_FLIGHT)],
    )
    tokens = models.FloatField(default=0, editable=False)
    counted_at = models.DateTimeField(null=True, editable=False)  # the database's clock
    # It said "too fast": where it began anew then, from where it climbs back.
    slow_per_s = models.FloatField(null=True, editable=False)
    slowed_at = models.DateTimeField(_("slowed down at"), null=True, editable=False)

    class Meta:
        verbose_name = _("call rate")
        verbose_name_plural = _("call rates")
        constraints = [
            models.UniqueConstraint(name="rate_one_each", fields=["side", "code"]),
            models.CheckConstraint(
                name="rate_makes_sense",
                condition=(
                    Q(calls_per_s__isnull=True)
                    | Q(
                        calls_per_s__range=(1, MOST_CALLS_PER_S),
                        burst__lte=F("calls_per_s") * BURST_S,
                    )
                )
                & Q(burst__gte=1)
                & (Q(in_flight__isnull=True) | Q(in_flight__range=(1, MOST_IN_FLIGHT))),
                violation_error_message=_(
                    "At once, no more than ten seconds' worth of calls may be made."
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.code}"
