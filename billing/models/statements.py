from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class SourceKind(models.TextChoices):
    RAIL = "rail", _("payment rail")
    CARRIER = "carrier", _("carrier")


class StatementState(models.TextChoices):
    WAITING = "waiting", _("waiting for it")
    FETCHING = "fetching", _("being read")
    MATCHING = "matching", _("being compared")
    DONE = "done", _("compared")
    FAILED = "failed", _("never came")


class Statement(models.Model):
    """One day of a rail's or carrier's own books. `day` is a local day of theirs."""

    source_kind = models.CharField(_("whose"), max_length=7, choices=SourceKind)
    code = models.CharField(_("code"), max_length=20)
    day = models.DateField(_("day"))
    state = models.CharField(
        _("state"), max_length=8, choices=StatementState, default=StatementState.WAITING
    )
    rows_read = models.PositiveBigIntegerField(_("rows read"), default=0)
    unreadable_rows = models.PositiveBigIntegerField(_("unreadable rows"), default=0)
    # Effects of ours close to midnight that only a neighbouring day's statement can settle.
    awaiting = models.PositiveIntegerField(_("waiting for the next day"), default=0)
    # [{kind, currency, count, amount_minor, fee_minor}]: what it says in sum.
    totals = models.JSONField(default=list)
    attempts = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), null=True)  # NULL: nothing more by itself
    last_error = models.CharField(_("why not yet"), max_length=300, blank=True)
    started_at = models.DateTimeField(_("begun at"), null=True)
    progress_at = models.DateTimeField(_("last row at"), null=True)
    fetched_at = models.DateTimeField(_("read at"), null=True)
    finished_at = models.DateTimeField(_("compared at"), null=True)
    lease_until = models.DateTimeField(null=True)  # the database's clock, never the host's
    run = models.BigIntegerField(default=0)  # grows with every claim; a zombie's is too small

    class Meta:
        verbose_name = _("statement")
        verbose_name_plural = _("statements")
        permissions = [("fetch_statement", _("Can have a statement fetched and compared again"))]
        constraints = [
            models.UniqueConstraint(
                name="statement_once_a_day", fields=["source_kind", "code", "day"]
            ),
            models.CheckConstraint(
                name="statement_state_known", condition=Q(state__in=StatementState.values)
            ),
            models.CheckConstraint(
                name="statement_source_known", condition=Q(source_kind__in=SourceKind.values)
            ),
        ]
        indexes = [
            models.Index(
                name="statement_due",
                fields=["next_try_at"],
                condition=Q(next_try_at__isnull=False),
            ),
            models.Index(name="statement_failed", fields=["day"], condition=Q(state="failed")),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.day:%Y-%m-%d}"

    @property
    def ref(self) -> str:
        """Its name in the record of operations."""
        return f"{self.code}-{self.day:%Y-%m-%d}"


class StatementLine(models.Model):
    """One row as the other side wrote it, kept while it may be compared again, then pruned."""

    # No constraint: a hundred thousand rows come at once, and no statement is ever deleted.
    statement = models.ForeignKey(
        Statement, models.DO_NOTHING, related_name="lines", db_constraint=False
    )
    line_number = models.BigIntegerField()
    kind = models.CharField(max_length=12)  # a StatementKind, "credit", "reversal", "unreadable"
    reference = models.CharField(max_length=64)  # what it is matched by: a refund's own, else ours
    payment_ref = models.CharField(max_length=64)  # the charge that a refund or dispute is about
    their_ref = models.CharField(max_length=64)
    dispute_ref = models.CharField(max_length=64, default="", db_default="")  # the rail's number
    amount_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    at = models.DateTimeField(null=True)
    text = models.CharField(max_length=200)  # of an unreadable row: masked
    reason = models.CharField(max_length=200)  # why it could not be read
    # It names another number and card than those of the line that its reference is about.
    is_anothers = models.BooleanField(default=False, db_default=False)

    class Meta:
        verbose_name = _("statement row")
        verbose_name_plural = _("statement rows")
        indexes = [models.Index(name="statement_line_reference", fields=["reference"])]

    def __str__(self) -> str:
        return f"{self.line_number} {self.kind} {self.reference}"


