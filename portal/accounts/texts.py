"""Short texts to a person's own phone: sign-in codes, not the proofs of lines.

They go out through one carrier's system, named by SMS_CARRIER. Without it, or when that system
does not take the text, the caller is told and offers e-mail; nothing is kept for later.
"""

import logging

from django.conf import settings

from lines import carriers
from lines.carriers.base import LineAddress
from lines.models import Carrier

log = logging.getLogger(__name__)

UNSENT = "unsent_text_to"  # in a session: the number to offer again, since it was typed once


class TextNotSent(Exception):
    """No carrier took the text. Show a sentence; the person may try again or use e-mail."""


def send(*, phone: str, text: str) -> None:
    """Send `text` to `phone` (E.164), once. Raises TextNotSent. Neither is ever logged."""
    carrier = Carrier.objects.filter(code=settings.SMS_CARRIER, is_enabled=True).first()
    if carrier is None:
        log.error("A sign-in code was not sent: SMS_CARRIER names no enabled carrier.")
        raise TextNotSent
    try:
        adapter = carriers.adapter_for(carrier)
    except carriers.CarrierNotConfigured as error:
        log.exception("A sign-in code was not sent: the carrier is not configured.")
        raise TextNotSent from error
    if not adapter.send_code(address=LineAddress(msisdn=phone, iccid=""), text=text):
        log.warning("A sign-in code was not sent: the carrier did not take it.")
        raise TextNotSent
