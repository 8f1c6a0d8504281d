from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class NoticeKind(models.TextChoices):
    LOW_BALANCE = "low_balance", _("low balance")
    UPCOMING_CHARGE = "upcoming_charge", _("before a charge")
    RECHARGED = "recharged", _("recharged")
    NOT_RECHARGED = "not_recharged", _("not recharged")
    RETRYING = "retrying", _("declined, will retry")
    CONFIRMING = "confirming", _("confirming payment")
    ACTION_REQUIRED = "action_required", _("confirm the payment")
    REFUNDED = "refunded", _("refunded")
    REFUND_FAILED = "refund_failed", _("refund that came back")
    REVERSED = "reversed", _("reversed by the carrier")
    RULE_ON = "rule_on", _("auto-recharge on")
    RULE_OFF = "rule_off", _("auto-recharge off")
    RULE_PAUSED = "rule_paused", _("auto-recharge paused")
    BINDING_ENDED = "binding_ended", _("payment method ended")
    BINDING_EXPIRING = "binding_expiring", _("payment method expires soon")
    MISSED = "missed", _("charge missed")
    CAP_NEAR = "cap_near", _("cap nearly reached")
    CAP_REACHED = "cap_reached", _("cap reached")
    FALLS_SHORT = "falls_short", _("one recharge is not enough")
    NUMBER_MOVED = "number_moved", _("number verified by someone else")


class Channel(models.TextChoices):
    INBOX = "inbox", _("Keepline inbox")
    EMAIL = "email", _("e-mail")


class Notice(models.Model):
    """Something told to one person, once per occurrence and kind. The row is the inbox entry."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="notices", db_index=False
    )
    kind = models.CharField(_("kind"), max_length=20, choices=NoticeKind)
    occurrence_key = models.CharField(max_length=80)
    line = models.ForeignKey("lines.Line", models.PROTECT, null=True, related_name="notices")
    recharge = models.ForeignKey(
        "billing.Recharge", models.PROTECT, null=True, related_name="notices"
    )
    # What the words are made from, in the reader's language when read; no numbers, no secrets.
    facts = models.JSONField(default=dict)
    created_at = models.DateTimeField(_("at"))
    read_at = models.DateTimeField(_("read at"), null=True)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        constraints = [
            models.UniqueConstraint(name="notice_once", fields=["owner", "kind", "occurrence_key"]),
        ]
        indexes = [models.Index(name="notice_inbox", fields=["owner", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.occurrence_key}"


class NoticeDelivery(models.Model):
    """One notice by one channel that can fail: kept until it is sent or given up."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")

    notice = models.ForeignKey(Notice, models.CASCADE, related_name="deliveries", db_index=False)
    channel = models.CharField(_("channel"), max_length=10, choices=Channel)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.WAITING)
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    act_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(_("sent at"), null=True)
    error = models.CharField(_("error"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("notice delivery")
        verbose_name_plural = _("notice deliveries")
        constraints = [
            models.UniqueConstraint(name="notice_channel_once", fields=["notice", "channel"]),
        ]
        indexes = [
            models.Index(
                name="notice_delivery_due", fields=["act_at"], condition=Q(act_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.notice_id} {self.channel}"
