"""What WeChat Pay posts to us over v2: verified, checked to be ours, read; or refused.

One address takes all kinds; their fields tell them apart. A refund's has
no signature: what it tells is encrypted under a key that only WeChat Pay and we know, and nothing
of it is believed without asking. v2 has no timestamp over its messages, so what is stale is told by
the time of what happened, and a repeat by the message's content.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from billing.gateways.base import Acknowledgement, BadNotification, Notification, NotificationKind
from billing.gateways.wechat import instants
from billing.gateways.wechat.codes import SUCCESS
from billing.gateways.wechat.documents import UnreadableDocument, charset_of, from_xml, trimmed
from billing.gateways.wechat.masking import masked_json
from billing.gateways.wechat.orders import CURRENCY
from billing.gateways.wechat.signing import is_signed
from billing.gateways.wechat.terms import Terms
from billing.gateways.wechat.trades import fen


def _said(code: str, message: str) -> Acknowledgement:
    """Not a blank inside, which the vendor warns of."""
    body = (
        f"<xml><return_code><![CDATA[{code}]]></return_code>"
        f"<return_msg><![CDATA[{message}]]></return_msg></xml>"
    )
    return Acknowledgement(body, "text/xml")


ACCEPTED = _said(SUCCESS, "OK")
REFUSED = _said("FAIL", "refused")

# Refunds are repeated for a little over 24 hours, the others for less.
_OLDEST = timedelta(hours=26)
_LONGEST_BODY_BYTES = 64 * 1024
_REFERENCE = re.compile(r"[A-Za-z0-9_|*@-]{1,64}")
_WORD = re.compile(r"[A-Z_]{1,32}")
_CHANGES = ("ADD", "DELETE")
# A repeat may be signed anew, with another nonce.
_NOT_CONTENT = frozenset({"sign", "sign_type", "nonce_str"})


def read(body: bytes, *, terms: Terms, at: datetime) -> Notification:
    """The notification in `body`. Raises BadNotification: nothing of it may be believed."""
    fields = _document(body)
    if "req_info" in fields and "sign" not in fields:
        return _about_refund(fields, terms=terms, at=at)
    if not is_signed(fields, key=terms.api_v2_key, charset=charset_of(body)):
        raise _bad("the signature is wrong")
    fields = trimmed(fields)
    if fields.get("return_code") != SUCCESS:
        raise _bad("it tells of nothing")
    _check_is_ours(fields, terms)
    if "change_type" in fields:
        return _about_contract(fields, at=at)
    if "out_trade_no" in fields and "result_code" in fields:
        if fields.get("appid") != terms.app_id:
            raise _bad("it is for another application")
        return _about_charge(fields, at=at)
    raise _bad("it is of no kind that is read here")


def _bad(reason: str) -> BadNotification:
    return BadNotification(reason, REFUSED)


def _document(body: bytes, *, root: str = "xml") -> Mapping[str, str]:
    if len(body) > _LONGEST_BODY_BYTES:
        raise _bad("it is too long")
    try:
        return from_xml(body, root=root)
    except UnreadableDocument as error:
        raise _bad(str(error)) from error


def _check_is_ours(fields: Mapping[str, str], terms: Terms) -> None:
    """A contract's notification names no application, so only the merchant is always there."""
    if fields.get("mch_id") != terms.mch_id:
        raise _bad("it is for another merchant")
    if fields.get("appid", terms.app_id) != terms.app_id:
        raise _bad("it is for another application")


def _about_contract(fields: Mapping[str, str], *, at: datetime) -> Notification:
    if fields["change_type"] not in _CHANGES:
        raise _bad("its change_type is not one that is read here")
    _check_is_fresh(fields.get("operate_time", ""), at=at, must_tell=True)
    return Notification(
        kind=NotificationKind.BINDING,
        dedupe_id=_content_id(fields),
        our_ref=_reference(fields, "contract_code"),
        provider_ref=_reference(fields, "contract_id"),
        claims=fields["change_type"],
        body_masked=masked_json(fields),
    )


