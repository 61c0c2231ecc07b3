"""Text that readers see: one string, or one for each language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Localised:
    """`default` serves every language that `by_language` lacks."""

    default: str
    by_language: Mapping[str, str] = field(default_factory=dict, hash=False)

    def get(self, language: str, default_language: str = "") -> str:
        """The text in a language, else in the default one, else any."""
        return self.by_language.get(language) or self.by_language.get(default_language) or self.default

    def __str__(self) -> str:
        return self.default
