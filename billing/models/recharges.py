from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Case, F, Q, When
from django.utils.translation import gettext_lazy as _

from billing.states import (
    OPEN_STATES,
    UNDELIVERED_STATES,
    AttemptState,
    DeclineClass,
    RechargeState,
    RefundState,
    RefundWay,
    Trigger,
)
from lines.fields import ReferenceField

S = RechargeState
# By the lanes of `engine.taking`.
_CREDITED_NEXT = (S.CHARGED, S.DELIVERING, S.DELIVERY_PENDING, S.DELIVERY_UNKNOWN, S.COMPLETED)
_CHARGED_NEXT = (S.WAITING, S.DUE, S.DECLINED)


class Recharge(models.Model):
    """One intended top-up of one line, from its cause to its end. Moved by `recharges.machine`.

    `price_minor` is taken from the payer, `face_minor + bonus_minor` is owed to the line, and
    `credited_minor` is what the carrier says it credited. All are frozen when the row opens.
    """

    ref = ReferenceField(_("reference"))
    # Where an index of two columns begins with a key, none of its own is kept: each costs a write
    # at every move.
    line = models.ForeignKey(
        "lines.Line",
        models.PROTECT,
        related_name="recharges",
        verbose_name=_("line"),
        db_index=False,
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="recharges",
        verbose_name=_("owner"),
        db_index=False,
    )
    rule = models.ForeignKey(
        "billing.Rule", models.PROTECT, null=True, related_name="recharges", verbose_name=_("rule")
    )
    binding = models.ForeignKey(
        "billing.Binding",
        models.PROTECT,
        related_name="recharges",
        verbose_name=_("payment method"),
        db_index=False,
    )
    fallback_binding = models.ForeignKey(
        "billing.Binding", models.PROTECT, null=True, related_name="+", db_index=False
    )
    # Not charged, for its scheme allows it no further try now: the second one's turn came by that.
    passed_over = models.ForeignKey("billing.Binding", models.PROTECT, null=True, related_name="+")
    rail = models.CharField(_("payment rail"), max_length=20)
    sim_generation = models.PositiveIntegerField()
    trigger = models.CharField(_("trigger"), max_length=12, choices=Trigger)
    period_key = models.CharField(max_length=40)
    state = models.CharField(_("state"), max_length=16, choices=RechargeState)
    reason = models.CharField(_("reason"), max_length=40, blank=True)  # why it is in that state

    face_minor = models.PositiveBigIntegerField(_("amount"))
    discount_minor = models.PositiveBigIntegerField(_("discount"), default=0)
    bonus_minor = models.PositiveBigIntegerField(_("bonus"), default=0)
    price_minor = models.PositiveBigIntegerField(_("charged"))
    credited_minor = models.PositiveBigIntegerField(_("credited"), null=True)
    refund_committed_minor = models.PositiveBigIntegerField(_("refunds"), default=0)
    currency = models.CharField(_("currency"), max_length=3)
    ladder_s = ArrayField(models.PositiveIntegerField())  # waits after a soft decline, frozen
    declines = models.PositiveSmallIntegerField(_("declines"), default=0)
    attempt_count = models.PositiveSmallIntegerField(_("payment attempts"), default=0)
    delivery_count = models.PositiveSmallIntegerField(_("deliveries"), default=0)

    cap_day = models.DateField()  # the line's local day and month this counts for
    cap_month = models.DateField()
    created_at = models.DateTimeField(_("opened at"))
    due_at = models.DateTimeField(_("due at"))
    expires_at = models.DateTimeField(_("no later than"))  # not charged by then: missed
    # On a rail that announces its charges: when that was begun, and what it then allows.
    notice_sent_at = models.DateTimeField(_("announced at"), null=True)
    earliest_charge_at = models.DateTimeField(_("charged no earlier than"), null=True)
    latest_charge_at = models.DateTimeField(_("charged no later than"), null=True)
    announced_minor = models.PositiveBigIntegerField(_("announced"), null=True)
    charged_at = models.DateTimeField(_("paid at"), null=True)
    completed_at = models.DateTimeField(_("credited at"), null=True)

    act_at = models.DateTimeField(null=True)  # when the executor next has something to do
    lease_until = models.DateTimeField(null=True)  # the database's clock, never the host's
    fence = models.BigIntegerField(default=0)  # grows with every claim; a zombie's is too small
    crash_count = models.PositiveSmallIntegerField(default=0)
    queries = models.PositiveSmallIntegerField(default=0)  # asked so often since it became unknown
    unknown_since = models.DateTimeField(null=True)
    action_url = models.TextField(blank=True)
    # The oldest open case of it or its refunds, kept by a trigger: claims and lists go by it.
    attention = models.CharField(_("needs a person"), max_length=40, blank=True)
    attention_since = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("recharge")
        verbose_name_plural = _("recharges")
        permissions = [
            ("query_recharge", _("Can ask the rail or carrier about a recharge again")),
            ("cancel_recharge", _("Can cancel a recharge that is not charged yet")),
            ("review_recharge", _("Can approve or reject a held recharge")),
            ("redeliver_recharge", _("Can have a paid recharge credited again")),
        ]
        constraints = [
            models.CheckConstraint(
                name="recharge_state_known", condition=Q(state__in=RechargeState.values)
            ),
            models.CheckConstraint(
                name="recharge_price_is_face_less_discount",
                condition=Q(price_minor=F("face_minor") - F("discount_minor"))
                & Q(price_minor__gt=0),
            ),
            models.CheckConstraint(
                name="recharge_price_within_announced",
                condition=Q(announced_minor__isnull=True)
                | Q(price_minor__lte=F("announced_minor")),
            ),
            models.CheckConstraint(
                name="recharge_refunds_within_charge",
                condition=Q(refund_committed_minor__lte=F("price_minor")),
            ),
            models.CheckConstraint(
                name="recharge_paid_before_credited",
                condition=Q(completed_at__isnull=True) | Q(charged_at__isnull=False),
            ),
            models.CheckConstraint(
                name="recharge_undelivered_is_paid",
                condition=~Q(state__in=[s.value for s in UNDELIVERED_STATES])
                | Q(charged_at__isnull=False),
            ),
            models.UniqueConstraint(
                name="recharge_once_per_occurrence",
                fields=["rule", "trigger", "period_key"],
                # One that ended for the sake of new terms leaves the occurrence to its successor.
                condition=Q(rule__isnull=False)
                & ~Q(state="canceled", reason__in=["method_changed", "amount_changed"]),
            ),
            models.UniqueConstraint(
                name="recharge_one_open_per_line",
                fields=["line"],
                condition=Q(state__in=[s.value for s in OPEN_STATES]),
            ),
        ]
        indexes = [
            models.Index(name="recharge_act", fields=["act_at"], condition=Q(act_at__isnull=False)),
            models.Index(
                name="recharge_attention",
                fields=["attention_since"],
                condition=~Q(attention=""),
            ),
            # What is claimed next of a rail, as `engine.taking` says it.
            models.Index(
                "rail",
                Case(
                    When(state__in=[s.value for s in _CREDITED_NEXT], then=0),
                    When(~Q(state__in=[s.value for s in _CHARGED_NEXT]), then=2),
                    When(trigger__in=[Trigger.LOW_BALANCE.value, Trigger.MANUAL.value], then=1),
                    default=3,
                ),
                "act_at",
                name="recharge_lane",
                condition=Q(act_at__isnull=False),
            ),
            models.Index(name="recharge_line_month", fields=["line", "cap_month"]),
            models.Index(name="recharge_binding_month", fields=["binding", "cap_month"]),
            models.Index(name="recharge_owner_month", fields=["owner", "cap_month"]),
            models.Index(
                name="recharge_by_fallback",
                fields=["fallback_binding"],
                condition=Q(fallback_binding__isnull=False),
            ),
            # By day, for operators: rows come in order, so a summary of blocks is index enough.
            BrinIndex(name="recharge_by_day", fields=["created_at"], autosummarize=True),
        ]

    def __str__(self) -> str:
        return self.ref

    @property
    def credit_minor(self) -> int:
        """What the line is owed: the face value and any bonus."""
        return self.face_minor + self.bonus_minor

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES


