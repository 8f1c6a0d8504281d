"""A carrier that speaks TMF654 v4: reads a line's bucket, tops it up, takes a top-up back.

Source: TMF654-v4.0.0.swagger.json; what it leaves open is a parameter. The protocol has no client
idempotency key. Our reference travels in `reference_field`, and whether the carrier can be asked by
it is `can_query_by_reference`: where not, nothing may be sent again after an unknown outcome.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial
from typing import Any, Final
from urllib.parse import quote, unquote

from lines.carriers.base import (
    Balance,
    BalanceAnswer,
    CarrierEvent,
    CarrierStatementRow,
    CreditAnswer,
    CreditOutcome,
    CreditRequest,
    Exchange,
    LineAddress,
    NotAllowed,
    NotFound,
    Rejected,
    Unknown,
    UnreadableRow,
)
from lines.carriers.tmf654 import amounts, events, outcomes, reading, statement
from lines.carriers.tmf654.outcomes import Verdicts
from lines.carriers.tmf654.reading import Bucket, Order, Unreadable
from lines.carriers.tmf654.wire import API_PATH, Refusal, Reply, Result, Wire

SMS_PATH: Final = "/smsmessaging/v1/outbound/tel%3A10010/requests"
# TMF654 names no codes. These are the ones we ask a carrier to use; its own are given instead.
PERMANENT_CODES: Final = frozenset(
    {"unknownResource", "linePortedOut", "lineTerminated", "amountNotSold"}
)


class HubRefused(Exception):
    """The carrier did not take the subscription; the text is its code, or why none came."""


@dataclass(frozen=True, slots=True)
class _Errand:
    """An order to send: where to, how much (signed), and how to judge the answer."""

    path: str
    signed_minor: int
    outcome_of: Callable[[Order], CreditOutcome]
    names_account: bool = False  # the document asks for it in a top-up, and knows none in a debit
    reason: str = ""


class Tmf654Carrier:
    """One carrier's BSS. Thread-safe; touches no database, clock or settings.

    `base_url` is what stands before `/tmf-api/…` and `/smsmessaging/…`. `can_filter_by_reference`:
    lists of orders obey `?<reference_field>=…`. `permanent_codes`: refusals that no later try can
    change, besides the standard's. `hub_secrets`: the live secrets of its events, at most two
    while one is being changed. `observed_field`: a bucket's field that says when its value was
    true; empty where a carrier puts the last movement there. `clock` is asked only where neither
    that nor a Date header is there. `time_zone` is that of the carrier's books.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        timeout_s: float,
        currency: str,
        reference_field: str = "description",
        can_filter_by_reference: bool = True,
        sms_path: str = SMS_PATH,
        *,
        permanent_codes: frozenset[str] = frozenset(),
        hub_secrets: Sequence[str] = (),
        observed_field: str = "confirmationDate",
        clock: Callable[[], datetime] | None = None,
        time_zone: tzinfo = UTC,
    ) -> None:
        self._wire = Wire(base_url=base_url, token=token, timeout_s=timeout_s)
        self._currency = currency
        self._reference_field = reference_field
        self._can_filter = can_filter_by_reference
        self._sms_path = sms_path
        self._verdicts = Verdicts(PERMANENT_CODES | permanent_codes)
        self._hub_secrets = tuple(hub_secrets)
        self._observed_field = observed_field
        self._clock = clock
        self._time_zone = time_zone

    @property
    def can_query_by_reference(self) -> bool:
        """False: after an unknown outcome nothing may be sent again; a person decides."""
        return self._can_filter

    def balance(self, *, address: LineAddress) -> BalanceAnswer:
        """`GET /bucket`, the monetary one. NotFound: the carrier has no such line (any more)."""
        found, headers, exchange = self._find_bucket(address)
        match found:
            case Bucket() if outcomes.stranger(found, address):
                return BalanceAnswer(Unknown("the number is on another SIM card"), (exchange,))
            case Bucket():
                return BalanceAnswer(self._read_balance(found, headers), (exchange,))
            case Refusal(status=404):
                return BalanceAnswer(NotFound(), (exchange,))
            case Refusal():
                return BalanceAnswer(self._refused_look(found), (exchange,))
        return BalanceAnswer(found, (exchange,))

    def credit(self, *, request: CreditRequest) -> CreditAnswer:
        """`POST /topupBalance`, after asking where the line's money is.

        Every call is a further top-up at the carrier, so it is repeated only by the rules of
        `CarrierAdapter.credit`. Until the bucket is known nothing has been sent.
        """
        if request.amount_minor <= 0:
            raise ValueError("a credit is positive")
        errand = _Errand(
            "/topupBalance", request.amount_minor, self._verdicts.credited, names_account=True
        )
        return self._order(request, errand)

    def query(self, *, reference: str, address: LineAddress, carrier_ref: str = "") -> CreditAnswer:
        """`GET /topupBalance/{id}` where the carrier's id is known, else the list by reference.

        What it says of another line than `address` is no answer about this one.
        """
        if carrier_ref:
            return self._query_by_id(reference, carrier_ref, address)
        return self._query_by_reference(
            "/topupBalance", reference, address, self._verdicts.credited
        )

    def reverse(self, *, request: CreditRequest, carrier_ref: str) -> CreditAnswer:
        """`POST /adjustBalance` with a negative amount. `Reversed.carrier_ref` is the adjustment's.

        Asked for by its own reference first, so a repeat finds the debit that was lost on the way.
        As with a credit, what is not found is believed only after the grace: do not repeat sooner.
        """
        if request.amount_minor <= 0:
            raise ValueError("a reversal is positive: what is taken back")
        asked: tuple[Exchange, ...] = ()
        if self._can_filter:
            earlier = self.query_reversal(request=request)
            if not isinstance(earlier.outcome, NotFound | Rejected):
                return earlier
            asked = earlier.exchanges
        errand = _Errand(
            "/adjustBalance",
            -request.amount_minor,
            partial(self._verdicts.taken_back, amount_minor=request.amount_minor),
            reason=f"reversal of {carrier_ref}",
        )
        answer = self._order(request, errand)
        return replace(answer, exchanges=(*asked, *answer.exchanges))

    def query_reversal(self, *, request: CreditRequest) -> CreditAnswer:
        """What became of a reversal, by its own reference. Changes nothing."""
        return self._query_by_reference(
            "/adjustBalance",
            request.reference,
            request.address,
            partial(self._verdicts.taken_back, amount_minor=request.amount_minor),
        )

    def send_code(self, *, address: LineAddress, text: str) -> bool:
        """GSMA OneAPI, `POST …/outbound/{sender}/requests`. False: not sent, or not known to be."""
        if not address.msisdn:
            return False
        sender = unquote(self._sms_path.rstrip("/").split("/")[-2])
        message = {
            "address": [f"tel:{address.msisdn}"],
            "senderAddress": sender,
            "outboundSMSTextMessage": {"message": text},
        }
        result, _ = self._wire.call(
            "POST",
            self._sms_path,
            body=json.dumps({"outboundSMSMessageRequest": message}),
            about=address,
        )
        return isinstance(result, Reply)

    def statement(self, *, day: date) -> Iterator[CarrierStatementRow | UnreadableRow]:
        """`GET /balanceActionHistory` for one day of the carrier's books, page by page.

        Amounts are positive, `kind` gives the side. Raises StatementUnavailable, possibly midway:
        what came before is true, but not all.
        """
        return statement.rows(
            wire=self._wire,
            path=f"{API_PATH}/balanceActionHistory",
            start=datetime.combine(day, time.min, self._time_zone),
            end=datetime.combine(day + timedelta(days=1), time.min, self._time_zone),
            read=partial(
                reading.order_from,
                currency="",
                reference_field=self._reference_field,
                time_zone=self._time_zone,
            ),
            reference_field=self._reference_field,
        )

    def parse_event(self, *, headers: Mapping[str, str], body: bytes, at: datetime) -> CarrierEvent:
        """A hub's message, signed as `events` says. Raises BadEvent. Changes nothing."""
        events.verify(headers=headers, body=body, secrets=self._hub_secrets, at=at)
        return events.read(body=body, reference_field=self._reference_field)

    def register_hub(self, *, callback_url: str) -> str:
        """`POST /hub`: send events there. The subscription's id; "" when it exists already.

        May be called again at every start. Raises HubRefused.
        """
        result, _ = self._wire.call(
            "POST", f"{API_PATH}/hub", body=json.dumps({"callback": callback_url})
        )
        match result:
            case Refusal(status=409):  # TMF630: this callback is registered already
                return ""
            case Refusal(code=reason) | Unknown(reason=reason):
                raise HubRefused(reason)
        try:
            return reading.identifier(result.body, "id")
        except Unreadable as error:
            raise HubRefused(str(error)) from None

    # --- buckets --------------------------------------------------------------------------------

    def _find_bucket(
        self, address: LineAddress
    ) -> tuple[Bucket | Refusal | NotFound | Unknown, Mapping[str, str], Exchange]:
        result, exchange = self._wire.call(
            "GET",
            f"{API_PATH}/bucket",
            params={"logicalResource.id": address.resource, "usageType": "monetary"},
            about=address,
        )
        if not isinstance(result, Reply):
            return result, {}, exchange
        try:
            return outcomes.only_bucket(result, address), result.headers, exchange
        except Unreadable as error:
            return Unknown(str(error)), {}, replace(exchange, error=str(error))

    def _read_balance(self, bucket: Bucket, headers: Mapping[str, str]) -> Balance | Unknown:
        try:
            observed_at = (
                reading.observed(bucket.document, self._observed_field)
                or reading.header_moment(headers)
                or (self._clock() if self._clock else None)
            )
            if observed_at is None:
                return Unknown("the answer does not say when it was true")
            return reading.balance_from(
                bucket,
                currency=self._currency,
                observed_at=observed_at,
                time_zone=self._time_zone,
            )
        except Unreadable as error:
            return Unknown(str(error))

    def _refused_look(self, refusal: Refusal) -> NotAllowed | Unknown:
        """That we may not ask is ours to mend, but for a code by which it bars a *line*."""
        is_barred = refusal.code in self._verdicts.permanent_codes
        if refusal.status in outcomes.TO_US and not is_barred:
            return NotAllowed(refusal.code, refusal.message)
        return Unknown(f"refused: {refusal.code}")

    # --- orders ---------------------------------------------------------------------------------

    def _order(self, request: CreditRequest, errand: _Errand) -> CreditAnswer:
        if request.currency != self._currency:
            return CreditAnswer(Rejected("currency", "not this carrier's currency", True))
        found, _, looked = self._find_bucket(request.address)
        looked = replace(looked, reference=request.reference)
        if not isinstance(found, Bucket):
            return CreditAnswer(self._verdicts.not_sent(found), (looked,))
        stranger = outcomes.stranger(found, request.address)
        if stranger:
            return CreditAnswer(stranger, (looked,))
        result, sent = self._wire.call(
            "POST",
            API_PATH + errand.path,
            body=self._order_text(request, errand, found),
            reference=request.reference,
            about=request.address,
        )

        def read(reply: Reply) -> CreditOutcome:
            order = self._read_order(reply.body, request.reference)
            outcomes.check_line(order, request.address, found.id)
            return errand.outcome_of(order)

        return _answer(result, (looked, sent), refused=self._verdicts.refused, read=read)

    def _order_text(self, request: CreditRequest, errand: _Errand, bucket: Bucket) -> str:
        """The body. The amount is written in as digits: `json` could only carry it as a float."""
        body: dict[str, Any] = {
            self._reference_field: request.reference,
            "usageType": "monetary",
            "bucket": {"id": bucket.id},
            "logicalResource": [{"id": request.address.resource}],
        }
        if errand.reason:
            body["reason"] = errand.reason
        if errand.names_account:
            body["partyAccount"] = {"id": bucket.account_id}
        figure = amounts.major_text(errand.signed_minor, request.currency)
        units = json.dumps(request.currency)
        return f'{json.dumps(body)[:-1]}, "amount": {{"amount": {figure}, "units": {units}}}}}'

    def _query_by_id(self, reference: str, carrier_ref: str, address: LineAddress) -> CreditAnswer:
        path = f"{API_PATH}/topupBalance/{quote(carrier_ref, safe='')}"
        result, exchange = self._wire.call("GET", path, reference=reference, about=address)

        def read(reply: Reply) -> CreditOutcome:
            order = self._read_order(reply.body, reference)
            if order.carrier_ref != carrier_ref:
                raise Unreadable("the answer is about another order")
            outcomes.check_line(order, address)
            return self._verdicts.credited(order)

        # Its own id, and it knows it no more: not "never happened", so a 404 is no NotFound here.
        return _answer(result, (exchange,), refused=self._refused_look, read=read)

    def _query_by_reference(
        self,
        path: str,
        reference: str,
        address: LineAddress,
        outcome_of: Callable[[Order], CreditOutcome],
    ) -> CreditAnswer:
        if not self._can_filter:
            return CreditAnswer(Unknown("this carrier cannot be asked by our reference"))
        result, exchange = self._wire.call(
            "GET",
            API_PATH + path,
            params={self._reference_field: reference},
            reference=reference,
            about=address,
        )

        def read(reply: Reply) -> CreditOutcome:
            orders = self._listed(reply, reference)
            for order in orders:
                outcomes.check_line(order, address)
            return outcomes.joint([outcome_of(order) for order in orders])

        def refused(refusal: Refusal) -> CreditOutcome:  # 404: how some answer an empty list
            return NotFound() if refusal.status == 404 else self._refused_look(refusal)

        return _answer(result, (exchange,), refused=refused, read=read)

    def _listed(self, reply: Reply, reference: str) -> list[Order]:
        """The orders under `reference`, or Unreadable: a filter ignored shows one page of all."""
        documents = reading.listed(reply.body)
        if any(reading.text(each, self._reference_field) != reference for each in documents):
            raise Unreadable("the carrier did not filter by our reference")
        if (reading.total_count(reply.headers) or 0) > len(documents):
            raise Unreadable("the carrier holds back part of the list")
        return [self._read_order(document) for document in documents]

    def _read_order(self, document: Any, reference: str = "") -> Order:
        """Raises Unreadable, also when the carrier speaks of another reference than `reference`."""
        order = reading.order_from(
            document,
            currency=self._currency,
            reference_field=self._reference_field,
            time_zone=self._time_zone,
        )
        if reference and order.reference not in ("", reference):
            raise Unreadable("the answer is about another reference")
        return order


def _answer(
    result: Result,
    exchanges: tuple[Exchange, ...],
    *,
    refused: Callable[[Refusal], CreditOutcome],
    read: Callable[[Reply], CreditOutcome],
) -> CreditAnswer:
    """What the last of `exchanges` says. A contradiction is unknown, and noted in the evidence."""
    match result:
        case Unknown():
            return CreditAnswer(result, exchanges)
        case Refusal():
            return CreditAnswer(refused(result), exchanges)
    try:
        return CreditAnswer(read(result), exchanges)
    except Unreadable as error:
        *before, last = exchanges
        return CreditAnswer(Unknown(str(error)), (*before, replace(last, error=str(error))))
