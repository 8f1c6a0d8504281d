"""The bench's settings: the embedded PostgreSQL of the installation, a database of its own."""

import os

os.environ.setdefault("KEEPLINE_TEST_DATABASE", "keepline_bench")

from portal.settings import *  # noqa: F403
