"""How long each test took when it was last run: kept by every run, printed by `make slowest`.

python -m tests.durations           the slowest forty tests, and the slowest ten files
python -m tests.durations 100       the slowest hundred
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FILE = Path(os.environ.get("KEEPLINE_VAR_DIR", ROOT / "var" / "test")) / "durations.json"
_TESTS, _FILES = 40, 10

Durations = Mapping[str, Mapping[str, float]]  # test → setup, call, teardown → seconds


def keep(run: Durations) -> None:
    """Beside those of files that were not run now; what is gone from the tree is forgotten."""
    run_files = {_file_of(test) for test in run}
    others = {
        test: phases
        for test, phases in kept().items()
        if _file_of(test) not in run_files and (ROOT / _file_of(test)).exists()
    }
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    beside = _FILE.with_suffix(".new")
    beside.write_text(json.dumps({**others, **run}))
    beside.replace(_FILE)


def kept() -> Durations:
    if not _FILE.exists():
        return {}
    found: Durations = json.loads(_FILE.read_text())
    return found


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def main(count: int) -> None:
    durations = kept()
    if not durations:
        sys.exit("No durations yet: run `make test` first.")
    tests = Counter({test: sum(phases.values()) for test, phases in durations.items()})
    for test, seconds in tests.most_common(count):
        phases = ", ".join(
            f"{phase} {took:.1f}" for phase, took in durations[test].items() if took >= 0.1
        )
        print(f"{seconds:7.1f} s  {test}  ({phases})")
    files: Counter[str] = Counter()
    for test, seconds in tests.items():
        files[_file_of(test)] += seconds
    print(f"\nOf {len(tests)} tests in {files.total():.0f} s, by file:")
    for file, seconds in files.most_common(_FILES):
        print(f"{seconds:7.1f} s  {file}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else _TESTS)
