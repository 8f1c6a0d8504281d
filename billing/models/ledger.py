from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class TransferKind(models.TextChoices):
    CHARGE = "charge", _("charge")
    DISCOUNT = "discount", _("discount")
    BONUS = "bonus", _("bonus")
    DELIVER = "deliver", _("delivery")
    REVERSE = "reverse", _("reversal by the carrier")
    REFUND = "refund", _("refund")
    REFUND_PROMOTION = "refund_promotion", _("promotion returned")
    # Money that a rail took otherwise than agreed: no charge of ours, and never credited.
    STRAY = "stray", _("taken otherwise than agreed")
    STRAY_RETURNED = "stray_returned", _("given back at the rail")
    CHARGEBACK = "chargeback", _("taken back by the payer's bank")
    CHARGEBACK_RETURNED = "chargeback_returned", _("disputed money given us again")
    # Of refunds: what came back to us, went another way, or was not what had been asked for.
    REFUND_FAILED = "refund_failed", _("refund that came back")
    PROMOTION_AGAIN = "promotion_again", _("promotion's part again")
    PAID_OUT = "paid_out", _("refunded by another way")
    REFUND_EXCESS = "refund_excess", _("given back beyond the refund")
    REFUND_FOREIGN = "refund_foreign", _("given back in another currency")
    LOSS_COVERED = "loss_covered", _("loss covered by what was not credited")
    REFUND_KEPT = "refund_kept", _("refund given in another currency")
    FEE = "fee", _("the rail's fee")
    FEE_RETURNED = "fee_returned", _("fee given back")


# These happen at most once in the life of a recharge.
ONCE_PER_RECHARGE = (TransferKind.CHARGE, TransferKind.DISCOUNT, TransferKind.BONUS)


class Transfer(models.Model):
    """One positive amount moved from one account to another. Append only.

    Written by `ledger.transfers`. Accounts are texts: `rail:<rail>`, `undelivered`,
    `carrier:<carrier>`, `promotion`, `fees`, `losses`, `suspense`, `elsewhere`. A balance is what
    came in less what went out, per currency.
    """

    recharge = models.ForeignKey(
        "billing.Recharge", models.PROTECT, related_name="transfers", verbose_name=_("recharge")
    )
    kind = models.CharField(_("kind"), max_length=20, choices=TransferKind)
    # The payment attempt, delivery or refund it belongs to: one transfer of a kind for each.
    reference = models.CharField(_("reference"), max_length=40)
    source = models.CharField(_("from account"), max_length=40)
    destination = models.CharField(_("to account"), max_length=40)
    amount_minor = models.PositiveBigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("ledger transfer")
        verbose_name_plural = _("ledger transfers")
        indexes = [BrinIndex(name="transfer_by_day", fields=["at"], autosummarize=True)]
        constraints = [
            models.CheckConstraint(name="transfer_positive", condition=Q(amount_minor__gt=0)),
            models.CheckConstraint(
                name="transfer_two_accounts",
                condition=~Q(source=F("destination")) & ~Q(source="") & ~Q(destination=""),
            ),
            models.CheckConstraint(
                name="transfer_kind_known", condition=Q(kind__in=TransferKind.values)
            ),
            models.UniqueConstraint(name="transfer_once", fields=["reference", "kind"]),
            models.UniqueConstraint(
                name="transfer_once_per_recharge",
                fields=["recharge", "kind"],
                condition=Q(kind__in=[kind.value for kind in ONCE_PER_RECHARGE]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"
