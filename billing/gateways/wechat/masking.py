"""Evidence without secrets: who paid and what lets us charge them are never kept whole."""

import json
import re
from collections.abc import Mapping

_PRIVATE = frozenset(
    {
        "clientip",
        "contract_display_account",
        "contract_id",  # with our key it charges the payer, so it is a token
        "openid",
        "sub_openid",
        "redirect_url",  # carries its own permission
        "miniprogram_path",
        "pre_entrustweb_id",
    }
)
# Signatures and sealed texts are of no use once the rest is masked, payers' banks of none at all.
_DROPPED = frozenset(
    {
        "sign",
        "req_info",
        "ciphertext",
        "signature",
        "refund_recv_accout",  # the vendor's spelling
        "user_received_account",
    }
)
# Lists are numbered in their names: openid_0, openid_1.
_NUMBER = re.compile(r"_[0-9]+$")

_PRIVATE_TAG = re.compile(
    rf"(<({'|'.join(sorted(_PRIVATE | _DROPPED))})(?:_\d+)?>).*?(</|$)", re.DOTALL | re.IGNORECASE
)
# In any text: openids, contract ids, mainland mobile numbers, ICCIDs.
_LOOKS_PRIVATE = re.compile(
    r"\bo[\w-]{27}\b|\bWx\d{10,}\b|(?<!\d)1[3-9]\d{9}(?!\d)"
    r"|(?<![0-9A-Za-z])89[0-9A-F]{17,18}(?![0-9A-Za-z])"
)
_LONGEST_STRANGE_TEXT = 2000


def masked_id(value: str) -> str:
    """An account or a token as it may be shown and kept: as given if masked already."""
    if "*" in value:
        return value
    return f"{value[:5]}****" if len(value) > 10 else "****"


def masked_json(fields: Mapping[str, object]) -> str:
    """The fields as JSON, private ones masked, at any depth."""
    return json.dumps(_masked(fields), ensure_ascii=False, default=str)


def masked_text(text: str) -> str:
    """An answer that could not be verified, as evidence: shortened, what looks private masked."""
    without_tags = _PRIVATE_TAG.sub(r"\1***\3", text[:_LONGEST_STRANGE_TEXT])
    return _LOOKS_PRIVATE.sub("***", without_tags)


def _masked(value: object, key: str = "") -> object:
    if isinstance(value, Mapping):
        named = ((name, _NUMBER.sub("", name)) for name in value)
        return {name: _masked(value[name], bare) for name, bare in named if bare not in _DROPPED}
    if isinstance(value, list):
        return [_masked(item, key) for item in value]
    if key in _PRIVATE and value:
        return masked_id(str(value))
    return _LOOKS_PRIVATE.sub("***", value) if isinstance(value, str) else value
