from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0006_answers_not_genuine"),
    ]

    operations = [
        migrations.AddField(
            model_name="refund",
            name="crash_count",
            field=models.PositiveSmallIntegerField(default=0),
        ),
    ]
