"""References that ended without money, and of which their rail has spoken since."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("billing", "0013_disputes_by_number")]

    operations = [
        migrations.AddField(
            model_name="paymentattempt",
            name="doubted_at",
            field=models.DateTimeField(null=True),
        ),
    ]
