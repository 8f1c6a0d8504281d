"""Disputes known by their own number, and by when their sender said what it said."""

from django.db import migrations, models

# Stripe's number of a dispute, from the messages kept before there was a column for it.
NUMBERS = """
UPDATE billing_inboundnotification
SET dispute_ref = COALESCE(substring(body_masked from '"(d[up]_[A-Za-z0-9]{1,61})"'), '')
WHERE kind = 'dispute' AND source = 'rail:stripe'"""


class Migration(migrations.Migration):

    dependencies = [("billing", "0012_superseded")]

    operations = [
        migrations.AddField(
            model_name="inboundnotification",
            name="dispute_ref",
            field=models.CharField(blank=True, default="", max_length=64, verbose_name="dispute"),
        ),
        migrations.AddField(
            model_name="inboundnotification",
            name="said_at",
            field=models.DateTimeField(null=True, verbose_name="said at"),
        ),
        migrations.RemoveConstraint(model_name="settlement", name="settlement_lost_once"),
        migrations.AddConstraint(
            model_name="settlement",
            constraint=models.UniqueConstraint(
                condition=models.Q(("finding", "lost"), ("state", "approved")),
                fields=("attempt", "payment_ref"),
                name="settlement_lost_once",
            ),
        ),
        migrations.RunSQL(NUMBERS, migrations.RunSQL.noop),
    ]
