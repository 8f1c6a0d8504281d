"""RSA2: SHA256withRSA, PKCS#1 v1.5, Base64, over `k=v&…` sorted by key.

Keys come as Alipay's tools give them: PEM, or one line of Base64 without headers; PKCS#1 or
PKCS#8. What fails to load raises a ValueError that names the setting and never shows its value.
"""

import base64
import binascii
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_PEM_LABEL = re.compile(r"-----[A-Z0-9 ]+-----")
_MIN_BITS = 2048  # RSA2's own minimum


def load_private_key(text: str, *, setting: str) -> rsa.RSAPrivateKey:
    """The application's private key. Raises ValueError naming `setting`."""
    try:
        key = serialization.load_der_private_key(_der(text), password=None)
    # Every library in between has its own way to say "unreadable"; the value must not leak.
    except (ValueError, TypeError, binascii.Error):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{setting} must be an RSA private key (PEM or Base64, PKCS#1 or PKCS#8).")
    _check_size(key.key_size, setting)
    return key


def load_public_key(text: str, *, setting: str) -> rsa.RSAPublicKey:
    """Alipay's public key. Raises ValueError naming `setting`."""
    try:
        key = serialization.load_der_public_key(_der(text))
    except (ValueError, TypeError, binascii.Error):
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError(f"{setting} must be an RSA public key (PEM or Base64).")
    _check_size(key.key_size, setting)
    return key


def _der(text: str) -> bytes:
    """The key's bytes; an environment variable may carry its line ends as backslash n."""
    bare = _PEM_LABEL.sub("", text.replace("\\r", "").replace("\\n", ""))
    return base64.b64decode("".join(bare.split()), validate=True)


def _check_size(bits: int, setting: str) -> None:
    if bits < _MIN_BITS:
        raise ValueError(f"{setting} must have at least {_MIN_BITS} bits.")


def signed_text(params: Mapping[str, str]) -> str:
    """What a request's signature covers: all but `sign` and empty values, raw, sorted by key."""
    return "&".join(
        f"{key}={params[key]}" for key in sorted(params) if key != "sign" and params[key]
    )


def sign(key: rsa.RSAPrivateKey, text: str) -> str:
    """The signature of `text`, in Base64."""
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(signature).decode()


def is_signed(key: rsa.RSAPublicKey, text: str, signature: str, *, charset: str = "utf-8") -> bool:
    """Whether `signature` (Base64) is the key's own over `text` as it travels in `charset`. Never
    raises.
    """
    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode() != signature:
            return False  # the same bytes written otherwise: no signer writes them so
        key.verify(raw, text.encode(charset), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
