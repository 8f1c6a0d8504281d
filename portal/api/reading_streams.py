"""What a request reports, row by row: a JSON list, lines of JSON, or CSV; gzipped or not.

A list is read whole, within bounds. The others are streams of any length, of which no more than a
row and a block are in memory, however small they were packed.
"""

import csv
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.utils import json as strict_json

from portal.api.refusals import TooLarge

# 10,000 readings of the longest kind, and to spare.
MAX_LIST_BYTES = 8 * 1024 * 1024
MAX_ROW_BYTES = 4 * 1024
_BLOCK_BYTES = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_WHOLE = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBERS = frozenset({"balance_minor", "reserved_minor", "sequence"})
_COLUMNS = _NUMBERS | {"line", "msisdn", "iccid", "currency", "observed_at", "valid_until"}


class Broken(Exception):
    """The stream ends before its end, or is not what it says. What came before it stands."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows as they come, each whatever its sender wrote. Iterating raises Broken, TooLarge."""

    rows: Iterator[Any]

    def __iter__(self) -> Iterator[Any]:
        return self.rows


class ListParser(BaseParser):
    """One JSON object, or a list of them."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            raw = _whole(_blocks(stream, parser_context))
            return json.loads(raw, parse_constant=strict_json.strict_constant)
        except (Broken, ValueError, RecursionError) as error:
            # The parser's own words could quote what was sent.
            raise ParseError(_("The body is not JSON. Check quotes, commas and UTF-8.")) from error


class LinesParser(BaseParser):
    """A JSON object a line."""

    media_type = "application/x-ndjson"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return Stream(_object(line) for line in _lines(_blocks(stream, parser_context)))


class CSVParser(BaseParser):
    """Names in the first line, as the fields of a reading are called; then a reading a line."""

    media_type = "text/csv"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return Stream(_records(_lines(_blocks(stream, parser_context))))


def accept_chunks(request: Any) -> None:
    """A body of no stated length, where the server says that it knows its end: Django takes it for
    empty."""
    is_chunked = request.META.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    if is_chunked and request.environ.get("wsgi.input_terminated"):
        request._stream = request.environ["wsgi.input"]
        request.META["CONTENT_LENGTH"] = "-1"


# --- bytes ----------------------------------------------------------------------------------------


def _blocks(stream: IO[Any], context: Mapping[str, Any] | None) -> Iterator[bytes]:
    request = (context or {})["request"]
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    plain = _read(stream, length=int(request.META.get("CONTENT_LENGTH") or 0))
    if encoding in ("", "identity"):
        return plain
    if encoding != "gzip":
        raise UnsupportedMediaType(encoding)
    return _unzipped(plain)


def _read(stream: IO[Any], *, length: int) -> Iterator[bytes]:
    """`length`: negative where it is not said."""
    left = length
    while True:
        try:
            block = stream.read(_BLOCK_BYTES)
        except Exception as error:  # servers have errors of their own for a sender that is gone
            raise Broken from error
        if not block:
            break
        left -= len(block)
        yield block
    if length >= 0 and left > 0:
        raise Broken


def _unzipped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """A bomb comes out a block at a time, and ends at the bounds that hold for anybody."""
    unzip = zlib.decompressobj(_GZIP)
    for block in blocks:
        rest = block
        while rest:
            if unzip.eof:  # several files in one, as `cat` makes them
                unzip = zlib.decompressobj(_GZIP)
            try:
                yield unzip.decompress(rest, _BLOCK_BYTES)
            except zlib.error as error:
                raise Broken from error
            rest = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
    if not unzip.eof:
        raise Broken


def _whole(blocks: Iterator[bytes]) -> bytes:
    found = bytearray()
    for block in blocks:
        found += block
        if len(found) > MAX_LIST_BYTES:
            raise TooLarge
    return bytes(found)


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines that are not blank. Raises TooLarge for one that does not end."""
    begun = b""
    for block in blocks:
        *whole, begun = (begun + block).split(b"\n")
        for line in whole:
            if len(line) > MAX_ROW_BYTES:
                raise TooLarge
            if line.strip():
                yield line
        if len(begun) > MAX_ROW_BYTES:
            raise TooLarge
    if begun.strip():
        yield begun


# --- rows -----------------------------------------------------------------------------------------


def _object(line: bytes) -> Any:
    """None where it is none: that row is refused, and no other."""
    try:
        return json.loads(line, parse_constant=strict_json.strict_constant)
    except (ValueError, RecursionError):
        return None


def _records(lines: Iterator[bytes]) -> Iterator[Any]:
    names = _fields(next(lines, b"")) or []
    if not names or not set(names) <= _COLUMNS or len(set(names)) < len(names):
        raise ParseError(_("The first line must name the columns, as the fields are called."))
    for line in lines:
        fields = _fields(line)
        yield None if fields is None or len(fields) != len(names) else _record(names, fields)


def _fields(line: bytes) -> list[str] | None:
    """None where the line cannot be read."""
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
        return [field.strip() for field in next(csv.reader([text], strict=True))]
    except (csv.Error, StopIteration, UnicodeDecodeError):
        return None


def _record(names: list[str], fields: list[str]) -> dict[str, Any]:
    """As JSON would have it. An empty field is not said; `null` in a validity is no end."""
    record: dict[str, Any] = {}
    for name, text in zip(names, fields, strict=True):
        if name in _NUMBERS and _WHOLE.fullmatch(text):
            record[name] = int(text)
        elif text:
            record[name] = None if (name, text) == ("valid_until", "null") else text
    return record
