"""v2 messages: one flat <xml> element. Read with entities forbidden, written with CDATA."""

from collections.abc import Mapping
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

MOST_BYTES = 64 * 1024
_MOST_FIELDS = 100
# Beyond the three bytes of the Basic Multilingual Plane: emoji, and some rare Chinese characters.
_LAST_CHARACTER = "\uffff"


class Unreadable(ValueError):
    """Not a message: empty, not XML, nested, too big, with entities, or with 4-byte characters."""


def read(raw: bytes) -> dict[str, str]:
    """The fields of a message, blanks around their values dropped. Raises Unreadable."""
    if not raw.strip():
        raise Unreadable("POST数据为空")
    if len(raw) > MOST_BYTES:
        raise Unreadable("XML格式错误：报文过长")
    try:
        root = fromstring(raw, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise Unreadable("XML格式错误") from error
    fields: dict[str, str] = {}
    for element in root:
        if len(element) or element.tag in fields or len(fields) >= _MOST_FIELDS:
            raise Unreadable("XML格式错误")
        fields[str(element.tag)] = (element.text or "").strip()
    if root.tag != "xml" or not fields:
        raise Unreadable("XML格式错误")
    check_characters(fields)
    return fields


def check_characters(fields: Mapping[str, str]) -> None:
    """Raises Unreadable for a character that takes four bytes in UTF-8."""
    if any(max(value, default="") > _LAST_CHARACTER for value in fields.values()):
        raise Unreadable("XML格式错误：不支持4字节的UTF-8字符")


def write(fields: Mapping[str, str], *, root: str = "xml") -> str:
    """The fields as a message, empty ones left out."""
    inner = "".join(
        f"<{name}><![CDATA[{value.replace(']]>', ']] >')}]]></{name}>"
        for name, value in fields.items()
        if value
    )
    return f"<{root}>{inner}</{root}>"
