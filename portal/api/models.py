"""What the API itself remembers: who may call it, what was asked before, and how often."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from lines.fields import ReferenceField
from lines.secrets_at_rest import SecretTextField


class Scope(models.TextChoices):
    """What a token may do. A signed-in browser may do all but push readings."""

    READ = "read", _("read own lines, rules, recharges")
    WRITE = "write", _("change own lines, rules, recharges")
    ESIM_CODES = "esim:codes", _("read own activation codes")
    PUSH_READINGS = "readings:push", _("report balances of the carrier's lines")


class ApiClient(models.Model):
    """A program that calls the API for `owner`, known by a token of which only a hash is kept.

    With a `carrier` it is that carrier's own system, and reports balances of the carrier's lines.
    """

    public_id = ReferenceField(editable=False)
    name = models.CharField(_("name"), max_length=60)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="api_clients",
        verbose_name=_("owner"),
    )
    carrier = models.ForeignKey(
        "lines.Carrier",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="api_clients",
        verbose_name=_("carrier"),
    )
    token_hash = models.CharField(max_length=64, unique=True, editable=False)  # SHA-256, hex
    token_hint = models.CharField(_("token ends in"), max_length=4, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope), verbose_name=_("may"))
    created_at = models.DateTimeField(_("issued at"))
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    class Meta:
        verbose_name = _("API client")
        verbose_name_plural = _("API clients")
        constraints = [
            models.CheckConstraint(
                name="api_client_scopes_known", condition=Q(scopes__contained_by=Scope.values)
            ),
            # Balances start recharges: whoever reports them must answer for one carrier.
            models.CheckConstraint(
                name="api_client_pushes_for_a_carrier",
                condition=~Q(scopes__contains=[Scope.PUSH_READINGS.value])
                | Q(carrier__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class IdempotentRequest(models.Model):
    """One write by one caller under one key, and what it was answered.

    `status` NULL: under way until `lease_until`, or its process died and it may be done again.
    """

    caller = models.CharField(max_length=40)  # "client:<id>" or "user:<id>"
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # keyed hash of method, path, If-Match and body
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = SecretTextField(blank=True)  # as sent, to the byte
    created_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)  # the database's clock
    fence = models.PositiveIntegerField(default=1)

    class Meta:
        verbose_name = _("idempotent request")
        verbose_name_plural = _("idempotent requests")
        constraints = [
            models.UniqueConstraint(name="idempotent_request_once", fields=["caller", "key"]),
        ]
        indexes = [models.Index(name="idempotent_request_age", fields=["created_at"])]

    def __str__(self) -> str:
        return f"{self.caller} {self.created_at:%Y-%m-%d}"


class RequestCount(models.Model):
    """How often one caller asked in one window. A row, so that it holds across processes."""

    key = models.CharField(max_length=80)  # "<kind>:<caller>"
    window = models.BigIntegerField()  # seconds since 1970 at its start, the database's clock
    count = models.PositiveIntegerField()

    class Meta:
        verbose_name = _("request count")
        verbose_name_plural = _("request counts")
        constraints = [
            models.UniqueConstraint(name="request_count_once", fields=["key", "window"]),
        ]
        indexes = [models.Index(name="request_count_age", fields=["window"])]

    def __str__(self) -> str:
        return f"{self.key} {self.count}"
