"""The last net under the logs: long runs of figures and secrets are masked, whoever wrote them.

Code does not log numbers, ICCIDs, tokens or agreements in the first place; but a database's error
quotes the row, and a library's debug line the address. docs/operations.md says where logs go.
"""

import logging
import re

# A phone number, a card, an eSIM, an agreement: eleven figures or more. References have letters,
# and instants have marks between their figures.
_LONG_NUMBER = re.compile(r"(?<![\w.])\+?\d{7,28}(\d{4})(?!\w)")

# An eSIM's activation code; tokens of ours, of Stripe and of any carrier.
_SECRET = re.compile(
    r"(?<!\w)(LPA(?::|%3[Aa])1(?:\$|%24)|1\$[\w.-]+\$|kl_|[sr]k_(?:live|test)_|whsec_|Bearer )"
    r"[^\s\"'<>,;)]+"
)


class MaskingFormatter(logging.Formatter):
    """A formatter whose finished text, traceback included, shows four figures at the most."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def mask(text: str) -> str:
    """`text` with every long number cut to "…" and its last four figures, and secrets to "…"."""
    return _LONG_NUMBER.sub(r"…\1", _SECRET.sub(r"\1…", text))


def line_for_suspicious(record: logging.LogRecord) -> bool:
    """A request that Django refuses as suspicious (a Host that is not ours) is one line of the log.

    Whoever knocks on all doors sends thousands, and where they were refused is always the same.
    """
    if record.name.startswith("django.security."):
        record.exc_info = record.exc_text = None
    return True
