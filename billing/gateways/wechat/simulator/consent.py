"""Contracts: what is asked for a signature, signing, ending.

The same contract_code may be signed again after its contract has ended; one payer may be held to
one contract (`Settings.one_contract_per_payer`).
"""

import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from billing.gateways.wechat.simulator import wording
from billing.gateways.wechat.simulator.notifier import CONTRACT_WAITS_S, Notice
from billing.gateways.wechat.simulator.records import BY_USER, Contract, Payer, Signing
from billing.gateways.wechat.simulator.refusals import Refusal
from billing.gateways.wechat.simulator.state import Simulator

PAGE_LIVES_FOR = timedelta(minutes=10)
_LONG_TERM = timedelta(days=3650)
_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SERIAL = re.compile(r"[1-9][0-9]{0,18}")
_STAMP = re.compile(r"[0-9]{10}")
_ALWAYS = (
    "plan_id", "contract_code", "request_serial", "contract_display_account", "notify_url",
    "version", "timestamp",
)  # fmt: skip


class NotSignable(Exception):
    """What the page says to the payer instead of asking for consent: Chinese, then English."""


def asked(
    simulator: Simulator, fields: Mapping[str, str], *, via: str, sign_type: str, referrer: str = ""
) -> Signing:
    """Check a request for a signature and keep it. Raises Refusal."""
    missing = next((name for name in _ALWAYS if not fields.get(name)), None)
    if missing or (via == "h5" and not fields.get("clientip")):
        raise Refusal("LACK_PARAMS", f"缺少参数{missing or 'clientip'}")
    checks = {
        "plan_id": fields["plan_id"] == simulator.plan_id,
        "contract_code": bool(_CODE.fullmatch(fields["contract_code"])),
        "request_serial": bool(_SERIAL.fullmatch(fields["request_serial"])),
        "timestamp": bool(_STAMP.fullmatch(fields["timestamp"])),
        "version": fields["version"] == "1.0",
        "notify_url": _is_notify_url(fields["notify_url"]),
    }
    wrong = next((name for name, is_good in checks.items() if not is_good), None)
    if wrong:
        raise Refusal("PARAM_ERROR", f"参数错误：{wrong}")
    token = secrets.token_urlsafe(24)
    simulator.books.record(
        "signing",
        token=token,
        reference=fields["contract_code"],
        terms={
            "via": via,
            "plan_id": fields["plan_id"],
            "contract_code": fields["contract_code"],
            "display_account": fields["contract_display_account"],
            "request_serial": fields["request_serial"],
            "notify_url": fields["notify_url"],
            "sign_type": sign_type,
            "return_to": _return_to(fields, referrer),
        },
    )
    return simulator.books.signings[token]


def _is_notify_url(url: str) -> bool:
    """The vendor wants a whole address without a query; its ban on loopback is ours to ignore."""
    return bool(re.fullmatch(r"https?://[^/?#\s]+/[^?#\s]*", url)) and len(url) <= 256


def _return_to(fields: Mapping[str, str], referrer: str) -> str:
    """`return_web` is "1" for "back where I came from"; a whole address is taken too, because
    browsers often keep to themselves where they came from."""
    wish = fields.get("return_web", "")
    target = wish if wish.startswith(("http://", "https://")) else referrer
    return target if target.startswith(("http://", "https://")) else ""


def is_open(signing: Signing, now: datetime) -> bool:
    """Whether its page may still be decided on."""
    return not signing.is_over and now - signing.made_at < PAGE_LIVES_FOR


def decline(simulator: Simulator, signing: Signing) -> None:
    """The payer wants none of it. Nobody is told."""
    simulator.books.record("signing_over", token=signing.token)


def agree(simulator: Simulator, signing: Signing, payer: Payer) -> Contract:
    """The payer signs, and the merchant is told. Signing twice is signing once.

    Raises NotSignable.
    """
    books, now = simulator.books, simulator.time.now()
    with books.lock:
        known = books.contract(plan_id=signing.plan_id, contract_code=signing.contract_code)
        if known is not None and known.is_active(now):
            return known
        if not is_open(signing, now):
            raise NotSignable("页面已失效，请返回商家重新发起", "This page is no longer valid.")
        if simulator.settings.one_contract_per_payer and _holds(simulator, payer, now):
            raise NotSignable(
                "你已开通该商家的自动扣费服务",
                "This account has signed with this merchant already.",
            )
        contract = _sign(simulator, signing, payer, now)
        books.record("signing_over", token=signing.token)
    _tell(simulator, contract, wording.signed_notice(simulator, contract), contract.notify_url)
    return contract


def _holds(simulator: Simulator, payer: Payer, now: datetime) -> bool:
    contracts = simulator.books.contracts.values()
    return any(one.openid == payer.openid and one.is_active(now) for one in contracts)


def _sign(simulator: Simulator, signing: Signing, payer: Payer, now: datetime) -> Contract:
    books = simulator.books
    number = books.number("", 18)
    books.record(
        "contract",
        reference=signing.contract_code,
        contract_id=number,
        expires_at=(now + _LONG_TERM).isoformat(timespec="seconds"),
        terms={
            "plan_id": signing.plan_id,
            "openid": payer.openid,
            "display_account": signing.display_account,
            "request_serial": signing.request_serial,
            "notify_url": signing.notify_url,
            "sign_type": signing.sign_type,
        },
    )
    return books.contracts[number]


def end(simulator: Simulator, contract: Contract, *, mode: str, remark: str = "") -> None:
    """End it and tell the template's address. Ending twice is ending once."""
    with simulator.books.lock:
        if contract.ended_at is not None:
            return
        simulator.books.record(
            "contract_ended",
            reference=contract.contract_code,
            contract_id=contract.contract_id,
            mode=mode,
            remark=remark,
        )
    notice = wording.ended_notice(simulator, contract)
    method = "unsign" if mode == BY_USER else "deletecontract"
    _tell(simulator, contract, notice, simulator.settings.contract_notify_url, method)


def _tell(
    simulator: Simulator,
    contract: Contract,
    fields: dict[str, str],
    url: str,
    method: str = "sign",
) -> None:
    simulator.notifier.send(
        Notice(
            url=url,
            method=method,
            reference=contract.contract_code,
            fields=fields,
            waits_s=CONTRACT_WAITS_S,
            sign_type=contract.sign_type,
            event="PAPAY.SIGN" if method == "sign" else "PAPAY.TERMINATE",
            resource=wording.contract_resource(simulator, fields),
        )
    )
