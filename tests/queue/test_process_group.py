import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from portal.supervision import process_group, tether
from portal.supervision.process_group import ProcessGroup
from portal.supervision.processes import BASE_DIR

pytestmark = pytest.mark.processes

SLEEP = "import time; time.sleep(60)"
# Writes its child's pid, so that a test can look for it; both sleep.
FORKS = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "{SLEEP}"])
print(child.pid, flush=True)
child.wait()
"""
DEAF = (
    f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); {SLEEP}"
)
LEAVES_A_CHILD = FORKS.replace("child.wait()", "")


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(is_so, *, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not (seen := is_so()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)
    return seen


@pytest.fixture
def start(tmp_path):
    groups = []

    def start_one(source):
        log = tmp_path / f"{len(groups)}.log"
        with log.open("wb") as output:
            group = ProcessGroup(
                [sys.executable, "-c", source], env=os.environ, cwd=BASE_DIR, output=output
            )
        groups.append(group)
        return group, (lambda: int(until(lambda: log.read_text().strip())))

    yield start_one
    process_group.stop(groups, grace_s=0)


class TestAGroup:
    def test_tells_its_leaders_exit_status_and_is_then_gone(self, start):
        group, _ = start("raise SystemExit(7)")
        assert until(group.exit_status) == 7
        until(group.is_gone)

    def test_is_ended_with_everything_it_started(self, start):
        group, child_pid = start(FORKS)
        pid = child_pid()
        assert is_alive(pid)

        process_group.stop([group], grace_s=5)

        assert group.exit_status() == -signal.SIGTERM
        assert not is_alive(pid)

    def test_is_not_gone_while_a_child_outlives_its_leader(self, start):
        group, child_pid = start(LEAVES_A_CHILD)
        assert until(lambda: group.exit_status() is not None)
        assert not group.is_gone()

        process_group.stop([group], grace_s=30)

        assert not is_alive(child_pid())

    def test_is_killed_when_it_does_not_listen(self, start):
        group, ready = start(DEAF)
        ready()
        process_group.stop([group], grace_s=0.2)
        assert group.exit_status() == -signal.SIGKILL

    def test_may_be_stopped_twice_and_together_with_others(self, start):
        groups = [start(SLEEP)[0] for _ in range(3)]
        process_group.stop(groups, grace_s=5)
        process_group.stop(groups, grace_s=5)
        assert [group.exit_status() for group in groups] == [-signal.SIGTERM] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
class TestATether:
    def test_ends_a_process_whose_parent_is_killed(self, tmp_path):
        child_source = tether.command([sys.executable, "-c", SLEEP], signum=signal.SIGKILL)
        child_source[5] = "PARENT"
        parent = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import os, subprocess\n"
                f"argv = {child_source!r}\n"
                "argv[5] = str(os.getpid())\n"
                "child = subprocess.Popen(argv)\n"
                "print(child.pid, flush=True)\n"
                "child.wait()",
            ],
            stdout=subprocess.PIPE,
        )
        pid = int(parent.stdout.readline())
        assert is_alive(pid)

        parent.kill()
        parent.wait()

        until(lambda: not is_alive(pid))

    def test_does_not_start_what_has_lost_its_parent_already(self):
        argv = tether.command([sys.executable, "-c", "print('started')"], signum=signal.SIGTERM)
        argv[5] = "1"  # not its parent
        done = subprocess.run(argv, capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (1, b"")

    def test_ends_forks_of_forks_when_the_first_is_killed(self):
        source = """
import os, signal, time
from portal.supervision import tether
tether.tie_forks(signum=signal.SIGKILL)
for _ in range(2):
    if os.fork():
        break
os.write(1, b"%d\\n" % os.getpid())
time.sleep(60)
"""
        first = subprocess.Popen(
            [sys.executable, "-c", source], stdout=subprocess.PIPE, cwd=BASE_DIR
        )
        pids = [int(first.stdout.readline()) for _ in range(3)]
        assert all(is_alive(pid) for pid in pids)

        first.kill()
        first.wait()

        until(lambda: not any(is_alive(pid) for pid in pids))
