"""Reasons in plain words: amount, cause, result. No codes, no blame.

What is stored is a code and its facts; the words are made when they are read, in the reader's
language, so that an old row follows a better sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils import translation
from django.utils.translation import gettext_lazy as _

from billing.words import figures
from billing.words.decisions import DECISIONS
from billing.words.figures import Phrasing
from billing.words.outcomes import OUTCOMES

_BY_CODE: dict[str, Phrasing] = DECISIONS | OUTCOMES
_UNKNOWN = Phrasing(
    titles=(_("Other reason"),),
    parts=((_("The reason is recorded under a code that support can look up."),),),
)


@dataclass(frozen=True, slots=True)
class Reason:
    """A short title, and the sentence that explains it."""

    title: str
    sentence: str


def reason(
    *,
    code: str,
    facts: Mapping[str, object],
    language: str,
    timezone: str = "",
    at: datetime | None = None,
) -> Reason:
    """The words for a decision's, a recharge's, a pause's or an attention's `code`.

    `facts` are as stored with it; each is optional. `timezone` is the line's; `at`, when it was
    decided, leaves the year out of dates of that year. Never raises for a code it does not know.
    """
    phrasing = _BY_CODE.get(code, _UNKNOWN)
    with translation.override(language):
        known = figures.written(facts, timezone=timezone, at=at)
        return Reason(
            title=figures.title_of(phrasing, known), sentence=figures.body_of(phrasing, known)
        )


def knows(code: str) -> bool:
    """Whether there are words of its own for `code`."""
    return code in _BY_CODE
