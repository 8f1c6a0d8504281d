from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from billing.states import Finding, SettlementState
from lines.fields import ReferenceField

_SAYS_NO_AMOUNT = Q(taken_minor__isnull=True, taken_currency="", returned_ref="")
# A comparison with NULL alone would let it pass.
_SAYS_HOW_MUCH = Q(taken_minor__isnull=False, taken_minor__gt=0) & ~Q(taken_currency="")


class Settlement(models.Model):
    """What a rail really did with one payment, as a person read it there and another confirmed.

    For what the rail cannot answer by itself. Written by `attestations` alone.
    """

    reference = ReferenceField(_("reference"))
    recharge = models.ForeignKey("billing.Recharge", models.PROTECT, related_name="settlements")
    attempt = models.ForeignKey(
        "billing.PaymentAttempt", models.PROTECT, related_name="settlements"
    )
    finding = models.CharField(_("what the rail did"), max_length=10, choices=Finding)
    payment_ref = models.CharField(_("rail's reference"), max_length=64, blank=True)
    # Of what was taken and given back, or taken back by a bank: how much. And given back by what.
    taken_minor = models.PositiveBigIntegerField(_("taken"), null=True)
    taken_currency = models.CharField(_("currency"), max_length=3, blank=True)
    returned_ref = models.CharField(_("reference it was given back by"), max_length=40, blank=True)
    reason = models.CharField(_("reason"), max_length=200)
    fingerprint = models.CharField(max_length=64)  # of the operation as it was asked for
    state = models.CharField(
        _("state"), max_length=9, choices=SettlementState, default=SettlementState.REQUESTED
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        verbose_name=_("requested by"),
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("decided by"),
    )
    created_at = models.DateTimeField(_("created at"))
    settled_at = models.DateTimeField(_("settled at"), null=True)

    class Meta:
        verbose_name = _("settlement")
        verbose_name_plural = _("settlements")
        permissions = [
            ("request_settlement", _("Can say what a rail did with a payment")),
            ("approve_settlement", _("Can confirm what another person says that a rail did")),
        ]
        constraints = [
            models.CheckConstraint(
                name="settlement_state_known", condition=Q(state__in=SettlementState.values)
            ),
            models.CheckConstraint(
                name="settlement_finding_known", condition=Q(finding__in=Finding.values)
            ),
            # Four eyes: one reads it at the rail, another has read it too.
            models.CheckConstraint(
                name="settlement_two_people",
                condition=~Q(state="approved")
                | (Q(decided_by__isnull=False) & ~Q(requested_by=F("decided_by"))),
            ),
            models.CheckConstraint(
                name="settlement_names_the_payment",
                condition=Q(finding="nothing") | ~Q(payment_ref=""),
            ),
            models.CheckConstraint(
                name="settlement_says_how_much",
                condition=(Q(finding="given_back") & _SAYS_HOW_MUCH & ~Q(returned_ref=""))
                | (Q(finding="lost", returned_ref="") & _SAYS_HOW_MUCH)
                | (Q(finding__in=["nothing", "as_agreed"]) & _SAYS_NO_AMOUNT),
            ),
            models.UniqueConstraint(
                name="settlement_one_waiting", fields=["recharge"], condition=Q(state="requested")
            ),
            models.UniqueConstraint(
                name="settlement_once_per_attempt",
                fields=["attempt"],
                condition=Q(state="approved") & ~Q(finding="lost"),
            ),
            # Disputed and lost long after it was found to be taken; perhaps twice, by two disputes.
            models.UniqueConstraint(
                name="settlement_lost_once",
                fields=["attempt", "payment_ref"],
                condition=Q(state="approved", finding="lost"),
            ),
        ]
        indexes = [
            models.Index(
                name="settlement_waiting", fields=["created_at"], condition=Q(state="requested")
            ),
        ]

    def __str__(self) -> str:
        return self.reference