class RechargeMove(models.Model):
    """One move of one recharge: from, to, when, why and by whom. Append only."""

    recharge = models.ForeignKey(Recharge, models.PROTECT, related_name="moves", db_index=False)
    source = models.CharField(_("from"), max_length=16, blank=True)  # empty: it was opened
    target = models.CharField(_("to"), max_length=16, choices=RechargeState)
    because = models.CharField(_("because"), max_length=40)
    note = models.CharField(_("note"), max_length=200, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("by"),
        db_index=False,
    )
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("recharge move")
        verbose_name_plural = _("recharge moves")
        indexes = [
            models.Index(name="move_by_recharge", fields=["recharge", "id"]),
            # Few moves are a person's.
            models.Index(name="move_by_actor", fields=["actor"], condition=Q(actor__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


class PaymentAttempt(models.Model):
    """One reference sent to one rail. Committed before the rail hears of it; never reused."""

    recharge = models.ForeignKey(Recharge, models.PROTECT, related_name="attempts", db_index=False)
    number = models.PositiveSmallIntegerField(_("number"))
    reference = models.CharField(_("reference"), max_length=26, unique=True)
    rail = models.CharField(_("payment rail"), max_length=20)
    binding = models.ForeignKey(
        "billing.Binding", models.PROTECT, related_name="attempts", verbose_name=_("payment method")
    )
    amount_minor = models.PositiveBigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    state = models.CharField(
        _("state"), max_length=9, choices=AttemptState, default=AttemptState.INTENDED
    )
    provider_ref = models.CharField(_("rail's reference"), max_length=64, blank=True)
    code = models.CharField(_("rail's code"), max_length=80, blank=True)
    decline_class = models.CharField(max_length=8, choices=DeclineClass, blank=True)
    created_at = models.DateTimeField(_("intended at"))
    settled_at = models.DateTimeField(_("settled at"), null=True)
    # Ended without money by its rail's word, which has spoken of it since: asked about before
    # anything else is sent, and kept while money of it is with a person.
    doubted_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("payment attempt")
        verbose_name_plural = _("payment attempts")
        indexes = [
            # Whoever writes to support has the number that the rail printed on the receipt.
            models.Index(
                name="attempt_by_provider_ref",
                fields=["provider_ref"],
                condition=~Q(provider_ref=""),
            ),
        ]
        constraints = [
            models.UniqueConstraint(name="attempt_numbered", fields=["recharge", "number"]),
            # One successful charge, and no new reference while another may yet succeed.
            models.UniqueConstraint(
                name="attempt_one_live_per_recharge",
                fields=["recharge"],
                condition=~Q(state__in=["declined", "closed"]),
            ),
            models.CheckConstraint(
                name="attempt_state_known", condition=Q(state__in=AttemptState.values)
            ),
            models.CheckConstraint(name="attempt_positive", condition=Q(amount_minor__gt=0)),
        ]

    def __str__(self) -> str:
        return self.reference


class Refund(models.Model):
    """Money on its way back, whole or part. `reference` never changes on a retry."""

    reference = ReferenceField(_("reference"))
    recharge = models.ForeignKey(Recharge, models.PROTECT, related_name="refunds")
    attempt = models.ForeignKey(PaymentAttempt, models.PROTECT, related_name="refunds")
    amount_minor = models.PositiveBigIntegerField(_("amount"))  # to the payer
    promotion_minor = models.PositiveBigIntegerField(_("promotion's part"), default=0)
    # What must come back from the carrier first; 0 where nothing was delivered.
    reversal_minor = models.PositiveBigIntegerField(_("credit to take back"), default=0)
    reversal_ref = models.CharField(max_length=26, unique=True, null=True)  # noqa: DJ001 - UNIQUE needs NULL
    currency = models.CharField(_("currency"), max_length=3)
    way = models.CharField(
        _("way"), max_length=9, choices=RefundWay, default=RefundWay.RAIL, db_default=RefundWay.RAIL
    )
    # Of one of which less was given back than was asked for, as two people have said: how much.
    given_minor = models.PositiveBigIntegerField(_("given back"), null=True)
    given_promotion_minor = models.PositiveBigIntegerField(null=True)
    state = models.CharField(_("state"), max_length=9, choices=RefundState)
    reason = models.CharField(_("reason"), max_length=200)
    fingerprint = models.CharField(max_length=64, blank=True)  # of it as it was asked for
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("requested by"),
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("approved by"),
    )
    code = models.CharField(_("rail's code"), max_length=80, blank=True)
    created_at = models.DateTimeField(_("created at"))
    settled_at = models.DateTimeField(_("settled at"), null=True)
    act_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.BigIntegerField(default=0)
    crash_count = models.PositiveSmallIntegerField(default=0)  # claims since the last outcome
    queries = models.PositiveSmallIntegerField(default=0)
    unknown_since = models.DateTimeField(null=True)  # no answer of its rail or carrier since
    # The oldest open case of it, kept by a trigger.
    attention = models.CharField(_("needs a person"), max_length=40, blank=True)

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        permissions = [
            ("request_refund", _("Can ask for a refund")),
            ("approve_refund", _("Can approve or reject a refund that another person asked for")),
        ]
        constraints = [
            models.CheckConstraint(name="refund_positive", condition=Q(amount_minor__gt=0)),
            models.CheckConstraint(
                name="refund_state_known", condition=Q(state__in=RefundState.values)
            ),
            models.CheckConstraint(name="refund_way_known", condition=Q(way__in=RefundWay.values)),
            models.CheckConstraint(
                name="refund_given_is_less",
                condition=Q(given_minor__isnull=True, given_promotion_minor__isnull=True)
                | Q(
                    given_minor__isnull=False,
                    given_promotion_minor__isnull=False,
                    given_minor__gt=0,
                    given_minor__lt=F("amount_minor"),
                    given_promotion_minor__lte=F("promotion_minor"),
                ),
            ),
            # Four eyes: whoever asked for money to move is not the one who lets it.
            models.CheckConstraint(
                name="refund_two_people",
                condition=Q(requested_by__isnull=True)
                | Q(approved_by__isnull=True)
                | ~Q(requested_by=F("approved_by")),
            ),
            models.CheckConstraint(
                name="refund_by_a_person_is_approved",
                condition=Q(requested_by__isnull=True)
                | Q(state__in=["requested", "refused"])
                | Q(approved_by__isnull=False),
            ),
            models.UniqueConstraint(
                name="refund_one_under_way",
                fields=["recharge"],
                condition=~Q(state__in=["succeeded", "refused"]),
            ),
        ]
        indexes = [
            models.Index(name="refund_act", fields=["act_at"], condition=Q(act_at__isnull=False)),
            models.Index(
                name="refund_waiting", fields=["created_at"], condition=Q(state="requested")
            ),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def returned_minor(self) -> int:
        """What of it went back to the payer, once it has succeeded."""
        return self.amount_minor if self.given_minor is None else self.given_minor

    @property
    def returned_promotion_minor(self) -> int:
        """And to the promotion."""
        given_minor = self.given_promotion_minor
        return self.promotion_minor if given_minor is None else given_minor
