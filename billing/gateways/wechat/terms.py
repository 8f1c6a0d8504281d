"""What this merchant has agreed with WeChat Pay, from settings: terms differ between merchants.

How a charge is announced shapes everything else, and how the vendor
counts the days of an announcement is ambiguous in its text, so both are configuration.
"""

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from billing.gateways.wechat.signing import HMAC_SHA256, MD5

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_KEY_CHARACTERS = 32
_LONGEST_WAIT_DAYS = 30
_LONGEST_WINDOW_DAYS = 31


class NoticeMode(StrEnum):
    """Who announces a charge, and when it is made."""

    AFTER_24H = "24h"  # WeChat Pay tells the payer and deducts 24 hours later
    NOTIFY = "notify"  # we announce it (预扣费通知), and charge days later, at once
    NONE = "none"  # the product needs no announcement


class SigningWay(StrEnum):
    """Which of WeChat Pay's signing pages this merchant was granted."""

    H5 = "h5"
    OFFICIAL_ACCOUNT = "official_account"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Terms:
    """The merchant's side of every call."""

    app_id: str
    mch_id: str
    plan_id: str
    api_v2_key: str = field(repr=False)
    notice_mode: NoticeMode
    notice_wait_days: int  # the day of the notice included
    notice_window_days: int
    sign_type: str
    signing_way: SigningWay
    server_ip: str
    max_charge_minor: int
    max_charges_per_day: int
    api_urls: tuple[str, ...]  # the second is asked where the first cannot be reached
    secure_url: str
    client_cert: tuple[str, str]  # files: certificate, key
    ca_path: str  # "": whom the system trusts


def terms_from(values: Mapping[str, str]) -> Terms:
    """Read the settings. Raises ValueError with a sentence that names the one at fault."""
    mode = NoticeMode(_one_of(values, "WECHAT_NOTICE_MODE", tuple(NoticeMode)))
    api_url = _url(values, "WECHAT_API_URL")
    backup = [_url(values, "WECHAT_BACKUP_API_URL")] if values.get("WECHAT_BACKUP_API_URL") else []
    has_own_secure_url = bool(values.get("WECHAT_SECURE_API_URL"))
    return Terms(
        app_id=_given(values, "WECHAT_APP_ID"),
        mch_id=_figures(values, "WECHAT_MCH_ID"),
        plan_id=_figures(values, "WECHAT_PLAN_ID"),
        api_v2_key=key_of(values, "WECHAT_API_V2_KEY"),
        notice_mode=mode,
        notice_wait_days=_days(values, "WECHAT_NOTICE_WAIT_DAYS", _LONGEST_WAIT_DAYS),
        notice_window_days=_days(values, "WECHAT_NOTICE_WINDOW_DAYS", _LONGEST_WINDOW_DAYS),
        sign_type=_one_of(values, "WECHAT_SIGN_TYPE", (HMAC_SHA256, MD5)),
        signing_way=SigningWay(_one_of(values, "WECHAT_SIGN_PAGE", tuple(SigningWay))),
        server_ip=_ip(values, "WECHAT_SERVER_IP"),
        max_charge_minor=_count(values, "WECHAT_MAX_CHARGE_MINOR", 50_000),
        max_charges_per_day=_count(
            values, "WECHAT_MAX_CHARGES_PER_DAY", 5 if mode is NoticeMode.NONE else 1
        ),
        api_urls=(api_url, *backup),
        secure_url=_url(values, "WECHAT_SECURE_API_URL") if has_own_secure_url else api_url,
        client_cert=_client_cert(values),
        ca_path=_ca_path(values),
    )


def key_of(values: Mapping[str, str], name: str) -> str:
    """An API key. Raises ValueError naming the setting."""
    key = values.get(name, "").strip()
    if len(key) != _KEY_CHARACTERS or not key.isascii():
        raise ValueError(f"{name} must be {_KEY_CHARACTERS} characters long.")
    return key


def _given(values: Mapping[str, str], name: str) -> str:
    if not values.get(name, "").strip():
        raise ValueError(f"{name} must be set.")
    return values[name].strip()


def _figures(values: Mapping[str, str], name: str) -> str:
    text = _given(values, name)
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{name} must be a number.")
    return text


def _url(values: Mapping[str, str], name: str) -> str:
    """Plain http only to this machine: what is sent names payers and amounts."""
    url = _given(values, name).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url
    raise ValueError(f"{name} must be an https URL.")


def _one_of(values: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """The first is what is meant where nothing is said."""
    value = values.get(name, "").strip() or allowed[0]
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}.")
    return value


def _count(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{name} must be a whole number above zero.")
    return int(text)


def _days(values: Mapping[str, str], name: str, longest: int) -> int:
    days = _count(values, name, 2 if "WAIT" in name else 7)
    if days > longest:
        raise ValueError(f"{name} must be at most {longest}.")
    return days


def _ip(values: Mapping[str, str], name: str) -> str:
    text = values.get(name, "").strip() or "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{name} must be an IP address.") from None


def _client_cert(values: Mapping[str, str]) -> tuple[str, str]:
    """Both files, read once now: a refund is no time to learn that they do not match."""
    names = ("WECHAT_CLIENT_CERT_PATH", "WECHAT_CLIENT_KEY_PATH")
    certificate, key = (_file(values, name) for name in names)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # A password given stops OpenSSL from asking for one at a terminal.
        context.load_cert_chain(certificate, key, password="none")  # noqa: S106
    except (OSError, ValueError):
        raise ValueError(
            "WECHAT_CLIENT_KEY_PATH must be the unencrypted key of WECHAT_CLIENT_CERT_PATH, "
            "both as PEM files."
        ) from None
    return certificate, key


def _ca_path(values: Mapping[str, str]) -> str:
    if not values.get("WECHAT_CA_PATH", "").strip():
        return ""
    path = _file(values, "WECHAT_CA_PATH")
    try:
        ssl.create_default_context(cafile=path)
    except OSError:
        raise ValueError("WECHAT_CA_PATH must be a file of PEM certificates.") from None
    return path


def _file(values: Mapping[str, str], name: str) -> str:
    path = _given(values, name)
    if not Path(path).is_file():
        raise ValueError(f"{name} must be a file that can be read.")
    return path
