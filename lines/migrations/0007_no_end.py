from django.db import migrations

# "Never", written as a date: as `lines/validity.py` reads it from now on.
NO_END = """
UPDATE lines_line SET valid_until = NULL
WHERE valid_until > now() + interval '100 years' OR valid_until < '1991-01-01'"""


class Migration(migrations.Migration):

    dependencies = [
        ('lines', '0006_identity'),
    ]

    operations = [migrations.RunSQL(NO_END, migrations.RunSQL.noop)]
