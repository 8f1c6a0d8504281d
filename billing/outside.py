"""The world outside, as one installation reaches it: its rails, its carriers, its own addresses."""

from collections.abc import Callable
from dataclasses import dataclass

from billing.gateways.base import Capabilities, Gateway
from billing.models import Notice
from lines.carriers.base import CarrierAdapter
from lines.models import Carrier


@dataclass(frozen=True, slots=True)
class Outside:
    """How to reach the world: built by an edge, which alone reads settings."""

    gateways: dict[str, Gateway]
    adapter_for: Callable[[Carrier], CarrierAdapter | None]  # None: not configured, or not rightly
    notify_url: Callable[[str], str]
    return_url: Callable[[str], str] = lambda _ref: ""  # a recharge's page, for who must confirm
    notice_url: Callable[[Notice], str] = lambda _notice: ""  # the page about it, for mails

    @property
    def capabilities(self) -> dict[str, Capabilities]:
        return {rail: gateway.capabilities for rail, gateway in self.gateways.items()}
