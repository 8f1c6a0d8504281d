"""The payer's contract: what is asked of a signing page, and what answers about it mean. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import datetime

from billing.gateways.base import BindingFacts, BindingRequest, BindingStatus, NotFound, Unknown
from billing.gateways.wechat import codes, instants, trades
from billing.gateways.wechat.client import Reply
from billing.gateways.wechat.documents import plain
from billing.gateways.wechat.masking import masked_id
from billing.gateways.wechat.terms import Terms

_SIGNED, _NOT_SIGNED, _UNDER_WAY = "0", "1", "9"
_RAN_OUT = "1"  # contract_termination_mode
# WeChat Pay writes "no end" as a day about a century away.
_NO_END_YEAR = 2100
_LONGEST_REFERENCE = 32
_LONGEST_ACCOUNT = 32
_NO_LABEL = "话费自动充值"


def signing_params(request: BindingRequest, *, terms: Terms, at: datetime) -> dict[str, str]:
    """What every signing page asks for. Raises ValueError for a bad reference.

    `request_serial` must be a number without leading zeros, so it is derived from the reference:
    the same one each time, as the contract is the same.
    """
    reference = request.binding_ref
    if not (reference.isascii() and reference.isalnum()) or len(reference) > _LONGEST_REFERENCE:
        raise ValueError("A binding's reference must be 1 to 32 ASCII letters and digits.")
    label = plain(request.account_label, longest=_LONGEST_ACCOUNT)
    return {
        "plan_id": terms.plan_id,
        "contract_code": reference,
        "request_serial": str(_serial(reference)),
        "contract_display_account": label or _NO_LABEL,
        "notify_url": request.notify_url,
        "version": "1.0",
        "timestamp": str(int(at.timestamp())),
    }


def _serial(reference: str) -> int:
    """At least ten figures and at most an int64's."""
    digest = hashlib.sha256(reference.encode()).digest()
    return 10**9 + int.from_bytes(digest[:7])


def identifiers(*, binding_ref: str, provider_ref: str, terms: Terms) -> Mapping[str, str]:
    """How query and deletion name a contract: its number, or ours under the template."""
    named = (
        {"contract_id": provider_ref}
        if provider_ref
        else {"plan_id": terms.plan_id, "contract_code": binding_ref}
    )
    return named | {"version": "1.0"}


def facts(reply: Reply, *, binding_ref: str, at: datetime) -> BindingFacts | NotFound | Unknown:
    """What /papay/querycontract answered. A refusal to tell says nothing: Unknown."""
    if reply.code in codes.NO_SUCH_CONTRACT:
        return NotFound()
    if not reply.is_success:
        return trades.untold(reply)
    if binding_ref and reply.text("contract_code") not in ("", binding_ref):
        return Unknown("the answer is about another contract")
    if _was_never_signed(reply):
        return NotFound()
    expires_at = instants.from_text(reply.text("contract_expired_time"))
    status = _status(reply, expires_at, at)
    if status is None:
        return Unknown(f"contract_state {reply.text('contract_state') or 'missing'}")
    return BindingFacts(
        status=status,
        provider_ref=reply.text("contract_id"),
        label=masked_id(reply.text("openid")) if reply.text("openid") else "",
        fingerprint=_fingerprint(reply),
        expires_at=None if expires_at and expires_at.year >= _NO_END_YEAR else expires_at,
        signed_at=instants.from_text(reply.text("contract_signed_time")),
    )


def _was_never_signed(reply: Reply) -> bool:
    """ "Not signed" is an ended contract's state too; only that one has an end to tell of."""
    has_ended = reply.text("contract_terminated_time") or reply.text("contract_termination_mode")
    is_known = reply.text("contract_id") or reply.text("contract_signed_time")
    return reply.text("contract_state") == _NOT_SIGNED and not has_ended and not is_known


def _status(reply: Reply, expires_at: datetime | None, at: datetime) -> BindingStatus | None:
    state = reply.text("contract_state")
    if state == _UNDER_WAY:
        return BindingStatus.PENDING
    if state == _NOT_SIGNED:
        ran_out = reply.text("contract_termination_mode") == _RAN_OUT
        return BindingStatus.EXPIRED if ran_out else BindingStatus.REVOKED
    if state != _SIGNED:
        return None
    # Ending by itself is "reserved" in the vendor's text: the date counts, whatever the state.
    has_run_out = expires_at is not None and expires_at <= at
    return BindingStatus.EXPIRED if has_run_out else BindingStatus.ACTIVE


def _fingerprint(reply: Reply) -> str:
    """The same for the same payer at this merchant, whatever the contract."""
    openid, mch_id = reply.text("openid"), reply.text("mch_id")
    return hashlib.sha256(f"wechat:{mch_id}:{openid}".encode()).hexdigest() if openid else ""
