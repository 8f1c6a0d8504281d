"""Ties a process to its parent, so that nobody's death leaves orphans at work.

Linux tells a process when its parent dies, if it asked to be told (prctl(2), PR_SET_PDEATHSIG).
A program that cannot ask is started *through* this file, which asks and becomes it (exec keeps the
request). Elsewhere than on Linux nothing is tied, and only an orderly stop ends the children.

"The parent" is the thread that started the process: start from the main thread.
"""

import ctypes
import os
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def command(argv: Sequence[str], *, signum: int) -> list[str]:
    """The command that runs `argv` and sends it `signum` when this process dies."""
    # -I -S: only the standard library, so that this costs some milliseconds.
    return [sys.executable, "-I", "-S", __file__, str(int(signum)), str(os.getpid()), *argv]


def die_with_parent(*, parent_pid: int, signum: int) -> None:
    """Ask for `signum` at the death of `parent_pid`; exits at once if that one is dead already."""
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent_pid:  # it died before we asked, and nobody will tell us
            os._exit(1)


def tie_forks(*, signum: int) -> None:
    """From now on each process forked from this one, and from those, dies with its forker."""
    forker = [os.getpid()]

    def remember() -> None:
        forker[0] = os.getpid()

    os.register_at_fork(
        before=remember,
        after_in_child=lambda: die_with_parent(parent_pid=forker[0], signum=signum),
    )


def adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants, so that it can wait for them."""
    if sys.platform == "linux":
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _become() -> None:
    signum, parent_pid, *argv = sys.argv[1:]
    die_with_parent(parent_pid=int(parent_pid), signum=int(signum))
    os.execvp(argv[0], argv)  # noqa: S606 (no shell is the point)


if __name__ == "__main__":
    _become()
