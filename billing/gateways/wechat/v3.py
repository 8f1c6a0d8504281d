"""API v3's own security: RSA over what was sent, AES-GCM around what is told (§2.3).

Only the announcement of a charge speaks v3 here, and notifications may.
"""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from billing.gateways.wechat.terms import key_of

SCHEME = "WECHATPAY2-SHA256-RSA2048"
# Probes of WeChat Pay's carry it in place of a signature; whoever accepts one verifies nothing.
PROBE_PREFIX = "WECHATPAY/SIGNTEST/"
_TOLERANCE = timedelta(minutes=5)
_MIN_BITS = 2048
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NAMES = (
    "WECHAT_API_V3_KEY",
    "WECHAT_MERCHANT_PRIVATE_KEY",
    "WECHAT_MERCHANT_SERIAL",
    "WECHAT_PLATFORM_PUBLIC_KEY",
    "WECHAT_PLATFORM_SERIAL",
)


class NotGenuine(Exception):
    """What came is not WeChat Pay's, or not of now. The text says why, and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The keys of v3: ours to sign with, WeChat Pay's to verify with, the shared one to open."""

    mch_id: str
    serial: str
    private_key: rsa.RSAPrivateKey = field(repr=False)
    platform_serial: str
    platform_key: rsa.RSAPublicKey
    api_v3_key: bytes = field(repr=False)


def identity_from(values: Mapping[str, str], *, mch_id: str, is_required: bool) -> Identity | None:
    """Read the settings of v3; None where they are not set and nothing here needs them.

    Raises ValueError with a sentence that names the setting at fault, never its value.
    """
    missing = [name for name in _NAMES if not values.get(name, "").strip()]
    if missing and is_required:
        raise ValueError(f"{missing[0]} must be set for WECHAT_NOTICE_MODE=notify.")
    if missing:
        return None
    return Identity(
        mch_id=mch_id,
        serial=values["WECHAT_MERCHANT_SERIAL"].strip(),
        private_key=_private_key(values["WECHAT_MERCHANT_PRIVATE_KEY"]),
        platform_serial=values["WECHAT_PLATFORM_SERIAL"].strip(),
        platform_key=_platform_key(values["WECHAT_PLATFORM_PUBLIC_KEY"]),
        api_v3_key=key_of(values, "WECHAT_API_V3_KEY").encode(),
    )


def authorization(identity: Identity, *, verb: str, path: str, body: bytes, at: datetime) -> str:
    """The Authorization header of a request; `path` with its query, as it is sent."""
    timestamp, nonce = str(int(at.timestamp())), secrets.token_hex(16)
    text = f"{verb}\n{path}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
    signature = identity.private_key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    parts = {
        "mchid": identity.mch_id,
        "nonce_str": nonce,
        "signature": base64.b64encode(signature).decode(),
        "timestamp": timestamp,
        "serial_no": identity.serial,
    }
    return f"{SCHEME} " + ",".join(f'{name}="{value}"' for name, value in parts.items())


def verify(identity: Identity, *, headers: Mapping[str, str], body: bytes, at: datetime) -> None:
    """That `body` is WeChat Pay's, and of now. Raises NotGenuine.

    `headers` may spell their names in any case.
    """
    given = {name.lower(): value for name, value in headers.items()}
    timestamp, nonce = given.get("wechatpay-timestamp", ""), given.get("wechatpay-nonce", "")
    signature = given.get("wechatpay-signature", "")
    if not signature:
        raise NotGenuine("it is not signed")
    if signature.startswith(PROBE_PREFIX):
        raise NotGenuine("it is a probe, not a message")
    if given.get("wechatpay-serial") != identity.platform_serial:
        raise NotGenuine("it is signed under another key's serial")
    if not _is_of_now(timestamp, at):
        raise NotGenuine("its timestamp is not of now")
    text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode() != signature:  # the same bytes, written otherwise
            raise NotGenuine("the signature is not as any signer writes it")
        identity.platform_key.verify(raw, text, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError) as error:
        raise NotGenuine("the signature is wrong") from error


def _is_of_now(timestamp: str, at: datetime) -> bool:
    if not _TIMESTAMP.fullmatch(timestamp):
        return False
    return abs(int(timestamp) - at.timestamp()) <= _TOLERANCE.total_seconds()


def opened(identity: Identity, resource: Mapping[str, object]) -> Mapping[str, object]:
    """The object inside a notification's `resource`. Raises NotGenuine."""
    if resource.get("algorithm") != "AEAD_AES_256_GCM":
        raise NotGenuine("it is encrypted in another way")
    try:
        sealed = base64.b64decode(str(resource.get("ciphertext", "")), validate=True)
        nonce = str(resource.get("nonce", "")).encode()
        extra = str(resource.get("associated_data") or "").encode()
        inside = json.loads(AESGCM(identity.api_v3_key).decrypt(nonce, sealed, extra))
    except (InvalidTag, ValueError, RecursionError) as error:
        raise NotGenuine("what it holds cannot be opened") from error
    if not isinstance(inside, dict):
        raise NotGenuine("what it holds is not an object")
    return inside


def _private_key(text: str) -> rsa.RSAPrivateKey:
    name = "WECHAT_MERCHANT_PRIVATE_KEY"
    try:
        key = serialization.load_pem_private_key(_pem(text), password=None)
    # Every library in between has its own way to say "unreadable"; the value must not leak.
    except (ValueError, TypeError, binascii.Error):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < _MIN_BITS:
        raise ValueError(f"{name} must be an RSA private key of at least {_MIN_BITS} bits (PEM).")
    return key


def _platform_key(text: str) -> rsa.RSAPublicKey:
    name = "WECHAT_PLATFORM_PUBLIC_KEY"
    pem = _pem(text)
    try:
        if b"BEGIN CERTIFICATE" in pem:
            key: object = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, binascii.Error):
        key = None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _MIN_BITS:
        raise ValueError(
            f"{name} must be an RSA public key of at least {_MIN_BITS} bits or a certificate (PEM)."
        )
    return key


def _pem(text: str) -> bytes:
    """An environment variable may carry its line ends as backslash n."""
    return text.replace("\\r", "").replace("\\n", "\n").strip().encode()
