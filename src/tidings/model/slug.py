"""Slugs: short ASCII names for addresses, made from names in any script."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_SLUG = 100
"""Characters. Long names are cut at a hyphen, so that address and file name stay within every limit."""

_SINGLE = dict(zip("абвгдезийклмнопрстуфцыэәғқңөұүһіґў", "abvgdeziiklmnoprstufceeagqnouuhigu", strict=True))
_SEVERAL = {
    "ё": "e", "ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "ю": "iu",
    "я": "ia", "є": "ie", "ї": "i",
}  # fmt: skip
_CYRILLIC = _SINGLE | _SEVERAL


def slugify(text: str) -> str:
    """Lower-case ASCII letters, digits and single hyphens; never empty, not cut.

    Russian, Kazakh and Ukrainian are transliterated, accents dropped. What leaves nothing (Arabic, Chinese) becomes
    `item-` and eight hex digits of its SHA-256, so that equal names stay equal.
    """
    text = unicodedata.normalize("NFC", text).lower()
    text = "".join(_CYRILLIC.get(character, character) for character in text)
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"['’]", "", ascii_text)).strip("-")
    return slug or "item-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def shorten_slug(slug: str, limit: int = MAX_SLUG) -> str:
    """At most `limit` characters, cut at a hyphen where there is one."""
    if len(slug) <= limit:
        return slug
    cut = slug[: limit + 1]
    return (cut.rsplit("-", 1)[0] if "-" in cut[limit // 2 :] else cut[:limit]).strip("-")


def unused(slug: str, taken: set[str]) -> str:
    """`slug`, or the first of `slug-2`, `slug-3`, ... that nobody has."""
    if slug not in taken:
        return slug
    number = 2
    while f"{slug}-{number}" in taken:
        number += 1
    return f"{slug}-{number}"
