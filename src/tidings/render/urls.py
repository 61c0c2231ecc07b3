"""Addresses as feeds and pages need them: ASCII, and free of what XML cannot carry."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, urlsplit, urlunsplit

import idna

_SAFE = "@/:=?;#%&,+-_.!~*'()[]"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# XML 1.0 §2.2: C0 but for tab and line ends, U+FFFE, U+FFFF, and surrogates that stand alone. One of them makes readers
# such as FreshRSS refuse the whole feed.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def xml_text(text: str) -> str:
    """`text` without the characters that XML 1.0 does not know; line ends become line feeds."""
    return _NOT_XML.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def one_line(text: str) -> str:
    """The same on one line, for titles and names."""
    return " ".join(xml_text(text).split())


@lru_cache(maxsize=8192)
def ascii_url(url: str) -> str:
    """`url` percent-encoded (RFC 3987 §3.1), its host as A-labels; what is encoded already stays."""
    url = "".join(_NOT_XML.sub("", url).split("\n")).strip()
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return quote(url, safe=_SAFE.replace("[]", ""))
    netloc = parts.netloc
    if not host.isascii():
        try:
            label = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            label = quote(host)
        start = netloc.lower().find(host)
        netloc = netloc[:start] + label + netloc[start + len(host) :]
    rest = [_STRAY_PERCENT.sub("%25", quote(part, safe=_SAFE)) for part in parts[2:]]
    # Brackets belong to IPv6 hosts and queries only (RFC 3986 §3.2.2).
    rest[0] = rest[0].replace("[", "%5B").replace("]", "%5D")
    return urlunsplit((parts.scheme, netloc, *rest))
