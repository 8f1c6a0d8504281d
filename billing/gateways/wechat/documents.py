"""v2's XML: one flat level of texts. Entities, DTDs, nesting and doubled names are refused."""

from collections.abc import Mapping
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

_MOST_FIELDS = 500
# What XML cannot carry, and what WeChat Pay refuses: 4-byte UTF-8, such as emoji.
_LAST_PLANE_0 = "\uffff"


class UnreadableDocument(ValueError):
    """The bytes are not one flat XML document. The text says why, and quotes nothing."""


def to_xml(fields: Mapping[str, str]) -> bytes:
    """The fields as a request's body."""
    inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return f"<xml>{inside}</xml>".encode()


def from_xml(body: bytes, *, root: str = "xml") -> dict[str, str]:
    """Name → text, exactly as sent. Raises UnreadableDocument."""
    try:
        document = fromstring(body, forbid_dtd=True)
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
