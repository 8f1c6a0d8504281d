"""The adapter as the tests build it, and what they ask it for."""

import threading
from typing import Any

from ulid import ULID

from lines.carriers.base import CarrierAdapter, CreditRequest, LineAddress
from lines.carriers.tmf654 import Tmf654Carrier
from tests.carriers.simulators import TOKEN, CarrierSimulator

TIMEOUT_S = 10  # a busy machine is no fault of the operator
IMPATIENT_S = 0.6
NOBODY = LineAddress(msisdn="+8613899999999", iccid="")
ADAPTERS: tuple[type[CarrierAdapter], ...] = (Tmf654Carrier,)  # mypy holds it to the protocol


def adapter_for(simulator: CarrierSimulator, **more: Any) -> Any:
    given: dict[str, Any] = {"token": TOKEN, "timeout_s": TIMEOUT_S, "currency": "CNY"}
    return Tmf654Carrier(simulator.url, **given | more)


def credit_of(
    address: LineAddress, amount_minor: int = 5000, currency: str = "CNY"
) -> CreditRequest:
    return CreditRequest(str(ULID()), address, amount_minor, currency)


def wait_until(is_so: Any) -> None:
    """For what another process is about to do; ten seconds are for ever."""
    waiting = threading.Event()
    for _ in range(200):
        if is_so():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not happen within ten seconds")
