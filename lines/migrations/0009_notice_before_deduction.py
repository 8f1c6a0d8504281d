import django.core.validators
from django.db import migrations, models

# The law on platform pricing, from April 2026.
CHINA = "UPDATE lines_carrier SET notice_before_deduction_h = 24 WHERE currency = 'CNY'"


class Migration(migrations.Migration):

    dependencies = [
        ('lines', '0008_refuses_us'),
    ]

    operations = [
        migrations.AddField(
            model_name='carrier',
            name='notice_before_deduction_h',
            field=models.PositiveSmallIntegerField(default=0, help_text='So long before each charge that auto-recharge makes, its payer is told the time, the amount and how to cancel it; what is low is charged that much later. China: 24. 0 where the law asks for none.', validators=[django.core.validators.MaxValueValidator(240)], verbose_name='notice before an automatic charge, hours'),
        ),
        migrations.AddConstraint(
            model_name='carrier',
            constraint=models.CheckConstraint(condition=models.Q(('notice_before_deduction_h__lte', 240)), name='carrier_notice_in_bounds'),
        ),
        migrations.RunSQL(CHINA, migrations.RunSQL.noop),
    ]
