"""The database's own guards. When `states.MOVES` changes, a new migration runs this again."""

from django.db import migrations

from billing import guards, states


def install(apps, schema_editor):
    moves = guards.legal_moves_sql(moves=states.MOVES, first=states.FIRST_STATES)
    schema_editor.execute(moves, params=None)
    schema_editor.execute(guards.append_only_sql(guards.APPEND_ONLY), params=None)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("lines", "0001_initial")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
