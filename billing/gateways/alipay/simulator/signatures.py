"""The simulator's own RSA2, written apart from the adapter's so that the two can disagree.

Text is put together here from sorted pairs; which fields take part differs between a request, an
answer and a notification, so each caller says what it leaves out.
"""

from base64 import standard_b64decode, standard_b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)


class Seal:
    """Alipay's private key and the merchant's public key, loaded once."""

    def __init__(self, *, private_key_file: Path, merchant_key_file: Path) -> None:
        own = load_pem_private_key(private_key_file.read_bytes(), password=None)
        merchant = load_pem_public_key(merchant_key_file.read_bytes())
        if not isinstance(own, RSAPrivateKey) or not isinstance(merchant, RSAPublicKey):
            raise SystemExit("Both keys must be RSA keys in PEM files.")
        self._own, self._merchant = own, merchant

    def stamp(self, text: str) -> str:
        """Alipay's signature of `text`."""
        return standard_b64encode(self._own.sign(text.encode(), PKCS1v15(), SHA256())).decode()

    def is_merchants(self, text: str, signature: str) -> bool:
        """Whether the merchant signed `text`."""
        try:
            raw = standard_b64decode(signature)
            self._merchant.verify(raw, text.encode(), PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True


def pairs_text(fields: Mapping[str, str], *, leave_out: Iterable[str]) -> str:
    """`k=v&k=v` in ASCII order of the keys, values as they are."""
    skipped = frozenset(leave_out)
    kept = [(key, value) for key, value in fields.items() if key not in skipped]
    return "&".join("=".join(pair) for pair in sorted(kept))
