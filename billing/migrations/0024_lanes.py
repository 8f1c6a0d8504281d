from django.db import migrations

# What is claimed next of a rail: by lane, then by time. As `billing.engine.taking` has it.
LANE = (
    "(CASE WHEN state IN ('charged', 'delivering', 'delivery_pending', 'delivery_unknown',"
    " 'completed') THEN 0 WHEN state NOT IN ('waiting', 'due', 'declined') THEN 2"
    " WHEN trigger IN ('low_balance', 'manual') THEN 1 ELSE 3 END)"
)
MAKE = f"""
CREATE INDEX recharge_lane ON billing_recharge (rail, {LANE}, act_at) WHERE act_at IS NOT NULL"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0023_cases'),
    ]

    operations = [migrations.RunSQL(MAKE, "DROP INDEX recharge_lane")]
