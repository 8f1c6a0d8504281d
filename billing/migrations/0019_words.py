"""A rail that refuses us, since when."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_ways")]

    operations = [
        migrations.AddField(
            model_name="rail",
            name="refuses_us_since",
            field=models.DateTimeField(
                blank=True, editable=False, null=True, verbose_name="refuses our questions since"
            ),
        ),
    ]
