from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from billing.states import Finding, SettlementState
from lines.fields import ReferenceField

_SAYS_NO_AMOUNT = Q(taken_minor__isnull=True, taken_currency="", returned_ref="")
_NAMES_NOTHING = ["nothing", "unrefunded", "uncredited", "not_taken"]
# An amount moved that may be another than was agreed or asked for.
_MOVED = ["lost", "returned", "otherwise"]
OF_REFUNDS = ["unrefunded", "refunded", "otherwise", "paid_out", "taken_back", "not_taken"]
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
    # The refund that a finding is about; NULL where it is about the payment or its credit.
    refund = models.ForeignKey(
        "billing.Refund", models.PROTECT, null=True, related_name="settlements"
    )
    finding = models.CharField(_("what the rail did"), max_length=10, choices=Finding)
    payment_ref = models.CharField(_("rail's reference"), max_length=64, blank=True)
    # The rail's own number of the dispute: a payment may be disputed twice.
    dispute_ref = models.CharField(
        _("dispute"), max_length=64, blank=True, default="", db_default=""
    )
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
                condition=Q(finding__in=_NAMES_NOTHING) | ~Q(payment_ref=""),
            ),
            models.CheckConstraint(
                name="settlement_says_how_much",
                condition=(Q(finding="given_back") & _SAYS_HOW_MUCH & ~Q(returned_ref=""))
                | (Q(finding__in=_MOVED, returned_ref="") & _SAYS_HOW_MUCH)
                | (~Q(finding__in=["given_back", *_MOVED]) & _SAYS_NO_AMOUNT),
            ),
            models.CheckConstraint(
                name="settlement_is_of_its_refund",
                condition=Q(finding__in=OF_REFUNDS, refund__isnull=False)
                | (~Q(finding__in=OF_REFUNDS) & Q(refund__isnull=True)),
            ),
            models.UniqueConstraint(
                name="settlement_one_waiting", fields=["recharge"], condition=Q(state="requested")
            ),
            models.UniqueConstraint(
                name="settlement_once_per_attempt",
                fields=["attempt"],
                condition=Q(state="approved", finding__in=["nothing", "as_agreed", "given_back"]),
            ),
        ]
        indexes = [
            models.Index(
                name="settlement_waiting", fields=["created_at"], condition=Q(state="requested")
            ),
        ]

    def __str__(self) -> str:
        return self.reference
