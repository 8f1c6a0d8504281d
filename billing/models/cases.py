from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Case(models.Model):
    """One thing that waits for a person: what it is, since when, what settled it, and by whom.

    Written by `recharges.cases` alone, by the rules of `casebook`. A recharge and its refund show
    the oldest that is open (`attention`): a trigger keeps that, and nothing else may write it.
    """

    recharge = models.ForeignKey(
        "billing.Recharge", models.PROTECT, related_name="cases", verbose_name=_("recharge")
    )
    # Where it is about money on its way back: which.
    refund = models.ForeignKey(
        "billing.Refund", models.PROTECT, null=True, related_name="cases", verbose_name=_("refund")
    )
    code = models.CharField(_("needs a person"), max_length=40)
    says = models.CharField(_("what it says"), max_length=200, blank=True)
    since = models.DateTimeField(_("since"))
    settled_at = models.DateTimeField(_("settled at"), null=True)
    settled_by = models.CharField(_("settled by"), max_length=40, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )

    class Meta:
        verbose_name = _("case")
        verbose_name_plural = _("cases")
        constraints = [
            models.UniqueConstraint(
                name="case_one_open",
                fields=["recharge", "refund", "code"],
                condition=Q(settled_at__isnull=True),
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="case_settled_by_something",
                condition=Q(settled_at__isnull=True, settled_by="", actor__isnull=True)
                | (Q(settled_at__isnull=False) & ~Q(settled_by="")),
            ),
        ]
        indexes = [
            models.Index(name="case_open", fields=["since"], condition=Q(settled_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.code
