"""Changes the code in small ways, and asks which of them the tests notice.

    python -m tests.mutation                         every mutant: hours
    python -m tests.mutation --sample 40 --seed 1    forty a module, drawn at random
    python -m tests.mutation --only caps refunds     of these modules
    python -m tests.mutation --by-hand               those that people once thought of
    python -m tests.mutation --id 0123abcd           these again
    python -m tests.mutation --report                what is known so far, nothing run

What was judged is kept in var/mutants.json, so that it can be ended and goes on: a mutant that was
killed is asked about again when its file has changed, one that lives when the tests have, too.
"""

import argparse
import hashlib
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tests.mutation import kept, mutants, places, report, targets, watching
from tests.mutation.mutants import Mutant
from tests.mutation.targets import ROOT

Asked = argparse.Namespace


def main(arguments: Sequence[str]) -> int:
    asked = _asked(arguments)
    os.environ.setdefault("KEEPLINE_VAR_DIR", str(ROOT / "var" / "mutation"))
    every = _every(asked.only)
    drawn = _thought_of() if asked.by_hand else _drawn(every, asked)
    if not asked.report:
        contexts = _contexts(asked)
        _judge(drawn, contexts, asked)
    known = kept.verdicts()
    judged = [known[one.id] for one in drawn if one.id in known]
    print(report.written(_population(every, drawn, asked), judged))
    return int(any(report.lives(one, kept.explained()) for one in judged))


