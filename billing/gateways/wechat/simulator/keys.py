"""The folder with all keys: what is missing in it is made at a start, what is there is kept.

| file | whose |
| --- | --- |
| api_v2_key.txt, api_v3_key.txt | the merchant's two secrets of 32 characters |
| apiclient_key.pem, apiclient_cert.pem | the merchant's key and certificate (v3, and refunds) |
| platform_key.pem, platform_pub.pem, platform_cert.pem | WeChat Pay's (v3 answers) |
| ca.pem, ca_key.pem, server.pem | who signs certificates, and the TLS port's own |
| merchant.json | serial numbers: {"merchant_serial", "public_key_id", "platform_serial"} |
"""

import json
import secrets
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIVES_FOR = timedelta(days=3650)
_PUBLIC_KEY_ID = "PUB_KEY_ID_0116000000012026112200291000000000"
_SECRETS = ("api_v2_key.txt", "api_v3_key.txt")


@dataclass(frozen=True, slots=True)
class Keys:
    """All of it, loaded."""

    folder: Path
    v2: str
    v3: bytes
    platform: RSAPrivateKey
    platform_serial: str
    platform_certificate: str
    public_key_id: str
    merchant: RSAPublicKey
    merchant_serial: str

    def tls(self) -> ssl.SSLContext:
        """For the secure port: a client certificate of ours is verified; whether one is needed is
        the call's affair, as at the real address."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem")
        context.load_verify_locations(self.folder / "ca.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def open_keys(folder: Path, *, mch_id: str) -> Keys:
    """Load the folder's keys, making those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _SECRETS:
        _secret(folder / name)
    ca = _key(folder / "ca_key.pem")
    merchant, platform = _key(folder / "apiclient_key.pem"), _key(folder / "platform_key.pem")
    if not (folder / "merchant.json").exists():
        _make_certificates(folder, mch_id, ca, merchant, platform)
    serials = json.loads((folder / "merchant.json").read_text())
    return Keys(
        folder=folder,
        v2=(folder / "api_v2_key.txt").read_text().strip(),
        v3=(folder / "api_v3_key.txt").read_text().strip().encode(),
        platform=platform,
        platform_certificate=(folder / "platform_cert.pem").read_text(),
        merchant=merchant.public_key(),
        **serials,
    )


def _secret(path: Path) -> None:
    if not path.exists():
        _private(path, secrets.token_hex(16).encode())


def _private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _key(path: Path) -> RSAPrivateKey:
    if not path.exists():
        _private(path, _pem(generate_private_key(public_exponent=65537, key_size=2048)))
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise SystemExit(f"{path} must hold an RSA key.")
    return key


def _make_certificates(
    folder: Path, mch_id: str, ca: RSAPrivateKey, merchant: RSAPrivateKey, platform: RSAPrivateKey
) -> None:
    root = _certificate("WeChat Pay simulator CA", ca.public_key(), ca, is_ca=True)
    server = generate_private_key(public_exponent=65537, key_size=2048)
    own = _certificate("localhost", server.public_key(), ca, is_server=True)
    clients = _certificate(mch_id, merchant.public_key(), ca)
    platforms = _certificate("Tenpay.com sign", platform.public_key(), ca)
    _private(folder / "server.pem", _pem(server) + own.public_bytes(Encoding.PEM))
    for name, made in (("ca", root), ("apiclient_cert", clients), ("platform_cert", platforms)):
        (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "platform_pub.pem").write_bytes(
        platform.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    serials = {
        "merchant_serial": f"{clients.serial_number:040X}",
        "platform_serial": f"{platforms.serial_number:040X}",
        "public_key_id": _PUBLIC_KEY_ID,
    }
    # Last: a folder without it was left half made.
    (folder / "merchant.json").write_text(json.dumps(serials, indent=1))


def _certificate(
    name: str,
    key: RSAPublicKey,
    ca: RSAPrivateKey,
    *,
    is_ca: bool = False,
    is_server: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("WeChat Pay simulator CA"))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIVES_FOR)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False
        )
    )
    if is_ca:
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    if is_server:
        names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
        server_auth = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(server_auth, critical=False)
    return builder.sign(ca, SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
