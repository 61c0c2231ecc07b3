"""What rendering gives to composing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidings.pipeline.compose.draft import MessageGroup


@dataclass(frozen=True, slots=True)
class RenderResult:
    """One frozen rendition, with its selections and what the gates say."""

    outlet: str
    language: str
    story: str
    document: Mapping[str, Any] | bytes
    arrangements: Mapping[str, Mapping[str, Any]]
    """By key of the group."""
    groups: Mapping[str, MessageGroup]
    failures: tuple[str, ...] = ()
    shortened: int = 0
    whole: Mapping[str, Any] | None = None
    """The arrangement that the archive shows: all of the edition's stories. None where it is not archived."""

    def raw(self) -> bytes:
        """The bytes that are stored."""
        if isinstance(self.document, bytes):
            return self.document
        return json.dumps(self.document, ensure_ascii=False, sort_keys=True).encode()
