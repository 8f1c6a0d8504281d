from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from billing.states import DeclineClass


class DeclineCode(models.Model):
    """What a rail's code means for a recharge. Data, so that an operator can mend a class."""

    rail = models.CharField(_("payment rail"), max_length=20)
    code = models.CharField(_("code"), max_length=80)
    decline_class = models.CharField(_("class"), max_length=8, choices=DeclineClass)
    note = models.CharField(_("note"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("decline code")
        verbose_name_plural = _("decline codes")
        constraints = [
            models.UniqueConstraint(name="decline_code_once", fields=["rail", "code"]),
            models.CheckConstraint(
                name="decline_class_known", condition=Q(decline_class__in=DeclineClass.values)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rail} {self.code}"
