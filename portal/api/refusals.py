"""Refusals of the request itself, before any domain is asked: raise them, `errors` answers."""

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException


class TooLarge(APIException):
    status_code = 413
    default_code = "too_large"
    default_detail = _("The body is too large. Send fewer items at once.")


class StreamBroken(APIException):
    status_code = 400
    default_code = "stream_broken"
    default_detail = _(
        "The body ends too early, or cannot be unpacked. What came before stands: go on from the "
        "row that “next_row” names."
    )


class KeyOnStream(APIException):
    status_code = 400
    default_code = "idempotency_key_on_stream"
    default_detail = _("A stream takes no Idempotency-Key: sent again, its rows change nothing.")


class Busy(APIException):
    """`wait` becomes Retry-After, seconds."""

    status_code = 503
    default_code = "busy"
    default_detail = _("Others are being read at this moment. Send it again shortly.")
    wait = 1


class CardNumber(APIException):
    status_code = 400
    default_code = "card_number"
    default_detail = _(
        "This looks like a bank card number, and Keepline takes none. Cards are bound on the "
        "payment company's own page."
    )


class CodeNotSent(APIException):
    status_code = 503
    default_code = "code_not_sent"
    default_detail = _("The carrier did not take it. Try again in a minute.")
    wait = 60


class KeyMissing(APIException):
    status_code = 400
    default_code = "idempotency_key_missing"
    default_detail = _(
        "Send a header Idempotency-Key with a new random value, and the same value when you retry."
    )


class KeyMalformed(APIException):
    status_code = 400
    default_code = "idempotency_key_malformed"
    default_detail = _("An Idempotency-Key has 1 to 255 visible ASCII characters.")


class KeyReused(APIException):
    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = _(
        "This Idempotency-Key was used for another request. Use a new key for a new request."
    )


class KeyBusy(APIException):
    """Another request with the key is under way. `wait` becomes Retry-After, seconds."""

    status_code = 409
    default_code = "idempotency_key_in_use"
    default_detail = _("The first request with this key is still under way. Ask again shortly.")
    wait = 1


class VersionMissing(APIException):
    status_code = 428
    default_code = "version_missing"
    default_detail = _("Send If-Match with the ETag of the rule you have seen.")


class VersionMalformed(APIException):
    status_code = 400
    default_code = "version_malformed"
    default_detail = _('If-Match takes the rule\'s ETag as it is, such as "3" with its quotes.')


class VersionStale(APIException):
    status_code = 412
    default_code = "version_stale"
    default_detail = _("The rule has changed since. Read it again, then decide.")


class WordsStale(APIException):
    status_code = 412
    default_code = "words_stale"
    default_detail = _(
        "These are not the words for this plan now. Preview it again, and show them."
    )
