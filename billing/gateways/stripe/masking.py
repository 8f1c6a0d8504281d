"""Evidence without secrets: what lets us charge, and who pays, is never kept whole.

With our key a customer's and a payment method's ids charge a card, so they are tokens. What names
payments (pi_, ch_, re_, txn_) stays: it is what an operator looks for. No card number ever gets
here to be masked: the payer types it on Stripe's page.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_TOKEN = re.compile(r"\b(cus|pm|card|src|seti|cs_test|cs_live|mandate)_([A-Za-z0-9_]+)")
_CLIENT_SECRET = re.compile(r"_secret_([A-Za-z0-9]+)")
# Words in small letters: a code, such as card_declined. Ids are drawn from all letters and figures,
# fourteen and more of them in one piece.
_WORDS = re.compile(r"[a-z]{1,12}|[a-z]{1,16}(_[a-z]{1,16})+")
# A number, a card or an account that a message names; ours and Stripe's times have ten figures.
_NUMBER = re.compile(r"(?<![0-9A-Za-z_])\+?[0-9]{11,20}(?![0-9A-Za-z_])")
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
_KEYS = re.compile(r"\b(sk|rk|pk|whsec)_[A-Za-z0-9_]+")
_DROPPED = frozenset({"client_secret", "fingerprint", "receipt_url", "hosted_instructions_url"})
_PRIVATE = frozenset(
    {
        "address",
        "billing_details",
        "customer_details",
        "email",
        "name",
        "phone",
        "receipt_email",
        "receipt_number",
        "shipping",
    }
)
_LONGEST = 20_000
_LONGEST_STRANGE = 2000


def masked_text(text: str) -> str:
    """A form, a URL's query or an unreadable answer: shortened, tokens cut to their ends."""
    text = _KEYS.sub(r"\1_***", text[:_LONGEST_STRANGE])
    text = _CLIENT_SECRET.sub(lambda found: _unless_words(found, 1, "_secret_***"), text)
    text = _ADDRESS.sub("***@", text)
    text = _NUMBER.sub(lambda found: f"***{found[0][-4:]}", text)
    return _TOKEN.sub(lambda found: _unless_words(found, 2, f"{found[1]}_***{found[2][-4:]}"), text)


def _unless_words(found: re.Match[str], group: int, hidden: str) -> str:
    """A code stays readable, so that two of them never read the same; a token is hidden."""
    return found[0] if _WORDS.fullmatch(found[group]) else hidden


def masked_json(value: object) -> str:
    """An object as JSON, private members masked at any depth."""
    return json.dumps(_masked(value), ensure_ascii=False, default=str)[:_LONGEST]


def _masked(value: object, key: str = "") -> object:
    if isinstance(value, str):
        if key == "url" or key.endswith("_url"):
            return f"{urlsplit(value).scheme}://{urlsplit(value).netloc}/…"  # it admits to the page
        return masked_text(value)
    if key in _PRIVATE and value:
        return "***"
    if isinstance(value, Mapping):
        return {name: _masked(item, name) for name, item in value.items() if name not in _DROPPED}
    if isinstance(value, list):
        return [_masked(item, key) for item in value]
    return value
