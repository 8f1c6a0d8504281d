from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Promotion(models.Model):
    """A discount (pay less) or a bonus (get more) for automatic recharges."""

    class Kind(models.TextChoices):
        DISCOUNT = "discount", _("discount: pay less")
        BONUS = "bonus", _("bonus: get more")

    class Stacking(models.TextChoices):
        EXCLUSIVE = "exclusive", _("exclusive: no other beside it")
        BEST_OF = "best_of", _("best of: the best one of these")
        ADDITIVE = "additive", _("additive: on top of others")

    code = models.SlugField(_("code"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=60)
    name_en = models.CharField(_("name in English"), max_length=60)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    # Either a share in basis points (150 = 1.5 %) or a fixed amount.
    basis_points = models.PositiveIntegerField(_("share, basis points"), null=True, blank=True)
    fixed_minor = models.PositiveBigIntegerField(_("fixed amount"), null=True, blank=True)
    max_benefit_minor = models.PositiveBigIntegerField(_("most for one"), null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, default="CNY")
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"))
    # Audience; an empty list means everyone.
    rails = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    carriers = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    triggers = ArrayField(models.CharField(max_length=12), default=list, blank=True)
    min_face_minor = models.PositiveBigIntegerField(_("smallest amount"), default=0)
    max_uses_per_line = models.PositiveIntegerField(_("uses a line"), null=True, blank=True)
    stacking = models.CharField(
        _("stacking"), max_length=10, choices=Stacking, default=Stacking.BEST_OF
    )
    budget_minor = models.PositiveBigIntegerField(_("budget"), null=True, blank=True)
    reserved_minor = models.PositiveBigIntegerField(_("reserved"), default=0)
    consumed_minor = models.PositiveBigIntegerField(_("consumed"), default=0)
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("promotion")
        verbose_name_plural = _("promotions")
        constraints = [
            models.CheckConstraint(
                name="promotion_one_measure",
                condition=Q(basis_points__isnull=True, fixed_minor__gt=0)
                | Q(basis_points__gt=0, basis_points__lte=10_000, fixed_minor__isnull=True),
            ),
            models.CheckConstraint(
                name="promotion_window_ordered", condition=Q(ends_at__gt=F("starts_at"))
            ),
            models.CheckConstraint(
                name="promotion_within_budget",
                condition=Q(budget_minor__isnull=True)
                | Q(budget_minor__gte=F("reserved_minor") + F("consumed_minor")),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PromotionUse(models.Model):
    """What one promotion gives one recharge: reserved when it opens, then consumed or released."""

    class State(models.TextChoices):
        RESERVED = "reserved", _("reserved")
        CONSUMED = "consumed", _("consumed")
        RELEASED = "released", _("released")

    promotion = models.ForeignKey(Promotion, models.PROTECT, related_name="uses")
    recharge = models.ForeignKey("billing.Recharge", models.PROTECT, related_name="promotion_uses")
    line = models.ForeignKey("lines.Line", models.PROTECT, related_name="promotion_uses")
    amount_minor = models.PositiveBigIntegerField(_("amount"))
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.RESERVED)

    class Meta:
        verbose_name = _("promotion use")
        verbose_name_plural = _("promotion uses")
        constraints = [
            models.UniqueConstraint(name="promotion_use_once", fields=["promotion", "recharge"]),
            models.CheckConstraint(name="promotion_use_positive", condition=Q(amount_minor__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.promotion_id} {self.recharge_id}"
