"""How the operator misbehaves on command: for the next calls, or by chance with a printed seed."""

import random
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from flask import Response, request

from lines.carriers.tmf654.simulator.documents import Answer, dump, error

Work = Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Fault:
    """`call` is e.g. "POST /topupBalance", or "*"; `about` a part of the reference or the number.

    With a `probability` below one it stays until it is cleared, else for `times` calls.
    """

    kind: str
    call: str = "*"
    times: int = 1
    probability: float = 1.0
    about: str = ""
    delay_s: float = 0.5
    code: str = "notAllowed"
    status: int = 400


class UnknownFault(Exception):
    """There is no fault of this kind; the text lists those there are."""


class FaultPlan:
    """Which fault strikes which call. May be asked from any thread."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Raises UnknownFault."""
        if fault.kind not in KINDS:
            raise UnknownFault(f"{fault.kind} is none of: {', '.join(sorted(KINDS))}")
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def all(self) -> list[Fault]:
        with self._lock:
            return list(self._faults)

    def take(self, call: str, about: str = "") -> Fault | None:
        """The fault that strikes this call, used up once by it."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                # An event's faults are meant by name: "*" is every call that is answered.
                is_meant = fault.call == call or (fault.call == "*" and call != "EVENT")
                if not is_meant or fault.about not in about:
                    continue
                if fault.probability < 1:
                    if self._random.random() < fault.probability:
                        return fault
                    continue
                if fault.times == 1:
                    del self._faults[place]
                else:
                    self._faults[place] = replace(fault, times=fault.times - 1)
                return fault
        return None


def respond(answer: Answer) -> Response:
    text = "" if answer.document is None else dump(answer.document)
    response = Response(text, answer.status, content_type="application/json;charset=utf-8")
    response.headers.update(answer.headers)
    return response


def perform(fault: Fault | None, work: Work) -> Response:
    """Do `work` and answer, as well as `fault` lets."""
    return KINDS[fault.kind](fault, work) if fault else respond(work())


def _hang_up() -> Response:
    request.environ["simulator.hang_up"]()
    return Response(status=500)  # goes nowhere: the connection is closed


def _lose_before(fault: Fault, work: Work) -> Response:
    return _hang_up()


def _lose_after(fault: Fault, work: Work) -> Response:
    work()
    return _hang_up()


def _late(fault: Fault, work: Work) -> Response:
    """No answer now, the effect later: what a queue inside the operator does."""
    timer = threading.Timer(fault.delay_s, work)
    timer.daemon = True
    timer.start()
    return _hang_up()


def _slow(fault: Fault, work: Work) -> Response:
    time.sleep(fault.delay_s)
    return respond(work())


def _slow_answer(fault: Fault, work: Work) -> Response:
    response = respond(work())
    time.sleep(fault.delay_s)
    return response


def _error_before(fault: Fault, work: Work) -> Response:
    return respond(error("internalError", "The operator's own fault.", 500))


def _error_after(fault: Fault, work: Work) -> Response:
    work()
    return respond(error("internalError", "The operator's own fault.", 500))


def _reject(fault: Fault, work: Work) -> Response:
    return respond(error(fault.code, "Rejected on command.", fault.status))


def _instead(text: str, status: int = 200, content_type: str = "text/html") -> Any:
    """The work is done, and the answer says something else altogether."""

    def answer(fault: Fault, work: Work) -> Response:
        work()
        return Response(text, status, content_type=content_type)

    return answer


def _proxy_404(fault: Fault, work: Work) -> Response:
    """A proxy before the operator answers for it: nothing reached the operator."""
    return Response("<html><h1>404 Not Found</h1></html>", 404, content_type="text/html")


def _gateway_404(fault: Fault, work: Work) -> Response:
    """As `_proxy_404`, from an API gateway: JSON, but none of the protocol's."""
    text = '{"message": "no Route matched with those values"}'
    return Response(text, 404, content_type="application/json")


def _redirect(fault: Fault, work: Work) -> Response:
    """To the same place, with a status that has a client send the body again."""
    response = respond(work())
    response.status_code = 307
    response.headers["Location"] = request.url
    return response


