#!/usr/bin/env python
"""Keepline's command line."""

import gc
import os
import sys

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError
from environs import EnvError

from portal.environment import sentence


def main() -> None:
    """Run a command; what its operator can mend is a sentence, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    _load()
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell counts it
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) is not None:
            raise  # the server was reached, and answered
        sys.exit(f"The database cannot be reached: start it, or correct DATABASE_URL.\n{error}")


def _load() -> None:
    """Settings and applications, which stay: nobody looks through them for garbage.

    Looking again and again while they are loaded was a third of a start; and what none looks
    through later, the forks of a cluster share.
    """
    gc.disable()
    try:
        settings.INSTALLED_APPS  # noqa: B018 - reads them all
    except (ImproperlyConfigured, EnvError) as error:
        sys.exit(f"Keepline cannot start. {sentence(error)}")
    django.setup()
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    main()
