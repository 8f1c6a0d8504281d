from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0026_another_line'),
    ]

    operations = [
        migrations.AddField(
            model_name='outage',
            name='reason',
            field=models.CharField(db_default='', default='', max_length=200, verbose_name='what came instead'),
        ),
    ]
