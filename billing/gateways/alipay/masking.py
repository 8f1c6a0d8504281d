"""Evidence without secrets: who paid and what token lets us charge them are never kept whole.

Alipay gives most accounts masked already ("138****0001"); what it gives whole is masked here.
"""

import json
import re
from collections.abc import Mapping

_PRIVATE = frozenset(
    {
        "agreement_no",  # with our key it charges the payer, so it is a token
        "alipay_logon_id",
        "alipay_open_id",
        "alipay_user_id",
        "app_auth_token",
        "bill_download_url",  # carries its own permission
        "buyer_id",
        "buyer_logon_id",
        "buyer_open_id",
        "buyer_user_id",
        "buyer_user_name",
        "external_logon_id",
        "open_id",
        "principal_id",
        "principal_open_id",
    }
)
_DROPPED = frozenset({"sign"})  # long, and of no use once the rest is masked
_JSON_INSIDE = frozenset({"biz_content"})

# In any text: Alipay's ids (2088…), mainland mobile numbers, ICCIDs, e-mail addresses.
_LOOKS_PRIVATE = re.compile(
    r"(?<!\d)2088\d{12}(?!\d)|(?<!\d)1[3-9]\d{9}(?!\d)|(?<![0-9A-Za-z])89[0-9A-F]{17,18}"
    r"(?![0-9A-Za-z])|[\w.+-]+@[\w-]+\.[\w.]+"
)
_LONGEST_STRANGE_TEXT = 2000


def masked_account(value: str) -> str:
    """An account as it may be shown and kept: as given if Alipay masked it, else three and four."""
    if "*" in value:
        return value
    return f"{value[:3]}***{value[-4:]}" if len(value) > 10 else "***"


def masked_json(fields: Mapping[str, object]) -> str:
    """The fields as JSON, private ones masked, at any depth."""
    return json.dumps(_masked(fields), ensure_ascii=False, default=str)


def masked_text(text: str) -> str:
    """An answer that could not be verified, as evidence: shortened, what looks private masked."""
    return _LOOKS_PRIVATE.sub("***", text[:_LONGEST_STRANGE_TEXT])


def _masked(value: object, key: str = "") -> object:
    if isinstance(value, Mapping):
        return {name: _masked(item, name) for name, item in value.items() if name not in _DROPPED}
    if isinstance(value, list):
        return [_masked(item, key) for item in value]
    if key in _PRIVATE and value:
        return masked_account(str(value))
    if key in _JSON_INSIDE and isinstance(value, str):
        return _masked(json.loads(value))
    # What people are told may name a number; references, codes and times have no such parts.
    return _LOOKS_PRIVATE.sub("***", value) if isinstance(value, str) else value
