from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from lines.fields import ZoneField

MAX_NOTICE_H = 240


class Carrier(models.Model):
    """Whoever credits a line: a mobile operator's BSS or an aggregator."""

    code = models.SlugField(_("code"), max_length=20, unique=True)
    name = models.CharField(_("name"), max_length=60)
    name_en = models.CharField(_("name in English"), max_length=60)
    currency = models.CharField(_("currency"), max_length=3)
    # What it sells, minor units, ascending; empty: any amount between the two bounds.
    denominations_minor = ArrayField(
        models.PositiveBigIntegerField(), verbose_name=_("amounts sold"), default=list, blank=True
    )
    min_amount_minor = models.PositiveBigIntegerField(_("smallest amount"), default=1)
    max_amount_minor = models.PositiveBigIntegerField(_("largest amount"), default=100_000)
    max_balance_minor = models.PositiveBigIntegerField(_("largest balance"), null=True, blank=True)
    timezone = ZoneField(_("time zone"))
    adapter = models.CharField(_("adapter"), max_length=20, default="tmf654")
    base_url = models.URLField(_("address of its API"))
    # TMF654 has no client idempotency key: which field echoes our reference is the carrier's own.
    reference_field = models.CharField(_("reference field"), max_length=40, default="description")
    can_query_by_reference = models.BooleanField(_("can be asked by reference"), default=True)
    permanent_codes = ArrayField(
        models.CharField(max_length=64),
        verbose_name=_("codes that refuse for good"),
        help_text=_(
            "The carrier's own error codes, separated by commas, that no later try can change: the"
            " money goes back at once. Those of the standard are known already."
        ),
        default=list,
        blank=True,
    )
    # What the law of its market wants told before anything is taken by itself, each time: when, how
    # much, and how to cancel. 0: nothing.
    notice_before_deduction_h = models.PositiveSmallIntegerField(
        _("notice before an automatic charge, hours"),
        help_text=_(
            "So long before each charge that auto-recharge makes, its payer is told the time, the"
            " amount and how to cancel it; what is low is charged that much later. China: 24. 0"
            " where the law asks for none."
        ),
        default=0,
        validators=[MaxValueValidator(MAX_NOTICE_H)],
    )
    # The incident switch: credits wait and drain later; nothing is dropped.
    deferred_since = models.DateTimeField(_("deferred since"), null=True, blank=True)
    # Written by `lines.refusals`: it answers no question of ours, for our token or contract.
    refuses_us_since = models.DateTimeField(
        _("refuses our questions since"), null=True, blank=True, editable=False
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("carrier")
        verbose_name_plural = _("carriers")
        permissions = [("defer_carrier", _("Can hold back and release a carrier's credits"))]
        constraints = [
            models.CheckConstraint(
                name="carrier_bounds_ordered",
                condition=Q(min_amount_minor__gt=0)
                & Q(max_amount_minor__gte=models.F("min_amount_minor")),
            ),
            models.CheckConstraint(
                name="carrier_notice_in_bounds",
                condition=Q(notice_before_deduction_h__lte=MAX_NOTICE_H),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def sells(self, amount_minor: int) -> bool:
        """Whether one top-up may be exactly `amount_minor`."""
        if self.denominations_minor:
            return amount_minor in self.denominations_minor
        return self.min_amount_minor <= amount_minor <= self.max_amount_minor

    def least_sold(self, wanted_minor: int) -> int | None:
        """The smallest single top-up of at least `wanted_minor`; None: there is none."""
        if self.denominations_minor:
            enough = [one for one in self.denominations_minor if one >= wanted_minor]
            return min(enough, default=None)
        least_minor = max(wanted_minor, self.min_amount_minor)
        return least_minor if least_minor <= self.max_amount_minor else None
