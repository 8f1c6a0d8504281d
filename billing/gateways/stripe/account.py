"""What this merchant has agreed with Stripe, from settings. Never a card's number: SAQ A."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from billing.money import UnknownCurrency, minor_digits

API_URL = "https://api.stripe.com"

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Stripe counts these otherwise than ISO 4217 does, so an amount of ours would mean another.
_COUNTED_OTHERWISE = frozenset(
    ["BHD", "IQD", "ISK", "JOD", "KWD", "LYD", "MGA", "OMR", "TND", "UGX"]
)
_SECRET_KEY = re.compile(r"(sk|rk)_(test|live)_[A-Za-z0-9_]{5,250}")
# A card's statement: Latin letters, and none of < > \ ' " *
_SUFFIX = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 .,&/+-]{1,22}")


@dataclass(frozen=True, slots=True)
class Account:
    """The merchant's side of every call. `webhook_secrets`: the present one first."""

    secret_key: str
    webhook_secrets: tuple[str, ...]
    api_url: str
    currencies: frozenset[str]  # upper case, as ours are
    statement_descriptor_suffix: str
    return_url: str
    max_charge_minor: int | None

    @property
    def is_live(self) -> bool:
        return "_live_" in self.secret_key[:8]


def account_from(values: Mapping[str, str]) -> Account:
    """Read the STRIPE_* settings. Raises ValueError with a sentence that names the one at fault."""
    return Account(
        secret_key=_secret_key(values, "STRIPE_SECRET_KEY"),
        webhook_secrets=_webhook_secrets(values),
        api_url=_url(values, "STRIPE_API_URL", API_URL).rstrip("/"),
        currencies=_currencies(values, "STRIPE_CURRENCIES"),
        statement_descriptor_suffix=_suffix(values, "STRIPE_STATEMENT_DESCRIPTOR_SUFFIX"),
        return_url=_url(values, "STRIPE_RETURN_URL", ""),
        max_charge_minor=_count(values, "STRIPE_MAX_CHARGE_MINOR"),
    )


def _secret_key(values: Mapping[str, str], name: str) -> str:
    key = values.get(name, "").strip()
    if not key:
        raise ValueError(f"{name} must be set.")
    if not _SECRET_KEY.fullmatch(key):
        raise ValueError(f"{name} must be a secret or restricted key: sk_… or rk_….")
    return key


def _webhook_secrets(values: Mapping[str, str]) -> tuple[str, ...]:
    """The present secret, and while one is rolled the previous one, which is still signed with."""
    present = _webhook_secret(values, "STRIPE_WEBHOOK_SECRET")
    if not present:
        raise ValueError("STRIPE_WEBHOOK_SECRET must be set.")
    previous = _webhook_secret(values, "STRIPE_WEBHOOK_SECRET_PREVIOUS")
    return (present, previous) if previous else (present,)


def _webhook_secret(values: Mapping[str, str], name: str) -> str:
    secret = values.get(name, "").strip()
    if secret and not (secret.startswith("whsec_") and len(secret) >= 16):
        raise ValueError(f"{name} must be a webhook's signing secret: whsec_….")
    return secret


def _url(values: Mapping[str, str], name: str, default: str) -> str:
    """Plain http only to this machine: what is sent names payers, amounts and our key."""
    url = values.get(name, "").strip() or default
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not url or is_local or (parts.scheme == "https" and parts.hostname):
        return url
    raise ValueError(f"{name} must be an https URL.")


def _currencies(values: Mapping[str, str], name: str) -> frozenset[str]:
    text = values.get(name, "") or "cny,hkd,usd,eur"
    codes = {code.strip().upper() for code in text.split(",") if code.strip()}
    if not codes:
        raise ValueError(f"{name} must list at least one currency.")
    for code in sorted(codes):
        try:
            minor_digits(code)
        except UnknownCurrency:
            raise ValueError(f"{name} must be ISO 4217 codes with commas between.") from None
        if code in _COUNTED_OTHERWISE:
            raise ValueError(f"{name} cannot hold {code}: Stripe counts its minor unit otherwise.")
    return frozenset(codes)


def _suffix(values: Mapping[str, str], name: str) -> str:
    suffix = values.get(name, "").strip()
    if suffix and not _SUFFIX.fullmatch(suffix):
        raise ValueError(f"{name} must be at most 22 Latin characters, at least one a letter.")
    return suffix


def _count(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{name} must be a whole number above zero.")
    return int(text)
