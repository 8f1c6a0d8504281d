from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Right
from django.utils.translation import gettext_lazy as _

from lines.fields import ReferenceField, ZoneField
from lines.identifiers import mask_iccid, mask_msisdn
from lines.secrets_at_rest import SecretTextField


class LineKind(models.TextChoices):
    FM = "fm", _("FM card")
    ESIM = "esim", _("eSIM")


class LineStatus(models.TextChoices):
    UNVERIFIED = "unverified", _("not verified")
    ACTIVE = "active", _("active")
    SUSPENDED = "suspended", _("suspended")
    EXPIRED = "expired", _("expired")
    PORTED_OUT = "ported_out", _("ported out")
    TERMINATED = "terminated", _("terminated")
    REMOVED = "removed", _("removed")


LIVE_STATUSES = (LineStatus.ACTIVE, LineStatus.SUSPENDED, LineStatus.EXPIRED)
GONE_STATUSES = (LineStatus.PORTED_OUT, LineStatus.TERMINATED, LineStatus.REMOVED)


class Line(models.Model):
    """One prepaid line of one owner, with the balance the carrier last reported for it."""

    public_id = ReferenceField(editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="lines", verbose_name=_("owner")
    )
    kind = models.CharField(_("kind"), max_length=4, choices=LineKind)
    carrier = models.ForeignKey(
        "lines.Carrier",
        models.PROTECT,
        related_name="lines",
        verbose_name=_("carrier"),
    )
    label = models.CharField(_("name"), max_length=40, blank=True)
    msisdn = models.CharField(_("number"), max_length=16, blank=True)  # E.164 with its plus sign
    iccid = models.CharField("ICCID", max_length=20, blank=True)
    # Counts the SIMs this line has had. A rule holds for one generation, never for a number.
    sim_generation = models.PositiveIntegerField(default=1)
    status = models.CharField(
        _("status"), max_length=12, choices=LineStatus, default=LineStatus.UNVERIFIED
    )
    timezone = ZoneField(_("time zone"))
    currency = models.CharField(_("currency"), max_length=3, default="CNY")
    created_at = models.DateTimeField(_("added at"))
    verified_at = models.DateTimeField(_("verified at"), null=True, blank=True)

    # The last *applied* reading; BalanceReading keeps them all.
    balance_minor = models.BigIntegerField(_("balance"), null=True, blank=True)
    balance_reserved_minor = models.BigIntegerField(default=0)
    balance_observed_at = models.DateTimeField(_("balance as of"), null=True, blank=True)
    balance_sequence = models.BigIntegerField(null=True, blank=True)
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True)
    # When the balance is next asked for; NULL: the carrier pushes, or the line is gone.
    poll_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("line")
        verbose_name_plural = _("lines")
        permissions = [("view_full_number", _("Can see numbers in full"))]
        constraints = [
            models.CheckConstraint(
                name="line_has_an_address", condition=~Q(msisdn="") | ~Q(iccid="")
            ),
            models.CheckConstraint(
                name="line_status_known", condition=Q(status__in=LineStatus.values)
            ),
            # A number or a card proven by one owner cannot be proven by another while it lives.
            models.UniqueConstraint(
                name="line_number_proven_once",
                fields=["msisdn"],
                condition=Q(status__in=[s.value for s in LIVE_STATUSES]) & ~Q(msisdn=""),
            ),
            models.UniqueConstraint(
                name="line_card_proven_once",
                fields=["iccid"],
                condition=Q(status__in=[s.value for s in LIVE_STATUSES]) & ~Q(iccid=""),
            ),
        ]
        indexes = [
            models.Index(name="line_poll", fields=["poll_at"], condition=Q(poll_at__isnull=False)),
            # Operators look a line up by the last figures of its number, and by no more of it.
            models.Index(Right("msisdn", 4), name="line_last_four"),
            # Who else has had this number or card: asked at each proof, and for each offer that
            # is given once.
            models.Index(name="line_by_number", fields=["msisdn"]),
            models.Index(name="line_by_card", fields=["iccid"]),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.masked}".strip()

    @property
    def masked(self) -> str:
        """The number, or the card where there is no number, as it may be shown and logged."""
        return mask_msisdn(self.msisdn) if self.msisdn else mask_iccid(self.iccid)

    @property
    def is_live(self) -> bool:
        return self.status in LIVE_STATUSES


class EsimProfile(models.Model):
    """The profile behind an eSIM line. Whoever installs its code has the line: it is a secret."""

    class State(models.TextChoices):  # SGP.22's names for a profile's life
        AVAILABLE = "available", _("available")
        DOWNLOADED = "downloaded", _("downloaded")
        INSTALLED = "installed", _("installed")
        ENABLED = "enabled", _("enabled")
        DISABLED = "disabled", _("disabled")
        DELETED = "deleted", _("deleted")

    line = models.OneToOneField(Line, models.PROTECT, related_name="esim", verbose_name=_("line"))
    eid = models.CharField("EID", max_length=32, blank=True)
    smdp_address = models.CharField(_("SM-DP+ address"), max_length=255)
    matching_id = SecretTextField(_("matching ID"), blank=True)
    oid = models.CharField("OID", max_length=64, blank=True)
    needs_confirmation_code = models.BooleanField(_("needs a confirmation code"), default=False)
    ci_key = models.CharField(_("root key"), max_length=64, blank=True)
    tells_device_change = models.BooleanField(_("reports a change of phone"), default=False)
    state = models.CharField(_("state"), max_length=12, choices=State, default=State.AVAILABLE)

    class Meta:
        verbose_name = _("eSIM profile")
        verbose_name_plural = _("eSIM profiles")

    def __str__(self) -> str:
        return f"{self.line} · {self.get_state_display()}"


class LineProof(models.Model):
    """A code sent to a number, to prove who holds it. Only its hash is kept."""

    line = models.ForeignKey(Line, models.CASCADE, related_name="proofs")
    code_hash = models.CharField(max_length=64)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    tries_left = models.PositiveSmallIntegerField(default=5)
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("line proof")
        verbose_name_plural = _("line proofs")

    def __str__(self) -> str:
        return f"{self.line} · {self.sent_at:%Y-%m-%d}"
