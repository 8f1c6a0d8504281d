"""What is asked of a signing page, and what agreement answers mean. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime

from billing.gateways.alipay import codes, instants, trades
from billing.gateways.alipay.client import Reply
from billing.gateways.alipay.contract import Contract, Period
from billing.gateways.alipay.masking import masked_account
from billing.gateways.base import BindingFacts, BindingRequest, BindingStatus, NotFound, Unknown
from billing.money import to_decimal_text

_STATUSES = {
    "TEMP": BindingStatus.PENDING,
    "NORMAL": BindingStatus.ACTIVE,
    # The query's word for what the notification calls UNSIGN.
    "STOP": BindingStatus.REVOKED,
    "UNSIGN": BindingStatus.REVOKED,
}
# Alipay writes "no end" as a day a century away.
_NO_END_YEAR = 2100
_PAYER_FIELDS = (
    "alipay_user_id",
    "principal_id",
    "alipay_open_id",
    "open_id",
    "principal_open_id",
)


def signing_content(
    request: BindingRequest, *, contract: Contract, today: date
) -> Mapping[str, object]:
    """`biz_content` of alipay.user.agreement.page.sign. Raises ValueError for a bad reference.

    `today` is Beijing's: the first deduction's date, where the product has a rhythm.
    """
    if not (request.binding_ref.isascii() and request.binding_ref.isalnum()):
        raise ValueError("A binding's reference must be ASCII letters and digits.")
    if len(request.binding_ref) > 32:
        raise ValueError("A binding's reference must have at most 32 characters.")
    content: dict[str, object] = {
        "external_agreement_no": request.binding_ref,
        "product_code": contract.product_code,
        "personal_product_code": contract.personal_product_code,
        "sign_scene": contract.sign_scene,
        "access_params": {"channel": contract.sign_channel},
    }
    if request.account_label:
        content["external_logon_id"] = request.account_label
    if contract.sign_validity:
        content["sign_validity_period"] = contract.sign_validity
    if contract.period is not None:
        limit_minor = request.max_charge_minor or contract.max_charge_minor
        content["period_rule_params"] = _period_rules(contract.period, limit_minor, today)
    return content


def _period_rules(period: Period, limit_minor: int | None, today: date) -> Mapping[str, object]:
    if limit_minor is None:
        raise ValueError("ALIPAY_MAX_CHARGE_MINOR must be set for an agreement with a period.")
    rules: dict[str, object] = {
        "period_type": period.unit,
        "period": str(period.count),
        "execute_time": period.first_date(today).isoformat(),
        "single_amount": to_decimal_text(limit_minor, "CNY"),
    }
    if period.total_amount_minor is not None:
        rules["total_amount"] = to_decimal_text(period.total_amount_minor, "CNY")
    if period.total_payments is not None:
        rules["total_payments"] = str(period.total_payments)
    return rules


def identifiers(*, binding_ref: str, provider_ref: str, contract: Contract) -> Mapping[str, str]:
    """How query and unsign name an agreement: its number, or ours with product and scene."""
    if provider_ref:
        return {"agreement_no": provider_ref}
    return {
        "external_agreement_no": binding_ref,
        "personal_product_code": contract.personal_product_code,
        "sign_scene": contract.sign_scene,
        "third_party_type": "PARTNER",
    }


def facts(reply: Reply, *, binding_ref: str, at: datetime) -> BindingFacts | NotFound | Unknown:
    """What alipay.user.agreement.query answered. A refusal to tell says nothing: Unknown."""
    if reply.code == codes.BUSINESS_FAILURE and reply.sub_code in codes.NO_SUCH_AGREEMENT:
        return NotFound()
    status = _STATUSES.get(reply.text("status"))
    if reply.code != codes.SUCCESS or status is None:
        return trades.untold(reply)
    if binding_ref and reply.text("external_agreement_no") not in ("", binding_ref):
        return Unknown("the answer is about another agreement")
    expires_at = instants.from_text(reply.text("invalid_time"))
    # Nothing is sent when an agreement runs out, and the query may still call it NORMAL.
    if expires_at is not None and expires_at <= at and status is not BindingStatus.REVOKED:
        status = BindingStatus.EXPIRED
    return BindingFacts(
        status=status,
        provider_ref=reply.text("agreement_no"),
        label=_label(reply),
        fingerprint=_fingerprint(reply),
        expires_at=None if expires_at and expires_at.year >= _NO_END_YEAR else expires_at,
        signed_at=instants.from_text(reply.text("sign_time")),
    )


def _label(reply: Reply) -> str:
    account = reply.text("alipay_logon_id")
    return masked_account(account) if account else ""


def _fingerprint(reply: Reply) -> str:
    """The same for the same payer, whatever the agreement; empty where none is named."""
    payer = next(filter(None, (reply.text(name) for name in _PAYER_FIELDS)), "")
    return hashlib.sha256(f"alipay:{payer}".encode()).hexdigest() if payer else ""
