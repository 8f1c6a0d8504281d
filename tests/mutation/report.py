"""The table by module, what it says of all mutants, and the survivors nobody has explained."""

import difflib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.mutation import kept
from tests.mutation.mutants import Mutant
from tests.mutation.targets import ROOT

_OUTCOMES = ("killed", "timed out", "survived", "not covered", "explained")
_LIVES = {"survived", "not covered"}
_Z = 1.96  # of 95 %


def written(population: Mapping[str, int], judged: Sequence[Mapping[str, Any]]) -> str:
    """`population`: how many mutants a module has; `judged`: the verdicts, drawn at random."""
    explained = kept.explained()
    counts: dict[str, Counter[str]] = {name: Counter() for name in population}
    for one in judged:
        is_explained = one["outcome"] in _LIVES and one["id"] in explained
        outcome = "explained" if is_explained else one["outcome"]
        counts[one["module"]][outcome] += 1
    head = f"{'module':14}{'mutants':>9}{'tried':>7}" + "".join(f"{one:>13}" for one in _OUTCOMES)
    rows = [_row(name, of, counts[name]) for name, of in population.items()]
    lines = [f"{head}   score (95 %)", *rows, _total(population, counts)]
    living = [_survivor(one) for one in judged if lives(one, explained)]
    return "\n".join([*lines, "", *living])


def lives(one: Mapping[str, Any], explained: Mapping[str, str]) -> bool:
    return one["outcome"] in _LIVES and one["id"] not in explained


def _row(name: str, of: int, counts: Counter[str]) -> str:
    figures = "".join(f"{counts[one]:>13}" for one in _OUTCOMES)
    return f"{name:14}{of:>9}{counts.total():>7}{figures}   {_score(counts)}"


def _score(counts: Counter[str]) -> str:
    """Of those that are not explained, with Wilson's interval."""
    killed, tried = _killed(counts)
    if not tried:
        return "-"
    low, high = _interval(killed, tried)
    return f"{killed / tried:.1%} ({low:.0%}-{high:.0%})"


def _killed(counts: Counter[str]) -> tuple[int, int]:
    return counts["killed"] + counts["timed out"], counts.total() - counts["explained"]


def _interval(killed: int, tried: int) -> tuple[float, float]:
    share, weight = killed / tried, _Z * _Z / tried
    middle = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * math.sqrt(share * (1 - share) / tried + weight / tried / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def _total(population: Mapping[str, int], counts: Mapping[str, Counter[str]]) -> str:
    """Each module by how many mutants it has, not by how many were drawn of it."""
    tried = {name: _killed(one) for name, one in counts.items() if _killed(one)[1]}
    whole = sum(population[name] for name in tried)
    if not whole:
        return "nothing was tried"
    weights = {name: population[name] / whole for name in tried}
    score = sum(weights[name] * killed / of for name, (killed, of) in tried.items())
    spread = math.sqrt(sum(weights[name] ** 2 * _variance(*tried[name]) for name in tried))
    sums = sum(counts.values(), Counter())
    figures = "".join(f"{sums[one]:>13}" for one in _OUTCOMES)
    low, high = score - _Z * spread, min(1.0, score + _Z * spread)
    return f"{'all':14}{whole:>9}{sums.total():>7}{figures}   {score:.1%} ({low:.0%}-{high:.0%})"


def _variance(killed: int, of: int) -> float:
    """One more of each, so that a module without survivors is not held for certain."""
    share = (killed + 1) / (of + 2)
    return share * (1 - share) / of


def _survivor(one: Mapping[str, Any]) -> str:
    where = f"{one['path']}:{one['line']}"
    return f"{one['id']}  {one['outcome']}  {where}  ({one['kind']})\n{one['diff']}"


def diff(mutant: Mutant) -> str:
    """Its lines, before and after."""
    source = (ROOT / mutant.path).read_bytes()
    before, after = source.decode().splitlines(), mutant.text(source).decode().splitlines()
    changed = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    return "\n".join(f"    {one}" for one in changed if not one.startswith("@@"))
