from django.db import migrations

# Where the law wants notice before each charge, a rule begins sooner: when, its next look says.
LOOK = """
UPDATE billing_rule r SET wake_at = LEAST(r.wake_at, now())
FROM lines_line l JOIN lines_carrier c ON c.id = l.carrier_id
WHERE l.id = r.line_id AND r.is_on AND r.paused_at IS NULL AND c.notice_before_deduction_h > 0"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0020_waking'),
        ('lines', '0009_notice_before_deduction'),
    ]

    operations = [migrations.RunSQL(LOOK, migrations.RunSQL.noop)]
