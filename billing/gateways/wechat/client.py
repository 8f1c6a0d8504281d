"""One signed v2 call, and its verified answer; and the one v3 call.

What did not arrive whole, is not signed, or does not verify becomes a `Reply` without a code: for
a charge that means unknown, never failed. WeChat Pay's own refusals before it looked at a request
(`return_code` FAIL) are unsigned, so they too say nothing.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO
from urllib.parse import urlencode

from billing.gateways.base import Exchange
from billing.gateways.wechat.codes import SUCCESS
from billing.gateways.wechat.documents import (
    UnreadableDocument,
    charset_of,
    from_xml,
    to_xml,
    trimmed,
)
from billing.gateways.wechat.masking import masked_json, masked_text
from billing.gateways.wechat.signing import HMAC_SHA256, MD5, is_signed, sign
from billing.gateways.wechat.terms import Terms
from billing.gateways.wechat.wire import NoAnswer, Wire

_MAX_ANSWER_BYTES = 256 * 1024
_MAX_BILL_BYTES = 512 * 1024 * 1024
_XML = {"Content-Type": "text/xml; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A verified answer, or none: then there are no fields and `exchange.error` says why."""

    exchange: Exchange
    fields: Mapping[str, str]

    @property
    def is_success(self) -> bool:
        return self.text("return_code") == self.text("result_code") == SUCCESS

    @property
    def code(self) -> str:
        """Why it was refused; empty where it was not, or nobody can tell."""
        return "" if self.is_success else self.text("err_code")

    def text(self, name: str) -> str:
        """A field without the blanks that WeChat Pay's own samples have around it."""
        return self.fields.get(name, "").strip()

    def explain(self) -> str:
        """For evidence and operators: the rail's own words."""
        words = (self.code, self.text("err_code_des") or self.text("return_msg"))
        return " ".join(filter(None, words)) or self.exchange.error


class WechatClient:
    """Signs, sends within a deadline, verifies. Threads may share it."""

    def __init__(
        self, *, terms: Terms, wire: Wire, secure_wire: Wire, clock: Callable[[], datetime]
    ) -> None:
        """`secure_wire` shows the client certificate that refunds demand."""
        self._terms = terms
        self._wire = wire
        self._secure_wire = secure_wire
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()

    def call(
        self,
        path: str,
        fields: Mapping[str, str],
        *,
        reference: str,
        has_nonce: bool = True,
        is_secure: bool = False,
    ) -> Reply:
        """POST and verify what comes back. May be called twice if the call may."""
        signed = self._signed(fields, has_nonce=has_nonce)
        wire = self._secure_wire if is_secure else self._wire
        return self._ask(wire, path, signed, reference=reference)

    def ask_for_page(
        self, path: str, params: Mapping[str, str], *, reference: str, return_url: str
    ) -> Reply:
        """GET the address of a page of WeChat Pay's, whose answer it may leave unsigned.

        The published sample has no signature. A page takes no money, so an answer without one is
        handed on with `is_verified` False, and the caller looks at where it leads; a wrong one is
        refused like any other. HMAC-SHA256 is this call's default, whatever the others use.
        """
        fields = {**self._merchant(), **params, "sign_type": HMAC_SHA256}
        sign_is = sign(fields, key=self._terms.api_v2_key, sign_type=HMAC_SHA256)
        return self._ask(
            self._wire,
            path,
            fields | {"sign": sign_is},
            reference=reference,
            page_from=return_url,
        )

    def page_url(self, path: str, params: Mapping[str, str]) -> str:
        """A signed URL to send a browser to, in MD5. Nothing is sent from here."""
        fields = {**self._merchant(), **params}
        signed = fields | {"sign": sign(fields, key=self._terms.api_v2_key, sign_type=MD5)}
        return f"{self._wire.base_url}{path}?{urlencode(signed)}"

    def download(self, path: str, fields: Mapping[str, str], *, into: IO[bytes]) -> None:
        """POST and keep whatever comes: bills are not signed, only sent over TLS.

        Raises NoAnswer.
        """
        body = to_xml(self._signed(fields, has_nonce=True))
        answered = self._wire.send(
            "POST", path, body=body, headers=_XML, into=into.write, limit=_MAX_BILL_BYTES
        )
        if answered.status != 200:
            raise NoAnswer(f"HTTP {answered.status}")

    def _merchant(self) -> dict[str, str]:
        return {"appid": self._terms.app_id, "mch_id": self._terms.mch_id}

    def _signed(self, fields: Mapping[str, str], *, has_nonce: bool) -> dict[str, str]:
        sign_type = self._terms.sign_type
        signed = self._merchant() | dict(fields)
        if has_nonce:
            signed["nonce_str"] = secrets.token_hex(16)
        if sign_type == HMAC_SHA256:  # MD5 is what is meant where nothing is said
            signed["sign_type"] = sign_type
        return signed | {"sign": sign(signed, key=self._terms.api_v2_key, sign_type=sign_type)}

    def _ask(
        self,
        wire: Wire,
        path: str,
        signed: Mapping[str, str],
        *,
        reference: str,
        page_from: str | None = None,
    ) -> Reply:
        """`page_from`: a page is asked for, from that address of ours; None: an ordinary call."""
        request = masked_json(signed)
        received = bytearray()
        try:
            if page_from is None:
                self._post(wire, path, signed, received)
            else:
                self._get(wire, path, signed, received, referer=page_from)
            fields = self._read(bytes(received), may_be_unsigned=page_from is not None)
        except (NoAnswer, UnreadableDocument) as error:
            text = masked_text(received.decode(errors="replace"))
            return Reply(Exchange(path, reference, request, text, False, str(error)), {})
        evidence = masked_json(fields)
        return Reply(Exchange(path, reference, request, evidence, bool(fields.get("sign"))), fields)

    def _post(self, wire: Wire, path: str, signed: Mapping[str, str], received: bytearray) -> None:
        body, into = to_xml(signed), received.extend
        answered = wire.send(
            "POST", path, body=body, headers=_XML, into=into, limit=_MAX_ANSWER_BYTES
        )
        if answered.status != 200:
            raise NoAnswer(f"HTTP {answered.status}")

    def _get(
        self,
        wire: Wire,
        path: str,
        signed: Mapping[str, str],
        received: bytearray,
        *,
        referer: str,
    ) -> None:
        answered = wire.send(
            "GET",
            f"{path}?{urlencode(signed)}",
            body=b"",
            headers={"Referer": referer} if referer else {},
            into=received.extend,
            limit=_MAX_ANSWER_BYTES,
        )
        if answered.status != 200:
            raise NoAnswer(f"HTTP {answered.status}")

    def _read(self, body: bytes, *, may_be_unsigned: bool) -> Mapping[str, str]:
        """The fields of a genuine answer. Raises NoAnswer, UnreadableDocument."""
        fields = from_xml(body)
        if not fields.get("sign", "").strip():
            if may_be_unsigned:
                return fields
            code = fields.get("return_code", "").strip()
            raise NoAnswer(f"unsigned answer: {code} {fields.get('return_msg', '').strip()[:100]}")
        if not is_signed(fields, key=self._terms.api_v2_key, charset=charset_of(body)):
            raise NoAnswer("the answer's signature is wrong")
        fields = trimmed(fields)
        if fields.get("mch_id", "").strip() not in ("", self._terms.mch_id):
            raise NoAnswer("the answer is for another merchant")
        return fields
