"""What Alipay posts to us: verified, checked to be ours, read; or refused.

A form, signed without `sign` and `sign_type`; one official SDK also tries with `sign_type` "for
historical reasons", and so do we. A refund re-sends the payment's notification with the refund's
fields added, which must not look like a second payment.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric import rsa

from billing.gateways.alipay import instants
from billing.gateways.alipay.masking import masked_json
from billing.gateways.alipay.signing import is_signed
from billing.gateways.alipay.trades import CURRENCY
from billing.gateways.base import Acknowledgement, BadNotification, Notification, NotificationKind
from billing.money import InvalidAmount, from_decimal_text

ACCEPTED = Acknowledgement("success")
REFUSED = Acknowledgement("failure")

# Alipay repeats for 25 hours with the first sending's time; what is older is somebody's copy.
_OLDEST = timedelta(hours=26)
_LONGEST_BODY_BYTES = 64 * 1024
_MOST_FIELDS = 100
_CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gbk", "gb2312": "gbk", "gb18030": "gb18030"}
_SIGNED_KINDS = ("dut_user_sign", "dut_user_unsign")
# A message of the open platform's own kind: what a bank did with a refund to a card of its.
_DEPOSIT_BACK = "alipay.trade.refund.depositback.completed"
_DEPOSITED = {"S": "depositback S", "F": "depositback F"}


def read(
    body: bytes, *, alipay_key: rsa.RSAPublicKey, app_id: str, seller_id: str, at: datetime
) -> Notification:
    """The notification in `body`. Raises BadNotification: nothing of it may be believed."""
    fields = _form(body)
    if not _is_genuine(fields, alipay_key):
        raise BadNotification("the signature is wrong", REFUSED)
    _check_is_ours(fields, app_id=app_id, at=at)
    if fields.get("msg_method") == _DEPOSIT_BACK:
        return _about_deposit_back(fields)
    if fields.get("notify_type") in _SIGNED_KINDS:
        return _about_agreement(fields)
    if fields.get("notify_type") == "trade_status_sync":
        if fields.get("seller_id") != seller_id:
            raise BadNotification("it is for another seller", REFUSED)
        return _about_refund(fields) if _is_refund(fields) else _about_charge(fields)
    raise BadNotification("its notify_type is not one that is read here", REFUSED)


def _form(body: bytes) -> Mapping[str, str]:
    """The decoded fields; a field given twice could be read in two ways, so it is refused."""
    if len(body) > _LONGEST_BODY_BYTES:
        raise BadNotification("it is too long", REFUSED)
    try:
        text = body.decode("ascii")
        charset = _charset(dict(parse_qsl(text)))
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=True,
            encoding=charset,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as error:
        raise BadNotification("it is not a form", REFUSED) from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadNotification("a field comes twice", REFUSED)
    return fields


def _is_genuine(fields: Mapping[str, str], alipay_key: rsa.RSAPublicKey) -> bool:
    if fields.get("sign_type", "RSA2") != "RSA2":
        return False
    signature = fields.get("sign", "")
    # Over the bytes as they were sent; and as UTF-8, which some gateways sign whatever they send.
    return any(
        is_signed(alipay_key, _signed_text(fields, without), signature, charset=charset)
        for charset in {_charset(fields), "utf-8"}
        for without in _left_out(fields)
    )


def _left_out(fields: Mapping[str, str]) -> list[set[str]]:
    """What a signature may not cover; a message of the open platform, what is empty too."""
    left_out = [{"sign", "sign_type"}, {"sign"}]
    empty = {name for name, value in fields.items() if not value}
    if empty and "msg_method" in fields:
        left_out += [names | empty for names in left_out]
    return left_out


def _charset(fields: Mapping[str, str]) -> str:
    return _CHARSETS.get(fields.get("charset", "").lower(), "utf-8")


def _signed_text(fields: Mapping[str, str], without: set[str]) -> str:
    """Unlike a request's, a notification's signature covers empty fields too."""
    return "&".join(f"{key}={fields[key]}" for key in sorted(fields.keys() - without))


def _check_is_ours(fields: Mapping[str, str], *, app_id: str, at: datetime) -> None:
    if fields.get("app_id") != app_id:
        raise BadNotification("it is for another application", REFUSED)
    if not fields.get("notify_id"):
        raise BadNotification("it has no notify_id", REFUSED)
    sent_at = instants.from_text(fields.get("notify_time")) or _instant(fields)
    if sent_at is None or at - sent_at > _OLDEST:
        raise BadNotification("it is too old or tells no time", REFUSED)


def _instant(fields: Mapping[str, str]) -> datetime | None:
    """`utc_timestamp`, in milliseconds, as a message of the open platform has it."""
    told = fields.get("utc_timestamp", "")
    is_whole = told.isascii() and told.isdecimal() and len(told) == len("1514210452731")
    return datetime.fromtimestamp(int(told) // 1000, UTC) if is_whole else None


def _is_refund(fields: Mapping[str, str]) -> bool:
    """A payment's own notification may carry `refund_fee=0.00`, but no refund's time or number."""
    if fields.get("gmt_refund") or fields.get("out_biz_no"):
        return True
    return bool(fields.get("refund_fee")) and _amount(fields, "refund_fee") != 0


def _about_agreement(fields: Mapping[str, str]) -> Notification:
    if not (fields.get("external_agreement_no") or fields.get("agreement_no")):
        raise BadNotification("it names no agreement", REFUSED)
    return Notification(
        kind=NotificationKind.BINDING,
        dedupe_id=fields["notify_id"],
        our_ref=fields.get("external_agreement_no", ""),
        provider_ref=fields.get("agreement_no", ""),
        claims=fields.get("status", ""),
        body_masked=masked_json(fields),
    )


def _about_charge(fields: Mapping[str, str]) -> Notification:
    return Notification(
        kind=NotificationKind.CHARGE,
        dedupe_id=fields["notify_id"],
        our_ref=_trade(fields),
        provider_ref=fields.get("trade_no", ""),
        amount_minor=_amount(fields, "total_amount"),
        currency=CURRENCY,
        claims=fields.get("trade_status", ""),
        body_masked=masked_json(fields),
    )


def _about_refund(fields: Mapping[str, str]) -> Notification:
    """`amount_minor` is all that was given back of the trade so far: Alipay's `refund_fee`."""
    return Notification(
        kind=NotificationKind.REFUND,
        dedupe_id=fields["notify_id"],
        our_ref=_trade(fields),
        provider_ref=fields.get("trade_no", ""),
        refund_ref=fields.get("out_biz_no", ""),
        amount_minor=_amount(fields, "refund_fee"),
        currency=CURRENCY,
        claims=fields.get("trade_status", ""),
        body_masked=masked_json(fields),
    )


