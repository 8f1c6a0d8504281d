"""The chaos run's settings: an embedded PostgreSQL of its own, for it is torn down under load."""

import os
from pathlib import Path

_VAR = os.environ.get("KEEPLINE_VAR_DIR") or str(Path(__file__).resolve().parents[2] / "var")
os.environ["KEEPLINE_VAR_DIR"] = str(Path(_VAR) / "chaos")
os.environ["KEEPLINE_TEST_DATABASE"] = "keepline_chaos"
# A server that somebody else uses is not ours to kill.
os.environ["DATABASE_URL"] = ""

from portal.settings import *  # noqa: F403

REPORT_FILE = Path(_VAR) / "chaos.json"
# What rails and carriers post to, and nothing else: no page is under test here.
ROOT_URLCONF = "portal.api.incoming_urls"
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
# Nobody signs in here, and a good hash takes as long as ten recharges.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# As everywhere (portal.settings), shortened as much as all else: workers.SPEED.
_LIMITS = "-c idle_in_transaction_session_timeout=1500 -c client_connection_check_interval=500"
DATABASES["default"]["OPTIONS"]["options"] = _LIMITS  # noqa: F405
