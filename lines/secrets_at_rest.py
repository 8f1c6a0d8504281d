"""Secrets kept in rows: encrypted with the newest key, readable with any, never in a repr."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

from lines.fields import PlainInMigrations


class UnreadableSecret(Exception):
    """No key we hold opens this value: a key was dropped before `rotate` had run."""


def _box(keys: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str, *, keys: Sequence[str]) -> str:
    """`text` sealed with the first of `keys` (Fernet: AES-128-CBC and HMAC-SHA256)."""
    return _box(keys).encrypt(text.encode()).decode()


def decrypt(token: str, *, keys: Sequence[str]) -> str:
    """The text again. Raises UnreadableSecret."""
    try:
        return _box(keys).decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise UnreadableSecret("no key in KEEPLINE_ENCRYPTION_KEYS opens this value") from error


class SecretTextField(PlainInMigrations, models.TextField):  # type: ignore[type-arg]
    """Text that is plain in Python and sealed in PostgreSQL. It cannot be searched, by design."""

    plain = "django.db.models.TextField"

    def get_prep_value(self, value: object) -> object:
        text = super().get_prep_value(value)
        return encrypt(text, keys=settings.ENCRYPTION_KEYS) if text else text

    def from_db_value(self, value: str | None, *_: object) -> str | None:
        return decrypt(value, keys=settings.ENCRYPTION_KEYS) if value else value
