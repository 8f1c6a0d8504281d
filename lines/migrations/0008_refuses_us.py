from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("lines", "0007_no_end")]

    operations = [
        migrations.AddField(
            model_name="carrier",
            name="refuses_us_since",
            field=models.DateTimeField(
                blank=True, editable=False, null=True, verbose_name="refuses our questions since"
            ),
        ),
    ]
