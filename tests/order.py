"""Who is handed which tests when: the longest first, and the long files test by test.

A file goes to one process as a whole, for what its tests share is made once. Where they share
nothing dear, and last long, each test goes by itself.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

# The longest first: begun last, one of these would be waited for alone. `make slowest` tells.
FIRST = (
    "tests/e2e/test_story.py",
    "tests/chaos/test_negative_controls.py",
    "tests/api/test_schema.py",
    "tests/queue/test_run_workers.py",
    "tests/chaos/test_busy_hour.py",
    "tests/portal/test_story_browser.py",
    "tests/admin/test_browser.py",
    "tests/admin/test_pages.py",
    "tests/billing/test_reconciliation.py",
    "tests/billing/test_races.py",
    "tests/billing/test_everything_at_once.py",
    "tests/chaos/test_faults.py",
    "tests/rails/test_wechat_pages.py",
    "tests/rails/test_wechat_bill.py",
    "tests/rails/test_wechat_days.py",
)
ALONE = {
    "tests/admin/test_pages.py",
    "tests/billing/test_races.py",
    "tests/queue/test_run_workers.py",
}


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def longest_first(items: list[pytest.Item]) -> None:
    """Sorted by file; within a file, and among the others, they stay as they are."""
    place = {file: number for number, file in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(file_of(item.nodeid), len(FIRST)))


class ByFile(LoadScopeScheduling):
    """In the order they were collected in, and in no other."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = file_of(nodeid)
        return nodeid if file in ALONE else file
