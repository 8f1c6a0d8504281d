"""An occurrence whose recharge ended for the sake of new terms may be charged on those."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_number_moved")]

    operations = [
        migrations.RemoveConstraint(model_name="recharge", name="recharge_once_per_occurrence"),
        migrations.AddConstraint(
            model_name="recharge",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("rule__isnull", False),
                    models.Q(
                        ("reason__in", ["method_changed", "amount_changed"]),
                        ("state", "canceled"),
                        _negated=True,
                    ),
                ),
                fields=("rule", "trigger", "period_key"),
                name="recharge_once_per_occurrence",
            ),
        ),
    ]
