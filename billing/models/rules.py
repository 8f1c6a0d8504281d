from datetime import time

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from billing.states import Trigger
from lines import zones
from lines.fields import PlainArrayField, ReferenceField

CYCLE_CHOICES = [  # the values of billing.calendar.Cycle
    ("none", _("no schedule")),
    ("monthly", _("monthly")),
    ("quarterly", _("quarterly")),
    ("yearly", _("yearly")),
]


class TopUpMode(models.TextChoices):
    BY = "by", _("by a fixed amount")
    TO = "to", _("up to a balance")


def default_reminder_days() -> list[int]:
    return [5, 2]


# Where an owner has chosen none, as for a recharge by hand of a line without a rule.
DEFAULT_CHANNELS = ("inbox", "email")


def default_channels() -> list[str]:
    return list(DEFAULT_CHANNELS)


class Rule(models.Model):
    """The one contract of a line: schedule, low balance and expiry, sharing caps and cool-down.

    `is_on` is the owner's switch and needs a consent; `paused_at` is the system's. The row's
    `wake_at` says when a rule must next be looked at: due work costs what is due, not what exists.
    """

    public_id = ReferenceField(editable=False)
    line = models.OneToOneField(
        "lines.Line", models.PROTECT, related_name="rule", verbose_name=_("line")
    )
    sim_generation = models.PositiveIntegerField(default=1)
    binding = models.ForeignKey(
        "billing.Binding",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="rules",
        verbose_name=_("payment method"),
    )
    fallback_binding = models.ForeignKey(
        "billing.Binding",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="fallback_rules",
        verbose_name=_("second payment method"),
    )
    face_minor = models.PositiveBigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3, default="CNY")

    cycle = models.CharField(_("cycle"), max_length=10, choices=CYCLE_CHOICES, default="none")
    anchor_date = models.DateField(_("first charge on"), null=True, blank=True)
    charge_time = models.TimeField(_("time of day"), default=time(9, 0))
    next_index = models.PositiveIntegerField(default=0)
    next_run_at = models.DateTimeField(_("next charge"), null=True, blank=True)
    skip_index = models.PositiveIntegerField(null=True, blank=True)  # the one the owner skips
    grace_s = models.PositiveIntegerField(default=24 * 3600)  # one late catch-up, no later
    # How long before money moves its rail must be set to work; each decision sets it anew.
    lead_s = models.PositiveIntegerField(default=0)

    threshold_minor = models.BigIntegerField(_("low balance below"), null=True, blank=True)
    topup_mode = models.CharField(
        _("top up"), max_length=2, choices=TopUpMode, default=TopUpMode.BY
    )
    target_minor = models.BigIntegerField(_("top up to"), null=True, blank=True)
    hysteresis_minor = models.PositiveBigIntegerField(default=0)
    is_armed = models.BooleanField(_("armed"), default=True)
    episode = models.PositiveIntegerField(default=1)  # one recharge for each time it runs low
    # A credit that must have lifted the line well above its threshold opens the latch then.
    rearms_at = models.DateTimeField(null=True, blank=True)
    low_episode = models.PositiveIntegerField(default=0)  # the last one in which it was low
    cooldown_s = models.PositiveIntegerField(_("cool-down, seconds"), default=3600)
    cooldown_until = models.DateTimeField(_("cooling down until"), null=True, blank=True)
    max_reading_age_s = models.PositiveIntegerField(default=24 * 3600)

    expiry_days_before = models.PositiveSmallIntegerField(
        _("days before expiry"), null=True, blank=True
    )
    expiry_fired_for = models.DateField(null=True, blank=True)  # the validity already dealt with
    expiry_tried_on = models.DateField(null=True, blank=True)  # the line's day of the last try

    max_per_charge_minor = models.PositiveBigIntegerField(_("most a charge"))
    max_per_day_count = models.PositiveSmallIntegerField(_("charges a day"), default=1)
    max_per_month_minor = models.PositiveBigIntegerField(_("most a month"))

    remind_low_balance = models.BooleanField(_("remind when low"), default=True)
    remind_days_before = PlainArrayField(
        models.PositiveSmallIntegerField(),
        verbose_name=_("remind days before a charge"),
        default=default_reminder_days,
        blank=True,
    )
    remind_result = models.BooleanField(_("tell the result"), default=True)
    channels = PlainArrayField(
        models.CharField(max_length=10), verbose_name=_("channels"), default=default_channels
    )

    is_on = models.BooleanField(_("on"), default=False)
    consent = models.ForeignKey(
        "billing.Consent", models.PROTECT, null=True, blank=True, related_name="+"
    )
    paused_until = models.DateTimeField(_("paused by the owner until"), null=True, blank=True)
    paused_at = models.DateTimeField(_("paused by the system at"), null=True, blank=True)
    pause_reason = models.CharField(max_length=40, blank=True)

    wake_at = models.DateTimeField(null=True, blank=True)
    notify_at = models.DateTimeField(null=True, blank=True)  # the next reminder before a charge
    crash_count = models.PositiveSmallIntegerField(default=0)
    version = models.PositiveIntegerField(default=1)  # counts edits; a review page pins one
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("auto-recharge rule")
        verbose_name_plural = _("auto-recharge rules")
        permissions = [("resume_rule", _("Can let a rule paused by the system go on"))]
        constraints = [
            # Only the confirm page writes a consent, and nothing else ever turns a rule on.
            models.CheckConstraint(
                name="rule_on_needs_consent",
                condition=Q(is_on=False) | Q(consent__isnull=False, binding__isnull=False),
            ),
            models.CheckConstraint(
                name="rule_cycle_needs_anchor",
                condition=Q(cycle="none") | Q(anchor_date__isnull=False),
            ),
            models.CheckConstraint(name="rule_amount_positive", condition=Q(face_minor__gt=0)),
            models.CheckConstraint(
                name="rule_target_above_threshold",
                condition=Q(target_minor__isnull=True) | Q(target_minor__gt=F("threshold_minor")),
            ),
            models.CheckConstraint(
                name="rule_to_needs_target",
                condition=~Q(topup_mode="to") | Q(target_minor__isnull=False),
            ),
            models.CheckConstraint(
                name="rule_month_cap_holds_a_charge",
                condition=Q(max_per_month_minor__gte=F("face_minor")),
            ),
            models.CheckConstraint(
                name="rule_charge_cap_holds_a_charge",
                condition=Q(max_per_charge_minor__gte=F("face_minor")),
            ),
        ]
        indexes = [
            models.Index(name="rule_wake", fields=["wake_at"], condition=Q(wake_at__isnull=False)),
            models.Index(
                name="rule_notify", fields=["notify_at"], condition=Q(notify_at__isnull=False)
            ),
            # The operators' front page lists those the system has paused.
            models.Index(
                name="rule_paused", fields=["paused_at"], condition=Q(paused_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.line}"

    @property
    def is_held(self) -> bool:
        """The system holds it back. A line's zone that is none does so before the executor, coming
        by, has written it down."""
        return self.paused_at is not None or not zones.is_zone(self.line.timezone)

    @property
    def held_for(self) -> str:
        """Why, as a code."""
        return self.pause_reason if self.paused_at is not None else "zone_unknown"


class Consent(models.Model):
    """What a person agreed to, word for word, when and from where. Append only."""

    line = models.ForeignKey("lines.Line", models.PROTECT, related_name="consents")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="consents")
    binding = models.ForeignKey("billing.Binding", models.PROTECT, related_name="consents")
    text = models.TextField(_("words agreed to"))
    text_version = models.CharField(_("version"), max_length=20)
    language = models.CharField(max_length=10)
    plan = models.JSONField(_("plan on record"))  # amount, cycle, triggers, caps, the next dates
    at = models.DateTimeField(_("agreed at"))
    ip = models.GenericIPAddressField(_("from address"), null=True)
    user_agent = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")

    def __str__(self) -> str:
        return f"{self.line_id} {self.at:%Y-%m-%d}"


class Decision(models.Model):
    """Why a rule did or did not charge: stored once per occurrence and reason. Append only."""

    rule = models.ForeignKey(Rule, models.PROTECT, related_name="decisions", db_index=False)
    trigger = models.CharField(_("trigger"), max_length=12, choices=Trigger)
    period_key = models.CharField(max_length=40)
    code = models.CharField(_("reason"), max_length=30)
    is_charge = models.BooleanField(_("charged"))
    facts = models.JSONField(default=dict)  # the figures behind it, minor units and ISO times
    recharge = models.ForeignKey(
        "billing.Recharge", models.PROTECT, null=True, related_name="decisions"
    )
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")
        constraints = [
            models.UniqueConstraint(
                name="decision_once", fields=["rule", "trigger", "period_key", "code"]
            ),
        ]
        indexes = [models.Index(name="decision_by_rule", fields=["rule", "-at"])]

    def __str__(self) -> str:
        return f"{self.rule_id} {self.code}"
