"""Cases: what waits for a person is a row of its own, and what a row shows of it is kept from there."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# What waits today, each with its age as far as it was kept. What a recharge shows only because a
# refund of it does not go through is that refund's; that it is disputed is its own as well.
COPIED = """
INSERT INTO billing_case (recharge_id, refund_id, code, says, since, settled_by)
SELECT f.recharge_id, f.id, f.attention, f.code,
  CASE WHEN g.attention = f.attention THEN COALESCE(g.attention_since, f.created_at)
       ELSE f.created_at END, ''
FROM billing_refund f JOIN billing_recharge g ON g.id = f.recharge_id
WHERE f.attention <> '' AND (f.state IN ('reversing', 'intended', 'unknown')
  OR f.attention IN ('late_refund', 'refund_unknown', 'crashed', 'config'));
INSERT INTO billing_case (recharge_id, refund_id, code, says, since, settled_by)
SELECT g.id, NULL, g.attention, g.reason, COALESCE(g.attention_since, g.created_at), ''
FROM billing_recharge g
WHERE g.attention <> '' AND NOT (
  g.state = 'refunding' AND g.attention IN (
    'refund_refused', 'refund_unknown', 'refund_failed', 'amount_differs', 'crashed', 'config')
  OR g.attention = 'late_refund');
UPDATE billing_recharge g SET attention = COALESCE(c.code, ''), attention_since = c.since
FROM billing_recharge o LEFT JOIN LATERAL (
  SELECT code, since FROM billing_case b WHERE b.recharge_id = o.id AND b.settled_at IS NULL
  ORDER BY since, id LIMIT 1) c ON true
WHERE o.id = g.id AND (g.attention, g.attention_since)
  IS DISTINCT FROM (COALESCE(c.code, ''), c.since);
UPDATE billing_refund SET attention = ''
WHERE attention <> '' AND state NOT IN ('reversing', 'intended', 'unknown')
  AND attention NOT IN ('late_refund', 'refund_unknown', 'crashed', 'config')"""
CASES = """
CREATE OR REPLACE FUNCTION billing_case_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a case is settled once, and otherwise kept as it was opened'
    USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER IF EXISTS case_kept ON billing_case;
CREATE TRIGGER case_kept BEFORE UPDATE ON billing_case FOR EACH ROW
  WHEN (OLD.settled_at IS NOT NULL OR NEW.settled_at IS NULL
    OR (OLD.recharge_id, OLD.refund_id, OLD.code, OLD.says, OLD.since)
      IS DISTINCT FROM (NEW.recharge_id, NEW.refund_id, NEW.code, NEW.says, NEW.since))
  EXECUTE FUNCTION billing_case_kept();
DROP TRIGGER IF EXISTS case_never_gone ON billing_case;
CREATE TRIGGER case_never_gone BEFORE DELETE OR TRUNCATE ON billing_case
  FOR EACH STATEMENT EXECUTE FUNCTION billing_case_kept();
CREATE OR REPLACE FUNCTION billing_case_shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Whoever opens or settles another one now waits here, so that what follows sees it.
  PERFORM 1 FROM billing_recharge WHERE id = NEW.recharge_id FOR NO KEY UPDATE;
  UPDATE billing_recharge s SET attention = COALESCE(c.code, ''), attention_since = c.since FROM (SELECT 1) AS one LEFT JOIN (
    SELECT code, since FROM billing_case
    WHERE recharge_id = NEW.recharge_id AND settled_at IS NULL ORDER BY since, id LIMIT 1
  ) c ON true
  WHERE s.id = NEW.recharge_id;
  IF NEW.refund_id IS NOT NULL THEN
  UPDATE billing_refund s SET attention = COALESCE(c.code, '') FROM (SELECT 1) AS one LEFT JOIN (
    SELECT code, since FROM billing_case
    WHERE refund_id = NEW.refund_id AND settled_at IS NULL ORDER BY since, id LIMIT 1
  ) c ON true
  WHERE s.id = NEW.refund_id;
  END IF;
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS case_shown ON billing_case;
CREATE TRIGGER case_shown AFTER INSERT OR UPDATE ON billing_case
  FOR EACH ROW EXECUTE FUNCTION billing_case_shown();
CREATE OR REPLACE FUNCTION billing_attention_is_shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'attention shows the oldest open case: open or settle one'
    USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER IF EXISTS attention_is_shown ON billing_recharge;
CREATE TRIGGER attention_is_shown BEFORE UPDATE OF attention, attention_since ON billing_recharge
  FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND (OLD.attention, OLD.attention_since)
    IS DISTINCT FROM (NEW.attention, NEW.attention_since))
  EXECUTE FUNCTION billing_attention_is_shown();
DROP TRIGGER IF EXISTS attention_is_shown ON billing_refund;
CREATE TRIGGER attention_is_shown BEFORE UPDATE OF attention ON billing_refund
  FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND OLD.attention IS DISTINCT FROM NEW.attention)
  EXECUTE FUNCTION billing_attention_is_shown();
"""


class Migration(migrations.Migration):

    dependencies = [
        ("billing", "0022_notice_before_deduction"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Case",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.CharField(max_length=40, verbose_name="needs a person")),
                (
                    "says",
                    models.CharField(blank=True, max_length=200, verbose_name="what it says"),
                ),
                ("since", models.DateTimeField(verbose_name="since")),
                ("settled_at", models.DateTimeField(null=True, verbose_name="settled at")),
                (
                    "settled_by",
                    models.CharField(blank=True, max_length=40, verbose_name="settled by"),
                ),
                (
                    "actor",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="by",
                    ),
                ),
                (
                    "recharge",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="cases",
                        to="billing.recharge",
                        verbose_name="recharge",
                    ),
                ),
                (
                    "refund",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="cases",
                        to="billing.refund",
                        verbose_name="refund",
                    ),
                ),
            ],
            options={
                "verbose_name": "case",
                "verbose_name_plural": "cases",
                "indexes": [
                    models.Index(
                        condition=models.Q(("settled_at__isnull", True)),
                        fields=["since"],
                        name="case_open",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("settled_at__isnull", True)),
                        fields=("recharge", "refund", "code"),
                        name="case_one_open",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("actor__isnull", True),
                                ("settled_at__isnull", True),
                                ("settled_by", ""),
                            ),
                            models.Q(
                                ("settled_at__isnull", False),
                                models.Q(("settled_by", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="case_settled_by_something",
                    ),
                ],
            },
        ),
        migrations.RunSQL(COPIED, migrations.RunSQL.noop),
        migrations.RunSQL(CASES, migrations.RunSQL.noop),
    ]
