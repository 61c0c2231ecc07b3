"""English counts for messages: "1 story", "3 stories"."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache


def count_noun(number: int, one: str, other: str = "") -> str:
    """Return the number and its noun in the right form: `count_noun(3, "story", "stories")` is "3 stories".

    `other` defaults to `one` with an "s". The rule is Babel's for English (CLDR). Readers' languages have their own
    catalogues: see `render.i18n`.
    """
    noun = one if _plural_form()(number) == "one" else other or f"{one}s"
    return f"{number:,} {noun}"


@cache
def _plural_form() -> Callable[[int], str]:
    # Babel is imported late: it takes longer to load than most commands take to run.
    from babel import Locale

    return Locale("en").plural_form
