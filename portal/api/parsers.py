"""What a request's body may be: JSON of bounded size, without a card number in it."""

from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from portal.api import card_numbers
from portal.api.refusals import CardNumber, TooLarge

# 500 readings of the longest kind are less than a third of it.
MAX_BODY_BYTES = 512 * 1024


class SafeJSONParser(JSONParser):
    """JSON (RFC 8259, no NaN). Raises TooLarge, ParseError or CardNumber before a view sees it."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise TooLarge
        try:
            data = super().parse(BytesIO(raw), media_type, parser_context)
        except (ParseError, UnicodeDecodeError, RecursionError) as error:
            # The parser's own words could quote what was sent.
            raise ParseError(_("The body is not JSON. Check quotes, commas and UTF-8.")) from error
        if card_numbers.holds_one(data):
            raise CardNumber
        return data
