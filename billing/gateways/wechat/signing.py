"""v2 signatures: `k=v&…&key=KEY` over all but `sign` and empty values, sorted, in upper hex.

Every field counts, those nobody here knows included, so that one added by WeChat Pay does not make
its answers look false.

Blanks around a value are layout to some and content to others: the vendor's own Java SDK trims each
value before it signs and before it verifies (WXPayUtil.generateSignature), wechatpy reads through
xmltodict, which strips them, and the vendor's PHP SDK takes values as they stand. What one of these
would have signed is genuine.
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


def sign(fields: Mapping[str, str], *, key: str, sign_type: str, charset: str = "utf-8") -> str:
    """The signature of `fields` in `sign_type`, one of MD5 and HMAC_SHA256, over their bytes as
    they travel in `charset`.
    """
    text = signed_text(fields, key).encode(charset)
    if sign_type == HMAC_SHA256:
        return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()
    # The protocol's own choice; the key at the text's end is what nobody else knows.
    return hashlib.md5(text, usedforsecurity=False).hexdigest().upper()


def is_signed(fields: Mapping[str, str], *, key: str, charset: str = "utf-8") -> bool:
    """Whether `sign` is the key's own over the rest. Never raises; constant time.

    The type is what the message says, else what the signature's length says: contracts are signed
    in MD5 whatever a merchant's charges use.
    """
    given = fields.get("sign", "").strip()
    by_length = _TYPE_BY_LENGTH.get(len(given))
    said = fields.get("sign_type", "").strip() or by_length
    if by_length is None or said != by_length or not given.isascii():
        return False
    matches = [
        hmac.compare_digest(sign(one, key=key, sign_type=by_length, charset=charset), given.upper())
        for one in (fields, {name: value.strip() for name, value in fields.items()})
    ]
    return any(matches)
