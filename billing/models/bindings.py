from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from lines.fields import PlainArrayField, ReferenceField
from lines.secrets_at_rest import SecretTextField


def default_ladder_s() -> list[int]:
    """Soft declines are tried again after 6 h, 1 day and 3 days: four tries in all."""
    return [6 * 3600, 24 * 3600, 72 * 3600]


class Rail(models.Model):
    """What an operator decides about a payment rail; what the rail itself allows is code."""

    code = models.SlugField(_("code"), max_length=20, unique=True)
    name = models.CharField(_("name"), max_length=40)
    name_en = models.CharField(_("name in English"), max_length=40)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    # The incident switch: charges wait and drain later, inside their window; nothing is dropped.
    deferred_since = models.DateTimeField(_("deferred since"), null=True, blank=True)
    # Written by `bindings.refusals`: it answers no question of ours, for our key or contract.
    refuses_us_since = models.DateTimeField(
        _("refuses our questions since"), null=True, blank=True, editable=False
    )
    # A charge is refused unless its notice went out this many days before. 0: no such duty.
    mandatory_notice_days = models.PositiveSmallIntegerField(_("mandatory notice, days"), default=0)
    # Frozen into each recharge when it opens.
    retry_ladder_s = PlainArrayField(
        models.PositiveIntegerField(),
        verbose_name=_("retries after, seconds"),
        default=default_ladder_s,
        size=3,
    )
    # What the contract says it keeps of a payment; empty: a statement's fees are not checked.
    fee_rate_ppm = models.PositiveIntegerField(
        _("fee, millionths of a payment"), null=True, blank=True
    )
    sort_order = models.PositiveSmallIntegerField(default=0)

    class Meta:
        verbose_name = _("payment rail")
        verbose_name_plural = _("payment rails")
        permissions = [("defer_rail", _("Can hold back and release a rail's charges"))]

    def __str__(self) -> str:
        return self.name


class BindingState(models.TextChoices):
    PENDING = "pending", _("waiting for the agreement")
    ACTIVE = "active", _("active")
    SUSPENDED = "suspended", _("suspended by the rail")
    REVOKED = "revoked", _("revoked")
    EXPIRED = "expired", _("expired")
    ABANDONED = "abandoned", _("never agreed")


class Binding(models.Model):
    """One agreement by which a rail lets us charge a person. `ref` is our number for it."""

    ref = ReferenceField(editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="bindings", verbose_name=_("owner")
    )
    rail = models.ForeignKey(
        Rail,
        models.PROTECT,
        to_field="code",
        db_column="rail",
        related_name="bindings",
        verbose_name=_("payment rail"),
    )
    provider_ref = SecretTextField(_("agreement"), blank=True)
    label = models.CharField(_("account"), max_length=80, blank=True)  # masked by the rail
    # The same for the same instrument however often it is bound: a breaker cannot be shaken off.
    fingerprint = models.CharField(max_length=64, blank=True)
    state = models.CharField(
        _("state"), max_length=10, choices=BindingState, default=BindingState.PENDING
    )
    is_default = models.BooleanField(_("default"), default=False)
    created_at = models.DateTimeField(_("created at"))
    signed_at = models.DateTimeField(_("signed at"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    checked_at = models.DateTimeField(_("last asked at the rail"), null=True, blank=True)
    check_at = models.DateTimeField(null=True, blank=True)  # when to ask next
    # The breaker is ours, the switch is the user's: two fields, never one.
    failures_in_a_row = models.PositiveSmallIntegerField(default=0)
    paused_at = models.DateTimeField(_("paused by the system at"), null=True, blank=True)
    pause_reason = models.CharField(max_length=40, blank=True)
    max_per_month_minor = models.PositiveBigIntegerField(_("most a month"), null=True, blank=True)

    class Meta:
        verbose_name = _("payment method")
        verbose_name_plural = _("payment methods")
        permissions = [("unpause_binding", _("Can let a paused payment method be charged again"))]
        constraints = [
            models.CheckConstraint(
                name="binding_state_known", condition=Q(state__in=BindingState.values)
            ),
            models.UniqueConstraint(
                name="binding_one_default", fields=["owner"], condition=Q(is_default=True)
            ),
        ]
        indexes = [
            models.Index(
                name="binding_check", fields=["check_at"], condition=Q(check_at__isnull=False)
            ),
            models.Index(name="binding_fingerprint", fields=["fingerprint"]),
            # The operators' front page lists those that lapse soon.
            models.Index(
                name="binding_expiry", fields=["expires_at"], condition=Q(expires_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rail_id} {self.label}".strip()

    @property
    def is_usable(self) -> bool:
        return self.state == BindingState.ACTIVE and self.paused_at is None


class SpendingCap(models.Model):
    """The most one person's lines may take together."""

    owner = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="spending_cap",
        verbose_name=_("owner"),
    )
    max_per_month_minor = models.PositiveBigIntegerField(_("most a month"), null=True, blank=True)
    currency = models.CharField(max_length=3, default="CNY")

    class Meta:
        verbose_name = _("spending cap")
        verbose_name_plural = _("spending caps")

    def __str__(self) -> str:
        return f"{self.owner_id}"