def _asked(arguments: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser("python -m tests.mutation")
    parser.add_argument("--only", nargs="+", default=[], metavar="MODULE")
    parser.add_argument("--sample", type=int, help="so many of each module, at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by-hand", action="store_true", help="those of by_hand.toml")
    parser.add_argument("--id", nargs="+", default=[], help="these again")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--watched", action="store_true", help="with the contexts there are")
    parser.add_argument("--first", metavar="NAME", help="tests of files so named come first")
    parser.add_argument(
        "--most-s", type=float, default=90, help="of tests that one may live through"
    )
    return parser.parse_args(arguments)


def _thought_of() -> list[Mutant]:
    found, gone = kept.by_hand()
    if gone:
        print(f"mutants: to be written anew, since their text is gone: {', '.join(gone)}")
    return found


def _every(only: Sequence[str]) -> dict[str, list[Mutant]]:
    """Module → its mutants."""
    found: dict[str, list[Mutant]] = {}
    for path, module in targets.files().items():
        if not only or module in only:
            found.setdefault(module, []).extend(mutants.of(path))
    if unknown := set(only) - found.keys():
        sys.exit(
            f"No such module: {', '.join(sorted(unknown))}. {', '.join(targets.MODULES)}, caps."
        )
    return found


def _drawn(every: Mapping[str, Sequence[Mutant]], asked: Asked) -> list[Mutant]:
    if asked.id:
        return [one for many in every.values() for one in many if one.id in asked.id]
    drawn = [_shuffled(module, many, asked) for module, many in every.items()]
    return [one for each in zip_longest(*drawn) for one in each if one]


def _shuffled(module: str, many: Sequence[Mutant], asked: Asked) -> list[Mutant]:
    """So that a larger sample holds a smaller one of the same seed, and any part is a sample."""
    shuffled = list(many)
    random.Random(f"{asked.seed} {module}").shuffle(shuffled)
    return shuffled[: asked.sample or len(shuffled)]


def _population(
    every: Mapping[str, Sequence[Mutant]], drawn: Sequence[Mutant], asked: Asked
) -> dict[str, int]:
    if asked.by_hand:
        return dict(Counter(_module(one) for one in drawn))
    return {module: len(many) for module, many in every.items()}


def _module(mutant: Mutant) -> str:
    return targets.files().get(mutant.path, mutant.path.split("/")[1])


# --- which tests, and what was judged before ----------------------------------------------------


def _contexts(asked: Asked) -> watching.Contexts:
    """Made anew for what has changed, in a process of its own: its modules are watched."""
    known = watching.known_in(kept.CONTEXTS)
    if not asked.watched and (stale := watching.stale(known)):
        print(f"mutants: {len(stale)} files of tests are run once, watched", flush=True)
        command = [sys.executable, "-m", "tests.mutation.watching", str(kept.CONTEXTS), *stale]
        subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        known = watching.known_in(kept.CONTEXTS)
    if red := [one for one, what in known.items() if not what["passed"]]:
        print(f"mutants: not asked, since they fail as it is: {', '.join(red)}", flush=True)
    return {one: what for one, what in known.items() if what["passed"]}


def _judge(drawn: Sequence[Mutant], contexts: watching.Contexts, asked: Asked) -> None:
    from tests.mutation.running import Plan, Runner, Verdict, run

    known, digest = kept.verdicts(), _digest(contexts)
    digest += f" {asked.most_s:.0f}"
    todo = [one for one in drawn if asked.id or not _is_known(one, known.get(one.id), digest)]
    todo.sort(key=lambda one: one.id in known)  # what was never tried tells most
    killers = {(one["path"], one["test"]) for one in known.values() if one["test"]}
    plans = [Plan(one, *_tests(one, contexts, killers, asked)) for one in todo]
    files = sorted({test.partition("::")[0] for one in plans for test in one.tests})

    def drive(runner: Runner | None) -> None:
        for number, plan in enumerate(plans, 1):
            began = time.monotonic()
            covered = runner is not None and plan.tests
            verdict = runner.judge(plan) if covered and runner else Verdict("not covered")
            kept.keep(_kept(plan.mutant, verdict, digest, len(plan.tests)))
            _say(f"{number}/{len(plans)}", plan, verdict, time.monotonic() - began)

    if files:
        run(files, drive)
    else:
        drive(None)


def _is_known(mutant: Mutant, verdict: Mapping[str, Any] | None, tests: str) -> bool:
    """A survivor that is explained is not tried again: it is known by the text of its line."""
    if verdict is not None and mutant.id in kept.explained():
        return True
    if verdict is None or verdict["source"] != _source(mutant.path):
        return False
    return verdict["outcome"] in {"killed", "timed out"} or verdict["tests"] == tests


def _digest(contexts: watching.Contexts) -> str:
    said = "".join(
        sorted({one.partition("::")[0] + what["file"] for one, what in contexts.items()})
    )
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _source(path: str) -> str:
    return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()[:12]


def _tests(
    mutant: Mutant, contexts: watching.Contexts, killers: Set[tuple[str, str]], asked: Asked
) -> tuple[list[str], float]:
    """Those that run its statement, for so long in all. First, however long they take, those that
    have killed in this file before and those that name what is changed; then those of files named
    like it; then the quickest of every file, and so on."""
    place = places.of(mutant.path, mutant.line)
    passed, naming = place.lines, _files_naming(targets.name_of(mutant.path), place.names)
    found = sorted(
        (what["seconds"], test)
        for test, what in contexts.items()
        if test.partition("::")[0] in naming
        or any(line in what["lines"].get(path, ()) for path, line in passed)
    )
    rounds: Counter[str] = Counter()
    ranked = []
    for seconds, test in found:
        file = test.partition("::")[0]
        rounds[file] += 1
        is_killer = (mutant.path, test) in killers
        is_asked_for = bool(asked.first) and asked.first in file
        is_first = is_asked_for or (is_killer and seconds < 3) or file in naming
        rank = 0 if is_first else 1 if _is_named_like(file, mutant) else 2
        ranked.append((rank, 0 if is_asked_for else rounds[file], seconds, test))
    tests, left_s = [], asked.most_s
    for rank, _, seconds, test in sorted(ranked):
        if left_s >= seconds or rank == 0:
            tests.append(test)
            left_s -= seconds
    return tests, asked.most_s - max(left_s, 0)


@cache
def _files_naming(module: str, names: frozenset[str]) -> frozenset[str]:
    """Test files that import one of these constants themselves."""
    last = module.rpartition(".")[2]
    asks = re.compile(
        rf"from {re.escape(module)} import [^#]*?\b({'|'.join(map(re.escape, names))})\b"
        rf"|\b{last}\.({'|'.join(map(re.escape, names))})\b"
    )
    files = [one for folder in targets.TESTS for one in (ROOT / folder).rglob("test_*.py")]
    found = [one for one in files if names and asks.search(one.read_text())]
    return frozenset(str(one.relative_to(ROOT)) for one in found)


def _is_named_like(file: str, mutant: Mutant) -> bool:
    """test_disputes_held.py and disputed.py"""
    words = Path(mutant.path).stem.split("_") + Path(mutant.path).parent.name.split("_")
    return any(word[:6] in Path(file).stem for word in words if word != "billing")


def _kept(mutant: Mutant, verdict: Any, digest: str, tests: int) -> dict[str, Any]:
    return {
        "id": mutant.id,
        "module": _module(mutant),
        "path": mutant.path,
        "line": mutant.line,
        "kind": mutant.kind,
        "diff": report.diff(mutant),
        "source": _source(mutant.path),
        "tests": digest,
        "tried": tests,
        **verdict._asdict(),
    }


def _say(number: str, plan: Any, verdict: Any, took_s: float) -> None:
    one = plan.mutant
    by = verdict.test.rpartition("/")[2] or verdict.why[:80]
    print(
        f"{number} {verdict.outcome:11} {one.path}:{one.line} ({one.kind}, {one.id}) {took_s:.1f} s"
        f" of {len(plan.tests)} tests {by}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
