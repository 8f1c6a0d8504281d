import signal
import socket
import subprocess
import sys
import threading

import pytest

from portal.supervision.processes import (
    BASE_DIR,
    Ended,
    NotReady,
    PortTaken,
    Processes,
    answers,
    logs,
)
from tests.queue.test_process_group import SLEEP, is_alive, until

pytestmark = pytest.mark.processes

SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SAYS = "import os; print('ready at last', os.environ['COLOUR']); " + SLEEP


def python(source, *args):
    return [sys.executable, "-c", source, *args]


@pytest.fixture
def run(tmp_path):
    with Processes(log_dir=tmp_path / "log", grace_s=5) as run:
        yield run


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TestStart:
    def test_waits_for_an_answer_by_http(self, run, port):
        ready = answers(f"http://127.0.0.1:{port}/404")
        web = run.start("web", python(SERVE, str(port)), ready=ready)
        assert web.exit_status() is None
        assert "GET /404" in run.log("web").read_text()

    def test_does_not_take_a_servers_failure_for_ready(self, run, port):
        ready = answers(f"http://127.0.0.1:{port}/503")
        with pytest.raises(NotReady, match=r"web was not ready within 1 s\. The end of .*web\.log"):
            run.start("web", python(SERVE, str(port)), ready=ready, timeout_s=1)
        with pytest.raises(KeyError):
            run.stop("web")  # it was ended already

    def test_waits_for_a_line_of_the_log_and_hands_on_the_environment(self, run):
        run.start("talker", python(SAYS), ready=logs("at last"), env={"COLOUR": "green"})
        assert run.log("talker").read_text() == "ready at last green\n"

    def test_tells_why_a_program_ended_by_the_end_of_its_log(self, run):
        source = "print('\\n'.join(map(str, range(50)))); raise SystemExit('no such setting')"
        with pytest.raises(NotReady) as failure:
            run.start("web", python(source), ready=logs("never"))
        text = str(failure.value)
        assert text.startswith("web ended with status 1 before it was ready. The end of ")
        assert text.endswith("  48\n  49\n  no such setting")
        assert "  30\n" not in text  # the last 20 lines only

    def test_refuses_a_port_at_which_something_answers_already(self, run, port):
        ready = answers(f"http://127.0.0.1:{port}/200")
        run.start("first", python(SERVE, str(port)), ready=ready)
        with pytest.raises(PortTaken, match=f"Port {port} is in use by another program"):
            run.start("second", python(SERVE, str(port)), ready=ready)
        assert not run.log("second").exists()


class TestWait:
    def test_ends_when_a_program_does(self, run):
        run.start("steady", python(SLEEP))
        run.start("brief", python("print('had enough'); raise SystemExit(3)"))
        with pytest.raises(Ended, match=r"(?s)brief ended with status 3\..*had enough"):
            run.wait()

    def test_is_ended_by_sigterm(self, run):
        run.start("steady", python(SLEEP))
        main = threading.main_thread().ident
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGTERM)).start()
        with pytest.raises(SystemExit) as end:
            run.wait()
        assert end.value.code == 128 + signal.SIGTERM


class TestTheBlocksEnd:
    def test_ends_every_program_the_last_one_first(self, tmp_path):
        source = (
            "import signal, sys, time\n"
            "def end(*_):\n"
            "    open(sys.argv[1], 'a').write(sys.argv[2])\n"
            "    sys.exit()\n"
            "signal.signal(signal.SIGTERM, end)\n"
            "print('ready')\n"
            "time.sleep(60)"
        )
        order = tmp_path / "order"
        with Processes(log_dir=tmp_path) as run:
            for name in ("a", "b", "c"):
                run.start(name, python(source, str(order), name), ready=logs("ready"))
        assert order.read_text() == "cba"

    def test_ends_the_programs_when_the_block_fails(self, tmp_path):
        started = []

        def fail():
            with Processes(log_dir=tmp_path) as run:
                started.append(run.start("steady", python(SLEEP)))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert started[0].exit_status() == -signal.SIGTERM

    def test_puts_the_old_handlers_back(self, tmp_path):
        ended_by = (signal.SIGTERM, signal.SIGINT)
        ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
        old = [signal.getsignal(signum) for signum in ended_by]
        with Processes(log_dir=tmp_path):
            assert signal.SIG_IGN not in [signal.getsignal(signum) for signum in ended_by]
        assert [signal.getsignal(signum) for signum in ended_by] == old
        signal.signal(signal.SIGINT, ours)


class TestTheRunnersDeath:
    RUNNER = """
import sys
from pathlib import Path
from portal.supervision.processes import Processes
with Processes(log_dir=Path(sys.argv[1])) as run:
    print(run.start("steady", [sys.executable, "-c", sys.argv[2]]).pid, flush=True)
    run.wait()
"""

    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
    @pytest.mark.parametrize("shell", [[], ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]])
    def test_leaves_no_program_behind(self, tmp_path, signum, shell):
        """However it was started: a script's `&` has SIGINT ignored."""
        argv = [*shell, sys.executable, "-c", self.RUNNER, str(tmp_path), SLEEP]
        runner = subprocess.Popen(
            argv, cwd=BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        pid = int(runner.stdout.readline())
        assert is_alive(pid)

        runner.send_signal(signum)
        runner.wait(timeout=20)

        until(lambda: not is_alive(pid))