def _about_deposit_back(fields: Mapping[str, str]) -> Notification:
    """What a bank did with a refund to a card of its. Refused by it (F), the money is in the
    payer's Alipay balance, says Alipay, and the refund stands: so the rail is asked, as ever."""
    told = _content(fields)
    if told.get("dback_status") not in _DEPOSITED or not told.get("out_request_no"):
        raise BadNotification("it names no refund, or no end of it", REFUSED)
    amount_minor = _amount(told, "dback_amount") if told.get("dback_amount") else None
    return Notification(
        kind=NotificationKind.REFUND,
        dedupe_id=fields["notify_id"],
        our_ref=_trade(told),
        provider_ref=told.get("trade_no", ""),
        refund_ref=told["out_request_no"],
        amount_minor=amount_minor,
        currency=CURRENCY,
        claims=_DEPOSITED[told["dback_status"]],
        body_masked=masked_json(fields),
    )


def _content(fields: Mapping[str, str]) -> Mapping[str, str]:
    """The texts of `biz_content`."""
    try:
        content = json.loads(fields.get("biz_content", ""))
    except (ValueError, RecursionError) as error:
        raise BadNotification("its biz_content is no JSON", REFUSED) from error
    if not isinstance(content, dict):
        raise BadNotification("its biz_content is no object", REFUSED)
    return {name: value for name, value in content.items() if isinstance(value, str)}


def _trade(fields: Mapping[str, str]) -> str:
    reference = fields.get("out_trade_no", "")
    if not reference:
        raise BadNotification("it names no trade", REFUSED)
    return reference


def _amount(fields: Mapping[str, str], name: str) -> int:
    try:
        return from_decimal_text(fields.get(name, ""), CURRENCY)
    except InvalidAmount as error:
        raise BadNotification(f"its {name} cannot be read", REFUSED) from error