class DifferenceKind(models.TextChoices):
    MISSING_OURS = "missing_ours", _("missing in our books")
    MISSING_THEIRS = "missing_theirs", _("missing on the statement")
    AMOUNT = "amount", _("another amount")
    CURRENCY = "currency", _("another currency")
    FEE = "fee", _("another fee")
    STATUS = "status", _("another outcome")
    DUPLICATE = "duplicate", _("there more than once")
    ANOTHER_LINE = "another_line", _("for another line")
    REFUND_UNMATCHED = "refund_unmatched", _("refund on one side only")
    DISPUTE = "dispute", _("dispute nobody told of")
    UNREADABLE = "unreadable", _("cannot be read")


class DifferenceState(models.TextChoices):
    OPEN = "open", _("open")
    EXPLAINED = "explained", _("explained")
    RESOLVED = "resolved", _("gone: both agree now")


class Difference(models.Model):
    """One thing on which our books and a statement do not agree. `key` makes a re-run find it."""

    statement = models.ForeignKey(
        Statement, models.PROTECT, related_name="differences", verbose_name=_("statement")
    )
    key = models.CharField(max_length=200)
    kind = models.CharField(_("difference"), max_length=16, choices=DifferenceKind)
    is_ours_alone = models.BooleanField(_("only in our books"), default=False)
    line_kind = models.CharField(_("about"), max_length=12, blank=True)
    our_ref = models.CharField(_("our reference"), max_length=64, blank=True)
    their_ref = models.CharField(_("their reference"), max_length=64, blank=True)
    our_amount_minor = models.BigIntegerField(_("our amount"), null=True)
    their_amount_minor = models.BigIntegerField(_("their amount"), null=True)
    our_currency = models.CharField(_("our currency"), max_length=3, blank=True)
    their_currency = models.CharField(_("their currency"), max_length=3, blank=True)
    our_state = models.CharField(_("our state"), max_length=16, blank=True)
    line_number = models.BigIntegerField(_("line"), null=True)
    text = models.CharField(_("the row, masked"), max_length=200, blank=True)
    problem = models.CharField(_("why it cannot be read"), max_length=200, blank=True)
    recharge = models.ForeignKey(
        "billing.Recharge",
        models.PROTECT,
        null=True,
        related_name="differences",
        verbose_name=_("recharge"),
    )
    state = models.CharField(
        _("state"), max_length=9, choices=DifferenceState, default=DifferenceState.OPEN
    )
    found_at = models.DateTimeField(_("found at"))
    seen_run = models.BigIntegerField()  # the statement's run that saw it last
    closed_at = models.DateTimeField(_("closed at"), null=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("closed by"),
    )
    reason = models.CharField(_("explanation"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("difference")
        verbose_name_plural = _("differences")
        permissions = [("explain_difference", _("Can explain, and so close, a difference"))]
        constraints = [
            models.UniqueConstraint(name="difference_once", fields=["statement", "key"]),
            models.CheckConstraint(
                name="difference_kind_known", condition=Q(kind__in=DifferenceKind.values)
            ),
            models.CheckConstraint(
                name="difference_state_known", condition=Q(state__in=DifferenceState.values)
            ),
            models.CheckConstraint(
                name="difference_explained_by_somebody",
                condition=~Q(state="explained") | (Q(closed_by__isnull=False) & ~Q(reason="")),
            ),
        ]
        indexes = [
            models.Index(name="difference_open", fields=["found_at"], condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return f"{self.statement} · {self.get_kind_display()}"

    @property
    def ref(self) -> str:
        """Its name in the record of operations."""
        return f"D{self.pk}"
