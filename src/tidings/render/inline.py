"""Move CSS into style attributes with premailer, and find CSS that would be lost. Only this module uses premailer.

It avoids these problems of premailer:

- Its three functions share one cache of 128 entries. A normal style sheet overflows it, and then every run parses all
  CSS again: a larger size is set before the import. The shared cache also mixes up keys: `style="p"` beside a rule
  `p {}` is a TypeError, so style attributes without a declaration are removed first.
- `@import` makes cssutils open URLs and local files, whatever `allow_network` says. Its fetcher is replaced by one that
  refuses, and `find_css_problems` refuses such CSS before that.
- `strip_important=True` would remove `!important` from media rules, which then never override inline styles.
- Width and height become attributes (`width="100%"`) that override an image's own: switched off.
- cssutils is not thread-safe: one run at a time.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

os.environ.setdefault("PREMAILER_CACHE_MAXSIZE", "8192")

import cssutils
import cssutils.util
from lxml import etree
from premailer import Premailer

from tidings.model.errors import InputError

_KEPT_LIMIT: Final = 16_384
"""Gmail ignores all `<style>` of a mail that has more characters than this."""
_LOCK: Final = threading.Lock()
_OPTIONS: Final[dict[str, Any]] = {
    "strip_important": False,
    "disable_basic_attributes": ["width", "height"],
    "disable_validation": True,
    "disable_leftover_css": True,
    "align_floating_images": False,
    "allow_network": False,
    "allow_loading_external_files": False,
}
_REASON: Final = "each reader's mail is put together from parts"
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_POSITIONAL = re.compile(r":(?:nth-|first-|last-|only-|empty|has\()", re.IGNORECASE)
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_REMOTE = re.compile(r"@import|url\s*\(", re.IGNORECASE)
_STYLE = re.compile(r"<style([^<>]*)>(.*?)(?:</style>|\Z)", re.DOTALL | re.IGNORECASE)


class InlineError(InputError):
    """The CSS or the HTML of a template cannot be inlined without loss."""


class RemoteStyleError(InlineError):
    """CSS that would load a file or a URL."""


def _refuse(url: str, *_: Any, **__: Any) -> Any:
    raise RemoteStyleError(f"CSS must not fetch anything: {url}")


@contextmanager
def _collect_errors() -> Iterator[list[str]]:
    """Collect the log messages of cssutils, and keep them off stderr."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    _log_to(handler)
    try:
        yield messages
    finally:
        _log_to(logging.NullHandler())


def _log_to(handler: logging.Handler) -> None:
    logger = logging.Logger("cssutils")
    logger.addHandler(handler)
    cssutils.log.setLog(logger)


cssutils.util._defaultFetcher = _refuse
_log_to(logging.NullHandler())


@lru_cache(maxsize=64)
def _read_rules(css: str, index: int) -> tuple[list[Any], list[Any]]:
    """Return the rules of a style sheet, and those that cannot be inlined. Cached: there are few style sheets."""
    rules, left = Premailer._parse_style_rules(_Inliner("", **_OPTIONS), css, index)
    return rules, left


class _Inliner(Premailer):  # type: ignore[misc]
    """A premailer that parses each style sheet only once. Parsing takes two thirds of the time of a mail."""

    def _parse_style_rules(self, css_body: str, ruleset_index: int) -> tuple[list[Any], list[Any]]:
        rules, left = _read_rules(css_body, ruleset_index)
        return rules.copy(), left.copy()


def inline(html: str) -> str:
    """Move the CSS of a page into style attributes; `<style data-premailer="ignore">` stays unchanged.

    Doctype, comments (also Outlook's conditional ones) and placeholders like `@@X@@` stay unchanged. Entities become
    characters, and hrefs ASCII. Raises InlineError that lists all CSS that would be lost.
    """
    if problems := find_css_problems(*_split_styles(html)):
        raise InlineError("; ".join(problems))
    if "<link" in html.lower():
        raise InlineError("a mail cannot use <link>: put the CSS into <style>")
    try:
        tree = etree.fromstring(html.strip(), etree.HTMLParser()).getroottree()
        for element in tree.getroot().iter(etree.Element):
            if ":" not in element.get("style", ":"):
                del element.attrib["style"]
        with _LOCK:
            inlined = _Inliner(html=tree.getroot(), **_OPTIONS).transform(pretty_print=False)
    except InlineError:
        raise
    except Exception as error:  # premailer and cssutils may raise any exception on unusual CSS
        raise InlineError(f"the CSS of this template cannot be put into the mail: {error}") from error
    return str(etree.tostring(inlined, method="html", encoding="unicode", pretty_print=False))


