"""Settings of the real clusters that the tests start: the queue alone, on the tests' database."""

import os

from tests.settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_q", "portal"]
AUTH_USER_MODEL = "auth.User"
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.queue.cluster_settings"
urlpatterns: list[object] = []
SWEEP_TASK = os.environ.get("KEEPLINE_TEST_SWEEP", "tests.queue.jobs.sweep")
DATABASES["default"]["NAME"] = os.environ["KEEPLINE_CLUSTER_DATABASE"]  # noqa: F405
