"""What a site's robots.txt allows (RFC 9309). Pure.

Python's own `urllib.robotparser` takes the first rule that fits and knows no `*` in a path, so it would keep us out
where a site lets us in, and the other way round.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

_ASCII = "".join(map(chr, range(33, 127)))
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


class Robots:
    """The rules of one file for one crawler, by its product token."""

    def __init__(self, text: str, token: str) -> None:
        groups: dict[str, list[tuple[str, bool]]] = {}
        named: list[str] = []
        ruled = False
        for line in text.removeprefix("\ufeff").splitlines():
            key, colon, value = (part.strip() for part in line.partition("#")[0].partition(":"))
            if key.lower() == "user-agent":
                # A rule ends the names of a group; all groups of one name are one (§2.2.1).
                named = [] if ruled else named
                ruled = False
                named.append("*" if value == "*" else (re.match(r"[A-Za-z_-]*", value) or [""])[0].lower())
                groups.setdefault(named[-1], [])
            elif colon and key.lower() in ("allow", "disallow"):
                ruled = True
                for name in named if value else ():
                    groups[name].append((_plain(value), key.lower() == "allow"))
        # The longest rule goes first, and of two as long the one that allows (§2.2.2).
        rules = groups.get(token.lower(), groups.get("*", []))
        self._rules = sorted(rules, key=lambda rule: (len(rule[0].encode()), rule[1]), reverse=True)

    def allows(self, url: str) -> bool:
        """Whether the page may be read; what no rule names may be, and robots.txt itself always."""
        parts = urlsplit(url)
        path = _plain((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        return path == "/robots.txt" or next((allowed for rule, allowed in self._rules if _fits(rule, path)), True)


def _plain(path: str) -> str:
    """Spelt alike: what needs no escape has none, and what is not ASCII has one (§2.2.2)."""

    def spelt(found: re.Match[str]) -> str:
        character = chr(int(found[0][1:], 16))
        return character if _UNRESERVED.fullmatch(character) else found[0].upper()

    return re.sub(r"%[0-9A-Fa-f]{2}", spelt, quote(path, safe=_ASCII))


def _fits(rule: str, path: str) -> bool:
    """`*` is anything and a last `$` the end (§2.2.3). No regular expression: a hostile rule would keep it busy."""
    begin, *others = rule.removesuffix("$").split("*")
    last = others.pop() if rule.endswith("$") and others else None
    if not path.startswith(begin):
        return False
    at = len(begin)
    for part in others:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    if last is not None:
        return len(path) - at >= len(last) and path.endswith(last)
    return not rule.endswith("$") or at == len(path)
