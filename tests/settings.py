"""The settings of a test run: its own var directory, so that a demo beside it is never touched."""

import os
from pathlib import Path

os.environ.setdefault(
    "KEEPLINE_VAR_DIR", str(Path(__file__).resolve().parent.parent / "var" / "test")
)

from portal.settings import *  # noqa: F403

# WhiteNoise looks through it each time a client is made, and warns of what is not there.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405

# Fast on purpose: no test is about how slow a password is to guess.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
