import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0024_lanes'),
    ]

    operations = [
        migrations.AddField(
            model_name='recharge',
            name='passed_over',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.binding'),
        ),
    ]
