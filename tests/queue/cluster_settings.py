"""Settings of the real clusters that the tests start: as they are, on the tests' database."""

import os

from tests.settings import *  # noqa: F403

DATABASES["default"]["NAME"] = os.environ["KEEPLINE_CLUSTER_DATABASE"]  # noqa: F405