def _split_styles(html: str) -> tuple[str, str]:
    """Return the CSS of `html` that is inlined, and the CSS that stays (`data-premailer="ignore"`)."""
    inlined: list[str] = []
    kept: list[str] = []
    for attributes, css in _STYLE.findall(html):
        (kept if "data-premailer" in attributes else inlined).append(css)
    return "\n".join(inlined), "\n".join(kept)


@lru_cache(maxsize=64)
def find_css_problems(inlined: str, kept: str) -> tuple[str, ...]:
    """Find CSS that premailer would drop silently, or that breaks when a mail is cut into parts.

    `inlined` is the CSS that goes into style attributes, `kept` the CSS that stays in `<style>`.
    """
    inlined, kept = (_COMMENT.sub("", css) for css in (inlined, kept))
    return (
        *_find_common_problems(inlined),
        *_find_common_problems(kept),
        *_find_inlined_problems(inlined),
        *_find_kept_problems(kept),
    )


def _list_rules(css: str) -> Iterator[tuple[str, str]]:
    """Yield selector and declarations of each rule, also of those inside an @ rule."""
    for block in css.split("}")[:-1]:
        start, _, body = block.rpartition("{")
        if selector := start.rpartition("{")[2]:
            yield selector, body


def _find_common_problems(css: str) -> Iterator[str]:
    if _REMOTE.search(css):
        yield "CSS must not fetch anything: remove @import and url()"
    for selector, _ in _list_rules(css):
        selector = selector.split(";")[-1].strip()
        if selector.startswith("@"):
            continue
        if _POSITIONAL.search(selector):
            yield f"the selector {selector!r} depends on the position, which is not reliable: {_REASON}"
        if re.search("[+~]", _BRACKETS.sub("", selector)):
            yield f"the selector {selector!r} depends on siblings, which is not reliable: {_REASON}"


def _find_inlined_problems(css: str) -> Iterator[str]:
    for rule in re.findall(r"@[a-z-]+", css):
        yield f'{rule} cannot be inlined; put it into <style data-premailer="ignore">'
    for selector, body in _list_rules(css):
        selector = selector.strip()
        if selector.startswith("@"):
            continue
        if ":" in selector or "*" in selector:
            yield f'the selector {selector!r} cannot be inlined; put it into <style data-premailer="ignore">'
        if "[" in selector:
            yield f"premailer drops the selector {selector!r} or gives it a wrong rank; use a class"
        declared = {part.split(":", 1)[0].strip().lower() for part in body.split(";") if part.strip()}
        with _collect_errors() as errors:
            known = {prop.name for prop in cssutils.parseStyle(body, validate=False).getProperties(all=True)}
        for name in sorted(declared - known):
            reason = f" ({errors[0]})" if errors else ""
            yield f"{selector} {{ {name} }}: not understood; premailer would drop it{reason}"


def _find_kept_problems(css: str) -> Iterator[str]:
    if len(css) >= _KEPT_LIMIT:
        yield f"the styles that stay have {len(css):,} characters; Gmail ignores all of them from {_KEPT_LIMIT:,}"
    depth = 0
    at_rules: list[int] = []
    for match in re.finditer(r"@[a-z-]+|[{}]", css):
        mark = match[0]
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            while at_rules and at_rules[-1] >= depth:
                at_rules.pop()
        else:
            if at_rules:
                yield f"{mark} is inside another @ rule; Gmail would ignore all styles of the mail"
            at_rules.append(depth)
    if depth:
        yield "the braces of the styles that stay do not match"
