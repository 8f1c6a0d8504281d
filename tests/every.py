"""A table of cases as one test, which lists all that fail and not only the first."""

from collections.abc import Callable, Iterable
from typing import Any


def failing(check: Callable[..., None], cases: Iterable[tuple[Any, ...]]) -> dict[str, str]:
    """The cases for which `check(*case)` fails, each with what it said: {} when all hold.

    assert failing(check, product(CODES, LANGUAGES)) == {}
    """
    tried = [(case, _failure(check, case)) for case in cases]
    assert tried, "no case was tried"
    return {", ".join(map(repr, case)): said for case, said in tried if said}


def _failure(check: Callable[..., None], case: tuple[Any, ...]) -> str:
    try:
        check(*case)
    except Exception as error:  # an error of one case hides no other
        return f"{type(error).__name__}: {error}"
    return ""
