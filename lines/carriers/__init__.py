"""The carriers of this installation: a row says who and where, settings hold the secrets.

No model is imported here: an adapter, and a simulator's process, know no rows.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from lines import zones
from lines.carriers.base import CarrierAdapter

_TMF654 = "lines.carriers.tmf654.adapter.Tmf654Carrier"


class Row(Protocol):
    """What is needed of a `lines.models.Carrier`."""

    @property
    def code(self) -> str: ...
    @property
    def adapter(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def permanent_codes(self) -> Sequence[str]: ...
    @property
    def timezone(self) -> str: ...
    @property
    def reference_field(self) -> str: ...
    @property
    def can_query_by_reference(self) -> bool: ...


class CarrierNotConfigured(Exception):
    """This carrier cannot be reached; the others can. The text names the setting, no value."""


def adapter_for(carrier: Row) -> CarrierAdapter:
    """The adapter for a row, made once for the values it has now. Raises CarrierNotConfigured.

    `CARRIER_HUB_SECRET` may hold several, separated by commas, while one is being changed.
    """
    make = _MAKERS.get(carrier.adapter)
    if make is None:
        raise CarrierNotConfigured(f"{carrier.code}: there is no adapter “{carrier.adapter}”.")
    token = settings.CARRIER_TOKENS.get(carrier.code, "")
    if not token:
        raise CarrierNotConfigured(f"{carrier.code}: CARRIER_TOKENS has no token for it.")
    if not carrier.base_url:
        raise CarrierNotConfigured(f"{carrier.code}: the address of its API is missing.")
    return make(carrier, token)


@lru_cache(maxsize=256)
def _made_tmf654(
    *,
    base_url: str,
    token: str,
    timeout_s: float,
    currency: str,
    reference_field: str,
    can_filter_by_reference: bool,
    permanent_codes: frozenset[str],
    hub_secrets: tuple[str, ...],
    time_zone: ZoneInfo,
) -> CarrierAdapter:
    adapter: CarrierAdapter = import_string(_TMF654)(
        base_url=base_url,
        token=token,
        timeout_s=timeout_s,
        currency=currency,
        reference_field=reference_field,
        can_filter_by_reference=can_filter_by_reference,
        permanent_codes=permanent_codes,
        hub_secrets=hub_secrets,
        clock=timezone.now,
        time_zone=time_zone,
    )
    return adapter


def _tmf654(carrier: Row, token: str) -> CarrierAdapter:
    if not zones.is_zone(carrier.timezone):
        raise CarrierNotConfigured(f"{carrier.code}: its time zone is unknown.")
    return _made_tmf654(
        base_url=carrier.base_url,
        token=token,
        timeout_s=settings.CALL_TIMEOUT_S,
        currency=carrier.currency,
        reference_field=carrier.reference_field,
        can_filter_by_reference=carrier.can_query_by_reference,
        permanent_codes=frozenset(carrier.permanent_codes),
        hub_secrets=tuple(filter(None, settings.CARRIER_HUB_SECRET.split(","))),
        time_zone=zones.zone_of(carrier.timezone),
    )


_MAKERS: dict[str, Callable[[Row, str], CarrierAdapter]] = {"tmf654": _tmf654}
