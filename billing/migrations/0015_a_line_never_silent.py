from django.db import migrations, models

# What has been told of as low already is told of anew only once it was well above again.
LOW_EPISODES = """
UPDATE billing_rule r SET low_episode = r.episode
FROM lines_line l
WHERE l.id = r.line_id AND EXISTS (
  SELECT 1 FROM billing_notice n
  WHERE n.owner_id = l.owner_id AND n.kind = 'low_balance'
    AND n.occurrence_key = r.id || ':e' || r.episode)"""

# Latches that no reading has opened since their line was credited: what must have reached the level
# that opens them opens them now, at the next look.
SILENT_RULES = """
UPDATE billing_rule r SET rearms_at = g.completed_at + make_interval(secs => r.cooldown_s)
FROM (
  SELECT DISTINCT ON (line_id) id, ref, line_id, completed_at,
    COALESCE(credited_minor, face_minor + bonus_minor) AS credit_minor
  FROM billing_recharge WHERE state = 'completed' AND completed_at IS NOT NULL
  ORDER BY line_id, completed_at DESC) g
WHERE r.line_id = g.line_id AND NOT r.is_armed AND r.threshold_minor IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM billing_recharge o
                  WHERE o.line_id = g.line_id AND o.created_at > g.completed_at)
  AND g.credit_minor + (
    SELECT n.balance_minor - n.reserved_minor FROM lines_balancereading n
    WHERE n.line_id = g.line_id AND n.is_applied AND n.observed_at <= (
      SELECT max(y.created_at) FROM lines_delivery y WHERE y.order_ref = g.ref)
    ORDER BY n.observed_at DESC LIMIT 1) >= r.threshold_minor + r.hysteresis_minor"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0014_doubted_attempts'),
        ('lines', '0006_identity'),
    ]

    operations = [
        migrations.AddField(
            model_name='rule',
            name='expiry_tried_on',
            field=models.DateField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='rule',
            name='low_episode',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='rule',
            name='rearms_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(LOW_EPISODES, migrations.RunSQL.noop),
        migrations.RunSQL(SILENT_RULES, migrations.RunSQL.noop),
    ]
