"""The payment rails of this installation, by their codes.

Light to import: `portal.settings` reads `billing.gateways.configuration` while settings are being
made, and a simulator's process must not load the adapter it is there to check. So an adapter is
loaded when it is first asked for, and `settings` is looked into only then.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from billing.gateways.base import Capabilities, DisputeStanding, Gateway

# Each has `from_settings(values, *, timeout_s)`, which raises ValueError naming the setting.
_ADAPTERS = {
    "alipay": "billing.gateways.alipay.adapter.AlipayGateway",
    "wechat": "billing.gateways.wechat.adapter.WechatGateway",
    "stripe": "billing.gateways.stripe.adapter.StripeGateway",
}
_overridden: dict[str, Gateway] = {}


class RailNotConfigured(Exception):
    """This rail cannot be used; the others can. The text names the setting, never its value."""

    def __init__(self, rail: str, reason: str) -> None:
        super().__init__(f"{rail}: {reason}")
        self.rail = rail
        self.reason = reason


def get(rail: str) -> Gateway:
    """The rail's gateway, made once for the settings in force. Raises RailNotConfigured."""
    if rail in _overridden:
        return _overridden[rail]
    values: Mapping[str, str] | None = settings.RAILS.get(rail)
    if values is None or rail not in _ADAPTERS:
        raise RailNotConfigured(rail, settings.RAILS_STOPPED.get(rail, "it is not set up."))
    try:
        return _made(rail, tuple(sorted(values.items())), settings.CALL_TIMEOUT_S)
    except ValueError as error:
        # Not chained: what a library says of a key that it could not read may quote the key.
        raise RailNotConfigured(rail, str(error)) from None


def capabilities(rail: str) -> Capabilities:
    """What the rail allows. Raises RailNotConfigured."""
    return get(rail).capabilities


def dispute_standing(rail: str, claims: str) -> DisputeStanding:
    """How a dispute stood by the rail's own word for it, as a message of its was kept.

    Asked each time, and kept nowhere: a word that is learnt later is then understood in old rows
    too. No settings are needed, for a rail that is set up no more has left disputes behind.
    """
    if rail not in _overridden and rail not in _ADAPTERS:
        return DisputeStanding.OPEN
    adapter: type[Gateway] | Gateway = _overridden.get(rail) or import_string(_ADAPTERS[rail])
    return adapter.dispute_standing(claims=claims)


def available() -> list[str]:
    """The codes of the rails that can be used now, sorted."""
    named = set(settings.RAILS) | set(_overridden)
    return sorted(named - set(stopped()))


def stopped() -> dict[str, str]:
    """For each rail that was set up but cannot be used, the sentence that says why."""
    reasons: dict[str, str] = dict(settings.RAILS_STOPPED)
    for rail in settings.RAILS:
        try:
            get(rail)
        except RailNotConfigured as refusal:
            reasons[rail] = refusal.reason
    return {rail: reason for rail, reason in reasons.items() if rail not in _overridden}


@contextmanager
def override(rail: str, gateway: Gateway) -> Iterator[None]:
    """Use `gateway` for `rail` in this process: for tests. May be nested."""
    before = _overridden.get(rail)
    _overridden[rail] = gateway
    try:
        yield
    finally:
        del _overridden[rail]
        if before is not None:
            _overridden[rail] = before


@lru_cache(maxsize=32)
def _made(rail: str, values: tuple[tuple[str, str], ...], timeout_s: int) -> Gateway:
    adapter = import_string(_ADAPTERS[rail])
    gateway: Gateway = adapter.from_settings(dict(values), timeout_s=timeout_s)
    return gateway
