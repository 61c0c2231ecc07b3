"""Text as readers may see it: no characters that break a feed, shortened at a word."""

from __future__ import annotations

import re

# XML 1.0 §2.2 allows of C0 only tab, line feed and carriage return; one U+000B made FreshRSS refuse a whole feed.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Without C0 (but for tab and line feed), lone surrogates and U+FFFE, U+FFFF; line ends are line feeds."""
    return _FORBIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """Cleaned, with every run of white space as one space."""
    return " ".join(clean(text).split())


def has_forbidden(text: str) -> bool:
    """Whether `clean` would take characters out."""
    return _FORBIDDEN.search(text) is not None


def shorten(text: str, limit: int = 300) -> str:
    """One line of at most `limit` characters, cut at a word and marked with an ellipsis."""
    text = one_line(text)
    if len(text) <= limit:
        return text
    cut = text[:limit]
    if " " in cut[limit // 2 :]:
        cut = cut.rsplit(" ", 1)[0]
    return cut[: limit - 1].rstrip(" ,;:.-–—") + "…"
