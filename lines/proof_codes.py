"""Six figures texted to a number, to prove who holds it. Only their keyed hash is kept."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils.crypto import constant_time_compare, salted_hmac

from lines import typed
from lines.models import Line, LineProof

CODE_LIFE = timedelta(minutes=10)
CODE_TRIES = 5
# Fifteen guesses an hour among a million codes, whoever's line and however many of them.
CODES_AN_HOUR = 3
# One person's lines together: nobody uses us to pester a list of numbers with texts.
OWNER_CODES_AN_HOUR = 10
_HOUR = timedelta(hours=1)
_SALT = "lines.proof_codes"


class TooManyCodes(Exception):
    """Enough codes were sent within the hour; the next may be asked for at `next_at`."""

    def __init__(self, next_at: datetime) -> None:
        super().__init__(next_at.isoformat())
        self.next_at = next_at


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """A code to send, once; of `proof` only the hash is kept."""

    code: str = field(repr=False)
    proof: LineProof


def issue(*, line: Line, at: datetime) -> ProofRequest:
    """A fresh code for `line`; any earlier one ends. Raises TooManyCodes.

    The caller holds the locks that make the count of recent codes true.
    """
    _limit(line, at=at)
    code = f"{secrets.randbelow(10**6):06d}"
    proof = LineProof.objects.create(
        line=line,
        code_hash=_hash(line, code),
        sent_at=at,
        expires_at=at + CODE_LIFE,
        tries_left=CODE_TRIES,
    )
    return ProofRequest(code=code, proof=proof)


def last(*, line: Line, at: datetime) -> LineProof | None:
    """The one code that still holds: the last one sent, unless used, too old or tried too often."""
    proof = line.proofs.order_by("-sent_at", "-pk").first()
    if proof is None or proof.used_at or at >= proof.expires_at or not proof.tries_left:
        return None
    return proof


def is_right(*, proof: LineProof, code: str) -> bool:
    """Whether `code`, as a person typed it, is the one sent. In constant time."""
    return constant_time_compare(proof.code_hash, _hash(proof.line, code))


def _limit(line: Line, *, at: datetime) -> None:
    recent = LineProof.objects.filter(sent_at__gt=at - _HOUR).order_by("-sent_at")
    for limit, of_whom in (
        (CODES_AN_HOUR, Q(line=line) | Q(line__msisdn=line.msisdn)),
        (OWNER_CODES_AN_HOUR, Q(line__owner=line.owner)),
    ):
        sent = list(recent.filter(of_whom).values_list("sent_at", flat=True)[:limit])
        if len(sent) == limit:
            raise TooManyCodes(sent[-1] + _HOUR)


def _hash(line: Line, code: str) -> str:
    """Keyed by SECRET_KEY: a million codes are soon tried against a plain hash."""
    digits = typed.plain(code).replace(" ", "")
    return salted_hmac(_SALT, f"{line.public_id}:{digits}", algorithm="sha256").hexdigest()
