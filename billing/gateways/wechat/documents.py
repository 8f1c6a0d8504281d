"""v2's XML: one flat level of texts. Entities, DTDs, nesting and doubled names are refused."""

import re
from collections.abc import Mapping
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

_MOST_FIELDS = 500
GBK = "gb18030"  # GBK and GB2312 are parts of it, byte for byte
_GBK_NAMES = (b"gbk", b"gb2312", b"gb18030")
_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,80}\sencoding=["']([A-Za-z0-9-]{1,20})["']""")
# What XML cannot carry, and what WeChat Pay refuses: 4-byte UTF-8, such as emoji.
_LAST_PLANE_0 = "\uffff"


class UnreadableDocument(ValueError):
    """The bytes are not one flat XML document. The text says why, and quotes nothing."""


def to_xml(fields: Mapping[str, str]) -> bytes:
    """The fields as a request's body."""
    inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return f"<xml>{inside}</xml>".encode()


def charset_of(body: bytes) -> str:
    """What a document says it is written in, where that is not UTF-8 but GBK or a part of it."""
    said = _DECLARED.match(body)
    return GBK if said and said[1].lower() in _GBK_NAMES else "utf-8"


def trimmed(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields without the blanks that a document was laid out with. What is nothing but blanks
    stays: it is not the same as a field that says nothing.
    """
    return {name: value.strip() or value for name, value in fields.items()}


def from_xml(body: bytes, *, root: str = "xml") -> dict[str, str]:
    """Name → text, exactly as sent. Raises UnreadableDocument."""
    try:
        # The parser knows no encoding of several bytes but UTF-8; a text it takes as it is.
        text = body.decode(GBK) if charset_of(body) == GBK else body
        document = fromstring(text, forbid_dtd=True)
    except DefusedXmlException as error:
        raise UnreadableDocument("it declares what XML here may not") from error
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise UnreadableDocument("it is not XML") from error
    if document.tag != root or len(document) > _MOST_FIELDS:
        raise UnreadableDocument("it is not a document of this kind")
    fields: dict[str, str] = {}
    for child in document:
        if len(child) or child.tag in fields:
            raise UnreadableDocument("a field is nested or comes twice")
        fields[child.tag] = child.text or ""
    return fields


def plain(text: str, *, longest: int) -> str:
    """`text` as v2 can carry it: no control characters, no 4-byte UTF-8, no longer than that."""
    kept = (mark for mark in text if mark.isprintable() and mark <= _LAST_PLANE_0)
    return "".join(kept)[:longest]
