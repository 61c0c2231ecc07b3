"""The Markdown of rooms, read as people see it: for previews."""

from __future__ import annotations

import re

_MARK = re.compile(
    r"\[(?P<title>(?:\\.|[^\]\\])*)\]\((?P<link>https?://[^\s)]+)\)"
    r"|<(?P<bare>https?://[^\s>]+)>|(?P<raw>https?://(?:(?!\*\*)\S)+)|\\(?P<sign>[!-/:-@\[-`{-~])|\*\*"
)


def strip_markdown(markdown: str) -> str:
    """Without the marks that our channels make: bold, escaped signs, and links; an address stands below its words."""

    def one(found: re.Match[str]) -> str:
        if found["link"]:
            return f"{strip_markdown(found['title'])}\n{found['link']}"
        return found["bare"] or found["raw"] or found["sign"] or ""

    return _MARK.sub(one, markdown)
