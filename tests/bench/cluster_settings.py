"""A worker on the bench's database."""

import os

from tests.bench.settings import *  # noqa: F403
from tests.bench.settings import DATABASES

DATABASES["default"]["NAME"] = os.environ["KEEPLINE_BENCH_DATABASE"]