def _about_charge(fields: Mapping[str, str], *, at: datetime) -> Notification:
    """A failed one may tell no time, no amount, no number of WeChat Pay's, and even no failure."""
    _check_is_fresh(fields.get("time_end", ""), at=at, must_tell=False)
    has_amount = bool(fields.get("total_fee"))
    return Notification(
        kind=NotificationKind.CHARGE,
        dedupe_id=_content_id(fields),
        our_ref=_reference(fields, "out_trade_no"),
        provider_ref=_reference(fields, "transaction_id") if fields.get("transaction_id") else "",
        amount_minor=_amount(fields, "total_fee") if has_amount else None,
        currency=_currency(fields),
        claims=_claims(fields),
        body_masked=masked_json(fields),
    )


def _claims(fields: Mapping[str, str]) -> str:
    """The vendor's sample of a failed deduction says SUCCESS, but has no transaction."""
    said = fields.get("trade_state") or fields.get("err_code") or fields["result_code"]
    return "" if said == SUCCESS and not fields.get("transaction_id") else said[:64]


def _about_refund(outer: Mapping[str, str], *, terms: Terms, at: datetime) -> Notification:
    outer = trimmed(outer)
    _check_is_ours(outer, terms)
    if outer.get("return_code") != SUCCESS or outer.get("appid") != terms.app_id:
        raise _bad("it is for another application, or tells of nothing")
    fields = trimmed(_document(_opened(outer["req_info"], terms.api_v2_key), root="root"))
    _check_is_fresh(fields.get("success_time", ""), at=at, must_tell=False)
    status = fields.get("refund_status", "")
    if not _WORD.fullmatch(status):
        raise _bad("its refund_status cannot be read")
    _amount(fields, "total_fee")
    return Notification(
        kind=NotificationKind.REFUND,
        dedupe_id=_content_id(fields),
        our_ref=_reference(fields, "out_trade_no"),
        provider_ref=_reference(fields, "transaction_id"),
        refund_ref=_reference(fields, "out_refund_no"),
        amount_minor=_amount(fields, "refund_fee"),
        currency=CURRENCY,
        claims=status,
        body_masked=masked_json(fields),
    )


def _opened(req_info: str, api_v2_key: str) -> bytes:
    """AES-256-ECB and PKCS#7, under the lower-case hex MD5 of the key: the protocol's choice."""
    key = hashlib.md5(api_v2_key.encode(), usedforsecurity=False).hexdigest().encode()
    try:
        sealed = base64.b64decode("".join(req_info.split()), validate=True)
        decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()  # noqa: S305  # nosec B305
        unpadder = PKCS7(128).unpadder()
        padded = decryptor.update(sealed) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise _bad("what it holds cannot be opened") from error


def _check_is_fresh(text: str, *, at: datetime, must_tell: bool) -> None:
    happened_at = instants.from_text(text) if text else None
    if happened_at is None and (text or must_tell):
        raise _bad("it tells no time")
    if happened_at is not None and at - happened_at > _OLDEST:
        raise _bad("it is too old")


def _reference(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not _REFERENCE.fullmatch(value):
        raise _bad(f"its {name} cannot be read")
    return value


def _amount(fields: Mapping[str, str], name: str) -> int:
    amount_minor = fen(fields.get(name, ""))
    if amount_minor is None:
        raise _bad(f"its {name} cannot be read")
    return amount_minor


def _currency(fields: Mapping[str, str]) -> str:
    if fields.get("fee_type", CURRENCY) != CURRENCY:
        raise _bad("it is in another currency")
    return CURRENCY


def _content_id(fields: Mapping[str, str]) -> str:
    """The same on every repeat, whatever nonce it was signed with."""
    content = [f"{name}={fields[name]}" for name in sorted(fields) if name not in _NOT_CONTENT]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()
