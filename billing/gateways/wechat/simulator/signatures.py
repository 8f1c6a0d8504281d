"""Both protocols' signatures and ciphers, written apart from the adapter's so the two can disagree.

v2 has one secret that signs both ways; v3 has a key of the merchant's and one of WeChat Pay's.
"""

import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import md5, sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

MD5, HMAC = "MD5", "HMAC-SHA256"
SCHEME = "WECHATPAY2-SHA256-RSA2048"
_AES_BLOCK_BITS = 128


def v2_sign(fields: Mapping[str, str], *, key: str, sign_type: str = MD5) -> str:
    """All that is not empty but `sign`, known or not, in ASCII order, then the key."""
    lines = [f"{name}={fields[name]}" for name in sorted(fields) if name != "sign" and fields[name]]
    text = "&".join([*lines, f"key={key}"]).encode()
    if sign_type == HMAC:
        return hmac.new(key.encode(), text, sha256).hexdigest().upper()
    return md5(text, usedforsecurity=False).hexdigest().upper()


def is_v2_signed(fields: Mapping[str, str], *, key: str, sign_type: str) -> bool:
    """Whether `sign` is right."""
    right = v2_sign(fields, key=key, sign_type=sign_type)
    return hmac.compare_digest(right.encode(), fields.get("sign", "").encode())


def sealed_refund(text: str, *, key: str) -> str:
    """`req_info`: AES-256-ECB under the lower-case hexadecimal MD5 of the v2 key."""
    aes_key = md5(key.encode(), usedforsecurity=False).hexdigest().encode()
    padder = padding.PKCS7(_AES_BLOCK_BITS).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    cipher = Cipher(algorithms.AES(aes_key), modes.ECB()).encryptor()  # noqa: S305 # nosec B305 - the protocol's
    return b64encode(cipher.update(padded) + cipher.finalize()).decode()


def sealed_resource(text: str, *, key: bytes, about: str) -> dict[str, str]:
    """v3's `resource`: AEAD_AES_256_GCM, the tag at the end of the ciphertext."""
    nonce = secrets.token_hex(6)
    raw = AESGCM(key).encrypt(nonce.encode(), text.encode(), about.encode())
    return {
        "original_type": about,
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": b64encode(raw).decode(),
        "associated_data": about,
        "nonce": nonce,
    }


def v3_sign(text: str, key: RSAPrivateKey) -> str:
    return b64encode(key.sign(text.encode(), PKCS1v15(), SHA256())).decode()


def is_v3_signed(text: str, signature: str, key: RSAPublicKey) -> bool:
    """Whether the owner of `key` signed `text`."""
    try:
        key.verify(b64decode(signature, validate=True), text.encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
