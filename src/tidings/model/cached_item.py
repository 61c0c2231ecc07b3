"""What a source on the network keeps of its items between two fetches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """What a source on the network keeps of one item. `ref` is minted once; `data` is JSON in the source's own shape.

    `backlog`: it stood there when the source was first read, so no schedule of that day sends it. `gone`: taken away.
    """

    ref: str
    data: Mapping[str, Any]
    seen: datetime
    backlog: bool = False
    gone: bool = False
