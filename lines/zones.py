"""Time zones, from the pinned `tzdata` package and from nowhere else.

A machine's own files may be years older, and then a charge falls an hour off its agreed time.
"""

import zoneinfo
from importlib.resources import files
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]

DEFAULT = "Asia/Shanghai"  # where the carriers are that Keepline began with

# The package has it for machines that nobody has told where they are: it is no place.
_NO_PLACE = frozenset({"Factory"})
ZONES = frozenset((files(tzdata) / "zones").read_text().split()) - _NO_PLACE


def use_package() -> None:
    """Have every zone of this process read from the package, whatever host and environment say.

    Called by `lines/__init__.py`, so before any module of ours can ask for one.
    """
    zoneinfo.reset_tzpath(to=())
    ZoneInfo.clear_cache()


def is_package_used() -> bool:
    return zoneinfo.TZPATH == ()


def version() -> str:
    """Of the data: "2026.6 (2026f)"."""
    return f"{tzdata.__version__} ({tzdata.IANA_VERSION})"


def is_zone(name: str) -> bool:
    return name in ZONES


def zone_of(name: str) -> ZoneInfo:
    """The zone of that name; `DEFAULT`'s where there is none of it, so that no old row breaks a
    page or a batch. Who charges by it asks `is_zone` first."""
    return ZoneInfo(name if is_zone(name) else DEFAULT)
