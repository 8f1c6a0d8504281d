"""What a variable of the environment may be. `portal.settings` reads all of them through `env`.

Whatever is wrong is an error that names the variable and says what it takes, never what was
given: it may be a secret.
"""

import base64
import binascii
import os
import re
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from environs import FileAwareEnv, ValidationError, validate

_HOST = re.compile(r"\*|\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\]")
_ENVIRONS_WORDS = re.compile(r"""^Environment variable "(\w+)" invalid: (?:\[')?(.*?)(?:'\])?$""")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SHORTEST_SECRET = 16
_KEY_BYTES = 32

port = validate.Range(min=1, max=65_535, error="Write a number from {min} to {max}.")
count = validate.Range(min=0, error="Write a number of at least {min}.")
at_least_one = validate.Range(min=1, error="Write a number of at least {min}.")


class Environment(FileAwareEnv):
    """environs', where a file that cannot be read is an error like any other."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        try:
            return super()._get_value(env_key, default)
        except (OSError, ValueError) as error:  # a folder, no such file, not UTF-8
            raise ImproperlyConfigured(
                f"{env_key}_FILE must be the path of a readable text file."
            ) from error


# A line's end after the value, as an editor leaves it, is none of the value.
env = Environment(strip_whitespace=True)


def sentence(error: Exception) -> str:
    """What is wrong, as `NAME: what it takes`."""
    return _ENVIRONS_WORDS.sub(r"\1: \2", str(error))


@env.parser_for("pairs")
def _pairs(text: str, **_more: Any) -> dict[str, str]:
    """`name=value,name=value`."""
    pairs = [one.partition("=") for one in text.split(",") if one.strip()]
    if not all(name.strip() and value.strip() for name, _equals, value in pairs):
        raise ValidationError("Write it as name=value,name=value.")
    return {name.strip(): value.strip() for name, _equals, value in pairs}


@env.parser_for("level")
def _level(text: str, **_more: Any) -> str:
    """A level of logging, in any case."""
    if text.upper() not in _LEVELS:
        raise ValidationError(f"Write one of {', '.join(_LEVELS)}.")
    return text.upper()


def hosts(names: list[str]) -> None:
    """Names as a browser sends them: no scheme, port or path."""
    if not names or not all(_HOST.fullmatch(name) for name in names):
        raise ValidationError("Name the hosts served, e.g. keepline.example,www.keepline.example.")


def site(url: str) -> None:
    """`https://host`, perhaps with a port: all addresses hang from its root."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ValidationError("Write https://host, without a path.")


def database(url: str) -> None:
    """PostgreSQL's, or none."""
    try:
        is_fine = urlsplit(url).scheme in ("postgres", "postgresql") and urlsplit(url).port != 0
    except ValueError:  # a port that is no number
        is_fine = False
    if url and not is_fine:
        raise ValidationError("Write postgres://user:password@host/name: it runs on PostgreSQL.")


def secret(text: str) -> None:
    """One or several, comma-separated, each long enough not to be guessed."""
    if any(len(one) < SHORTEST_SECRET for one in text.split(",")):
        raise ValidationError(f"Give at least {SHORTEST_SECRET} random characters.")


def encryption_keys(text: str) -> None:
    """Keys of AES-256-GCM."""
    if not all(map(_is_key, text.split(","))):
        raise ValidationError("Give 32 random bytes each, URL-safe base64, comma-separated.")


def refuse_unwritable(folder: Path, *, name: str) -> None:
    """Raises ImproperlyConfigured where nothing can be kept in `folder`, which need not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        raise ImproperlyConfigured(f"{name} must be a folder that can be written to: {folder}")


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def sender(address: str) -> None:
    """`Name <name@host>`."""
    if "@" not in parseaddr(address)[1]:
        raise ValidationError("Write an address, e.g. Keepline <no-reply@keepline.example>.")


def importable(path: str) -> None:
    """The dotted path of something that is there."""
    try:
        import_string(path)
    except ImportError as error:
        raise ValidationError("There is nothing by that dotted path.") from error
