"""Balances reported by a carrier's own system: one, ten thousand, or a stream of them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing.rules import readings
from billing.rules.balances import Reading
from lines.models import BalanceReading, Carrier
from portal.api import doors, reading_rows, throttles
from portal.api.idempotency import HEADER, idempotent
from portal.api.models import Scope
from portal.api.openapi import may_answer
from portal.api.permissions import client_of
from portal.api.reading_rows import CARD, Result
from portal.api.reading_streams import (
    Broken,
    CSVParser,
    LinesParser,
    ListParser,
    Stream,
    accept_chunks,
)
from portal.api.refusals import CardNumber, KeyOnStream, StreamBroken
from portal.api.serializers.lines import ReadingIn, ReadingResultsOut
from portal.api.views.base import View

MAX_READINGS = 10_000
# Rows that are read, taken in and counted against the allowance together.
CHUNK = 1_000
# A stream that takes longer is answered, and goes on in another request: servers end one at 30 s.
STREAM_S = 15.0


class ReadingView(View):
    """For tokens of a carrier, with `readings:push`; about that carrier's proven lines alone."""

    tag = noun = "readings"
    queryset = BalanceReading.objects.none()
    scopes = {"create": Scope.PUSH_READINGS}
    parser_classes = [ListParser, LinesParser, CSVParser]
    _is_in = False

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        accept_chunks(request)
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Nothing of the body is read before there is a place for it."""
        super().initial(request, *args, **kwargs)
        if _is_streamed(request) and HEADER in request.headers:
            raise KeyOnStream
        doors.enter()
        self._is_in = True

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if self._is_in:
            self._is_in = False
            doors.leave()
        return super().finalize_response(request, response, *args, **kwargs)

    @extend_schema(
        summary="Report balances",
        description=(
            "One reading, a list of up to 10,000, or a stream of any length: JSON objects a line "
            "(`application/x-ndjson`), or CSV with the fields' names in its first line "
            "(`text/csv`). `Content-Encoding: gzip` is read. Each is answered on its own, in "
            "order: `applied`, `kept` (no newer than the balance known) or `refused`; of a "
            "stream's rows past the first 10,000 only those refused are listed. A low balance "
            "starts a recharge at once. Repeating a reading changes nothing, so a key is not "
            "required, and a stream takes none. A stream that breaks, or takes too long, is "
            "answered with `next_row`: what came before it stands; go on there with `from_row`."
        ),
        parameters=[
            OpenApiParameter(
                "from_row",
                {"type": "integer", "minimum": 0, "default": 0},
                description="Rows before it are passed over: `next_row` of an earlier answer.",
            )
        ],
        request=PolymorphicProxySerializer(
            component_name="Readings",
            serializers=[ReadingIn, ReadingIn(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={207: ReadingResultsOut},
    )
    @may_answer(503)
    @idempotent(atomic=False)
    def create(self, request: Request) -> Response:
        client = client_of(request)
        if client is None or client.carrier is None:
            raise AssertionError("permissions let a client without a carrier push")
        caller = throttles.caller_of(request)
        taking = Taking(client.carrier, caller, from_row=_from_row(request))
        if isinstance(request.data, Stream):
            _stream(request.data, taking)
        elif not _is_streamed(request):  # one that is empty is no stream here
            _list(request.data, taking)
        return Response(taking.answer(), status=207)


_STREAMED = frozenset({LinesParser.media_type, CSVParser.media_type})


@dataclass(slots=True)
class Taking:
    """One request's rows on their way in, and what has become of them so far."""

    carrier: Carrier
    caller: str
    from_row: int
    next_row: int = 0
    is_complete: bool = True
    counts: dict[str, int] = field(default_factory=lambda: {"applied": 0, "kept": 0, "refused": 0})
    results: list[Result] = field(default_factory=list)

    def take(self, items: Sequence[Any]) -> None:
        """Raises Throttled, before anything of `items` is looked at."""
        throttles.spend_rows(caller=self.caller, rows=len(items))
        with doors.turn():
            found = _taken_in(items, carrier=self.carrier)
        for result in found:
            self.counts[result["result"]] += 1
            if self.next_row < MAX_READINGS or result["result"] == "refused":
                self.results.append({"index": self.next_row} | result)
            self.next_row += 1
        del self.results[2 * MAX_READINGS :]

    def answer(self) -> dict[str, Any]:
        own = {"next_row": self.next_row, "is_complete": self.is_complete}
        return self.counts | own | {"results": self.results}


def _is_streamed(request: Request) -> bool:
    return request.content_type.partition(";")[0].strip().lower() in _STREAMED


def _from_row(request: Request) -> int:
    text = request.query_params.get("from_row", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ValidationError({"from_row": [_("Write a whole number, without quotes.")]})
    return int(text)


def _list(body: Any, taking: Taking) -> None:
    """All of it, or, for a card number in it, nothing."""
    items = body if isinstance(body, list) else [body]
    if not 1 <= len(items) <= MAX_READINGS:
        sentence = _("Send between 1 and %(most)s readings at once.") % {"most": MAX_READINGS}
        raise ValidationError([sentence])
    if reading_rows.holds_card_number(items):
        raise CardNumber
    taking.next_row = min(taking.from_row, len(items))
    for start in range(taking.next_row, len(items), CHUNK):
        taking.take(items[start : start + CHUNK])


def _stream(rows: Stream, taking: Taking) -> None:
    """Chunk by chunk, each for good. Raises what stops it, with the row to go on from."""
    ends_at = time.monotonic() + STREAM_S
    try:
        for chunk in _chunks(rows, taking):
            if time.monotonic() > ends_at:
                taking.is_complete = False
                return
            taking.take([CARD if reading_rows.holds_card_number([one]) else one for one in chunk])
    except APIException as refusal:  # too long a row, too many rows
        refusal.more = taking.counts | {"next_row": taking.next_row}  # type: ignore[attr-defined]
        raise


def _chunks(rows: Stream, taking: Taking) -> Iterator[list[Any]]:
    """The rows to be taken; those read before a break are among them."""
    coming = iter(rows)
    chunk: list[Any] = []
    stopped: APIException | None = None
    try:
        for _passed in islice(coming, taking.from_row):
            taking.next_row += 1
        for row in coming:
            chunk.append(row)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
    except Broken:
        stopped = StreamBroken()
    except APIException as refusal:
        stopped = refusal
    if chunk:
        yield chunk
    if stopped is not None:
        raise stopped


def _taken_in(items: Sequence[Any], *, carrier: Carrier) -> list[Result]:
    read = reading_rows.read(items, carrier=carrier)
    given = [one for one in read if isinstance(one, Reading)]
    became = iter(readings.take_in(readings=given, at=timezone.now()))
    return [one if isinstance(one, dict) else reading_rows.result_of(next(became)) for one in read]
