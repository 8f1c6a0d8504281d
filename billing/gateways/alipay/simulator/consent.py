"""Agreements: what a signing page asks for, signing, ending, moving the plan.

周期扣款 rules as third parties report them: at most ¥100 a deduction, a DAY period of 7 or more,
MONTH dates up to the 28th, ten agreements with one merchant.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billing.gateways.alipay.simulator.books import Agreement, Books, Payer, Rules
from billing.gateways.alipay.simulator.instants import day
from billing.gateways.alipay.simulator.money import fen

CYCLE = "CYCLE_PAY_AUTH"
_PERSONAL_SUFFIX = "_P"
_EXTERNAL = re.compile(r"[A-Za-z0-9]{1,32}")
_MOST_AGREEMENTS = 10
_CYCLE_MAX_SINGLE_MINOR = 100_00
_VALIDITY = re.compile(r"([0-9]{1,4})([dm])")
# What stands for "no end" in answers.
_LONG_TERM = timedelta(days=36_500)


class NotSignable(Exception):
    """What the page says to the payer instead of asking for consent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for consent, checked."""

    external_agreement_no: str
    product_code: str
    personal_product_code: str
    sign_scene: str
    external_logon_id: str
    rules: Rules
    validity: timedelta
    notify_url: str

    @property
    def is_cycle(self) -> bool:
        return self.product_code == CYCLE or bool(self.rules)


def read_request(content: dict[str, object], *, notify_url: str, now: datetime) -> Asked:
    """Check a signing request. Raises NotSignable."""
    external = str(content.get("external_agreement_no", ""))
    personal = str(content.get("personal_product_code", ""))
    product = str(content.get("product_code", ""))
    scene = str(content.get("sign_scene", ""))
    if not _EXTERNAL.fullmatch(external):
        raise NotSignable("商户签约号格式有误")
    if not personal.endswith(_PERSONAL_SUFFIX) or not product:
        raise NotSignable("商户协议不存在")
    if scene in ("", "DEFAULT|DEFAULT"):
        raise NotSignable("签约场景有误")
    access = content.get("access_params")
    if not isinstance(access, dict) or "channel" not in access:
        raise NotSignable("签约渠道有误")
    return Asked(
        external_agreement_no=external,
        product_code=product,
        personal_product_code=personal,
        sign_scene=scene,
        external_logon_id=str(content.get("external_logon_id", "")),
        rules=_rules(content.get("period_rule_params"), product, day(now)),
        validity=_validity(str(content.get("sign_validity_period", ""))),
        notify_url=notify_url,
    )


def _rules(given: object, product: str, today: date) -> Rules:
    if not isinstance(given, dict):
        if product == CYCLE:
            raise NotSignable("周期扣款需要周期规则")
        return {}
    unit, count = given.get("period_type"), str(given.get("period", ""))
    single, first = fen(given.get("single_amount")), _date(given.get("execute_time"))
    if unit not in ("DAY", "MONTH") or not count.isdecimal() or not single or first is None:
        raise NotSignable("周期规则有误")
    if first < today or (unit == "DAY" and int(count) < 7) or (unit == "MONTH" and first.day > 28):
        raise NotSignable("周期规则超出允许范围")
    if product == CYCLE and single > _CYCLE_MAX_SINGLE_MINOR:
        raise NotSignable("单笔金额超出允许范围")
    return {
        "unit": unit,
        "count": int(count),
        "first": first.isoformat(),
        "single_minor": single,
        "total_minor": fen(given["total_amount"]) if given.get("total_amount") else None,
        "total_payments": int(given["total_payments"]) if given.get("total_payments") else None,
    }


def _date(written: object) -> date | None:
    try:
        return date.fromisoformat(str(written))
    except ValueError:
        return None


def _validity(written: str) -> timedelta:
    if not written:
        return _LONG_TERM
    match = _VALIDITY.fullmatch(written)
    if match is None:
        raise NotSignable("协议有效期有误")
    return timedelta(days=int(match[1]) * (30 if match[2] == "m" else 1))


def sign(books: Books, asked: Asked, *, payer: Payer, now: datetime, status: str) -> Agreement:
    """The payer agrees. Signing the same number again changes nothing. Raises NotSignable."""
    with books.lock:
        known = books.by_external(asked.external_agreement_no)
        if known is not None:
            if known.status == "STOP":
                raise NotSignable("该商户签约号已解约，请重新发起")
            return known
        held = [
            agreement
            for agreement in books.agreements.values()
            if agreement.payer_id == payer.payer_id and agreement.status == "NORMAL"
        ]
        if asked.is_cycle and len(held) >= _MOST_AGREEMENTS:
            raise NotSignable("签约数量已达上限")
        number = books.next_number(now, 20)
        books.record("agreement_signed", **_signed(asked, number, payer, now, status))
        return books.agreements[number]


def _signed(
    asked: Asked, number: str, payer: Payer, now: datetime, status: str
) -> dict[str, object]:
    return {
        "reference": asked.external_agreement_no,
        "agreement_no": number,
        "payer_id": payer.payer_id,
        "status": status,
        "invalid_at": (now + asked.validity).isoformat(timespec="seconds"),
        "next_deduct": asked.rules.get("first"),
        "terms": {
            "product_code": asked.product_code,
            "personal_product_code": asked.personal_product_code,
            "sign_scene": asked.sign_scene,
            "external_logon_id": asked.external_logon_id,
            "notify_url": asked.notify_url,
            "rules": asked.rules,
        },
    }


def end(books: Books, agreement: Agreement, *, by: str) -> None:
    """Unsigned, by "user" or "merchant"."""
    books.record(
        "agreement_ended",
        reference=agreement.external_agreement_no,
        agreement_no=agreement.agreement_no,
        by=by,
    )


def date_after(agreement: Agreement, planned: date) -> date:
    """The planned deduction after the one on `planned`, in the rhythm that was signed."""
    rules = agreement.rules
    if rules["unit"] == "DAY":
        return planned + timedelta(days=rules["count"])
    first = date.fromisoformat(rules["first"])
    months = planned.year * 12 + planned.month - 1 + rules["count"]
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(first.day, last))