def _truncated(fault: Fault, work: Work) -> Response:
    response = respond(work())
    whole = response.get_data()
    response.set_data(whole[: len(whole) // 2])
    response.headers["Content-Length"] = str(len(whole))
    return response


def _drip(fault: Fault, work: Work) -> Response:
    """The answer, a byte at a time: each read succeeds, and it never ends."""
    whole = respond(work())
    body = whole.get_data()

    def drops() -> Any:
        for place in range(len(body)):
            time.sleep(fault.delay_s)
            yield body[place : place + 1]

    return Response(drops(), whole.status_code, content_type=whole.content_type)


def _twisted(twist: Callable[[dict[str, Any]], None]) -> Any:
    """The books are right, the answer is not."""

    def answer(fault: Fault, work: Work) -> Response:
        true = work()
        document = deepcopy(true.document)
        for each in document if isinstance(document, list) else [document]:
            twist(each)
        return respond(replace(true, document=document))

    return answer


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({name: value})


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(name, None) and None


def _set_quantity(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def twist(document: dict[str, Any]) -> None:
        for quantity in ("amount", "remainingValue"):
            if quantity in document:
                document[quantity][name] = value

    return twist


def _no_time(fault: Fault, work: Work) -> Response:
    """Neither the document nor the header says when it was true."""
    response: Response = _twisted(_drop("confirmationDate"))(fault, work)
    response.headers["Date"] = "soon"
    return response


def _one_too_many(fault: Fault, work: Work) -> Response:
    """The list is whole, and the count beside it says that it is not."""
    response = respond(work())
    response.headers["X-Total-Count"] = str(int(response.headers["X-Total-Count"]) + 1)
    return response


def _as_asked(fault: Fault, work: Work) -> Response:
    """Played elsewhere: by the list handlers (filters), or by the hub (events)."""
    return respond(work())


KINDS: dict[str, Callable[[Fault, Work], Response]] = {
    "lose_before": _lose_before,
    "lose_after": _lose_after,
    "late": _late,
    "slow": _slow,
    "slow_answer": _slow_answer,
    "error_before": _error_before,
    "error_after": _error_after,
    "reject": _reject,
    "proxy_404": _proxy_404,
    "gateway_404": _gateway_404,
    "redirect": _redirect,
    "truncated": _truncated,
    "drip": _drip,
    "not_json": _instead("<html><h1>200 OK</h1></html>"),
    "empty": _instead("", content_type="application/json"),
    "null": _instead("null", content_type="application/json"),
    "deep": _instead("[" * 100_000, content_type="application/json"),
    "not_a_number": _instead('{"amount": NaN}', content_type="application/json"),
    "wrong_amount": _twisted(_set_quantity("amount", Decimal("0.01"))),
    "huge_amount": _twisted(_set_quantity("amount", Decimal(10) ** 30)),
    "text_amount": _twisted(_set_quantity("amount", "50.00")),
    "fraction": _twisted(_set_quantity("amount", Decimal("49.995"))),
    "wrong_currency": _twisted(_set_quantity("units", "XTS")),
    "no_amount": _twisted(_drop("amount")),
    "no_id": _twisted(_drop("id")),
    "wrong_id": _twisted(_set("id", "TOP-another")),
    "wrong_status": _twisted(_set("status", "paid")),
    "wrong_reference": _twisted(_set("description", "01BX5ZZKBKACTAV9WEVGEMMVRZ")),
    "no_reference": _twisted(_drop("description")),
    "wrong_line": _twisted(_set("logicalResource", [{"id": "+8613800009999"}])),
    "wrong_date": _twisted(_set("confirmationDate", "yesterday")),
    "no_date": _twisted(_drop("confirmationDate")),
    "no_time": _no_time,
    "one_too_many": _one_too_many,
    "ignore_filter": _as_asked,
    "event_never": _as_asked,
    "event_twice": _as_asked,
    "event_forged": _as_asked,
    "event_tampered": _as_asked,
    "event_stale": _as_asked,
    "event_late": _as_asked,
}
