"""v2 signatures: `k=v&…&key=KEY` over all but `sign` and empty values, sorted, in upper hex.

Every field counts, those nobody here knows included, so that one added by WeChat Pay does not make
its answers look false.
"""

import hashlib
import hmac
from collections.abc import Mapping

MD5, HMAC_SHA256 = "MD5", "HMAC-SHA256"
_TYPE_BY_LENGTH = {32: MD5, 64: HMAC_SHA256}


def signed_text(fields: Mapping[str, str], key: str) -> str:
    """What a signature covers; values raw, whatever encoding they travel in."""
    pairs = "".join(f"{k}={fields[k]}&" for k in sorted(fields) if k != "sign" and fields[k])
    return f"{pairs}key={key}"


def sign(fields: Mapping[str, str], *, key: str, sign_type: str) -> str:
    """The signature of `fields` in `sign_type`, one of MD5 and HMAC_SHA256."""
    text = signed_text(fields, key).encode()
    if sign_type == HMAC_SHA256:
        return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()
    # The protocol's own choice; the key at the text's end is what nobody else knows.
    return hashlib.md5(text, usedforsecurity=False).hexdigest().upper()


def is_signed(fields: Mapping[str, str], *, key: str) -> bool:
    """Whether `sign` is the key's own over the rest. Never raises; constant time.

    The type is what the message says, else what the signature's length says: contracts are signed
    in MD5 whatever a merchant's charges use.
    """
    given = fields.get("sign", "").strip()
    by_length = _TYPE_BY_LENGTH.get(len(given))
    said = fields.get("sign_type") or by_length
    if by_length is None or said != by_length or not given.isascii():
        return False
    return hmac.compare_digest(sign(fields, key=key, sign_type=by_length), given.upper())
