"""What is wrong with a mail's CSS: what premailer would drop without a word, and what breaks once a mail is cut."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import cssutils

KEPT_LIMIT: Final = 16_384
"""Gmail ignores all `<style>` of a mail that has more characters than this."""
_CUT: Final = "each reader's mail is put together from parts"
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_POSITIONAL = re.compile(r":(?:nth-|first-|last-|only-|empty|has\()", re.IGNORECASE)
_SIBLING = re.compile(r"(?<![(])\s*[+~]\s*(?![^(\[]*[)\]])")
_REMOTE = re.compile(r"@import|url\s*\(", re.IGNORECASE)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_STYLE = re.compile(r"<style([^>]*)>(.*?)</style>", re.DOTALL | re.IGNORECASE)


def split_styles(html: str) -> tuple[str, str]:
    """The CSS of `html` that is inlined, and the CSS that stays (`data-premailer="ignore"`)."""
    inlined: list[str] = []
    kept: list[str] = []
    for attributes, css in _STYLE.findall(html):
        (kept if "data-premailer" in attributes else inlined).append(css)
    return "\n".join(inlined), "\n".join(kept)


@lru_cache(maxsize=64)
def css_problems(inlined: str, kept: str) -> tuple[str, ...]:
    """Everything wrong with the two sorts of CSS, in words."""
    return (*_common(inlined), *_common(kept), *_inlined_problems(inlined), *_kept_problems(kept))


def _common(css: str) -> Iterator[str]:
    css = _COMMENT.sub("", css)
    if _REMOTE.search(css):
        yield "CSS must not fetch anything: @import and url() are refused"
    for selector, _ in _RULE.findall(css):
        selector = selector.split(";")[-1].strip()
        if selector.startswith("@"):
            continue
        if _POSITIONAL.search(selector):
            yield f"the selector {selector!r} goes by position, which does not hold: {_CUT}"
        if _SIBLING.search(selector):
            yield f"the selector {selector!r} goes by siblings, which does not hold: {_CUT}"


def _inlined_problems(css: str) -> Iterator[str]:
    css = _COMMENT.sub("", css)
    for rule in re.findall(r"@[a-z-]+", css):
        yield f'{rule} cannot be inlined; put it into <style data-premailer="ignore">'
    for selector, body in _RULE.findall(css):
        selector = selector.strip()
        if selector.startswith("@"):
            continue
        if ":" in selector or "*" in selector:
            yield f'the selector {selector!r} cannot be inlined; put it into <style data-premailer="ignore">'
        if "[" in selector:
            yield f"the selector {selector!r} is dropped or given a wrong rank by premailer; use a class"
        wanted = {part.split(":", 1)[0].strip().lower() for part in body.split(";") if part.strip()}
        with _quiet() as errors:
            declared = cssutils.parseStyle(body, validate=False)
            found = {prop.name for prop in declared.getProperties(all=True)}
        for name in sorted(wanted - found):
            why = f" ({errors[0]})" if errors else ""
            yield f"{selector} {{ {name} }}: not understood, premailer would drop it{why}"


def _kept_problems(css: str) -> Iterator[str]:
    if len(css) >= KEPT_LIMIT:
        yield f"the styles that stay have {len(css):,} characters; Gmail ignores all of them from {KEPT_LIMIT:,}"
    depth = 0
    stack: list[int] = []
    for match in re.finditer(r"@[a-z-]+|[{}]", _COMMENT.sub("", css)):
        mark = match[0]
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            while stack and stack[-1] >= depth:
                stack.pop()
        else:
            if stack:
                yield f"{mark} stands inside another @ rule; Gmail would ignore all styles of the mail"
            stack.append(depth)
    if depth:
        yield "the braces of the styles that stay do not match"


class _quiet:
    """Collects what cssutils logs, and keeps it off stderr."""

    def __enter__(self) -> list[str]:
        self.messages: list[str] = []
        logger = logging.Logger("cssutils")
        handler = logging.Handler()
        handler.emit = lambda record: self.messages.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        cssutils.log.setLog(logger)
        return self.messages

    def __exit__(self, *_: object) -> None:
        silent = logging.Logger("cssutils")
        silent.addHandler(logging.NullHandler())
        cssutils.log.setLog(silent)
