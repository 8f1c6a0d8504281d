"""Every example of docs/api.md, run by a shell against a real server, answers what is written."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billing import gateways
from portal.api.models import Scope
from tests import world
from tests.api.callers import token_of
from tests.fakes import FakeGateway

PAGE = Path(__file__).resolve().parents[2] / "docs/api.md"
# What of an answer must be there to the letter; ids, instants and sentences differ.
_FIRM = re.compile(
    r'HTTP/1\.1 \d{3}|ETag: .+|Idempotent-Replayed: .+|"(?:code|state|result)":\s*"\w+"'
)
_IS_MADE_HERE = ("API=", "TOKEN=", "BSS=")  # the page's are the demo's
# The clock too, where `make edges` has moved it: examples ask `date`.
_OURS = ("PATH", "LD_PRELOAD", "KEEPLINE_CLOCK_SHIFT_S")


@dataclass
class Example:
    """A command as it stands in the page, and what the page says it answers."""

    command: str
    answer: str


def examples() -> list[Example]:
    found: list[Example] = []
    is_command = False
    for line in re.findall(r"^ {4} *(\S.*)$", PAGE.read_text(), re.MULTILINE):
        if line.startswith("$ "):
            found.append(Example(line[2:], ""))
            is_command = True
        elif found and is_command and _goes_on(found[-1].command):
            found[-1].command += "\n" + line
        elif found:
            is_command = False
            found[-1].answer += line + "\n"
    return [one for one in found if not one.command.startswith(_IS_MADE_HERE)]


def _goes_on(command: str) -> bool:
    return command.endswith("\\") or command.count("'") % 2 == 1


def _run(commands: list[str], **variables: str) -> list[str]:
    """What each command prints, one shell after another's variables."""
    script = "\n".join(f"{command}\nprintf '\\n\\036'" for command in commands)
    ran = subprocess.run(
        ["bash", "-e", "-c", script],
        env={name: os.environ[name] for name in _OURS if name in os.environ} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-500:] + ran.stderr
    return ran.stdout.split("\x1e")


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("curl"), reason="the examples are curl's")
class TestTheExamples:
    def test_answer_what_the_page_says(
        self, transactional_db: Any, live_server: Any, settings: Any
    ) -> None:
        alice = world.person("alice")
        world.binding(alice)
        world.line(alice, msisdn="+8613800000021")
        world.line(alice, esim=True, label="妈妈的手机", profile__matching_id="K2")
        shown = examples()
        with gateways.override("alipay", FakeGateway()):
            said = _run(
                [one.command for one in shown],
                API=f"{live_server.url}/api/v1",
                TOKEN=token_of(alice),
                BSS=token_of(
                    world.person("bss"), scopes=(Scope.PUSH_READINGS,), carrier=world.carrier()
                ),
            )
        assert len(shown) >= 12
        for one, answer in zip(shown, said, strict=False):
            for firm in _FIRM.findall(one.answer):
                assert firm.replace(" ", "") in answer.replace(" ", ""), one.command + answer
