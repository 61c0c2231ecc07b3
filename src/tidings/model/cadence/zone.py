"""Time zones from the locked `tzdata` package, so that a slot does not depend on the machine."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@lru_cache(maxsize=1024)
def load_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name such as `Asia/Almaty`. Raises ZoneInfoNotFoundError for any other."""
    parts = name.split("/")
    if not all(part and part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        raise ZoneInfoNotFoundError(name)
    file = resources.files("tzdata").joinpath("zoneinfo", *parts)
    try:
        with file.open("rb") as stream:
            return ZoneInfo.from_file(stream, key=name)
    except (OSError, ValueError) as error:
        raise ZoneInfoNotFoundError(name) from error
