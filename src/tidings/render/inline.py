"""premailer, behind one module: CSS into style attributes, with its traps closed.

- Its three functions share one cache of 128 entries that a normal stylesheet overflows, so that every run parses all
  CSS anew: the size is read from the environment at import. The shared cache also mixes up keys: `style="p"` beside a
  rule `p {}` is a TypeError, so style attributes without a declaration go first.
- `@import` makes cssutils open URLs and local files whatever `allow_network` says: its fetcher is replaced by one that
  refuses, and `css_problems` refuses such CSS to begin with.
- `strip_important=True` would take `!important` from media rules, which then never win over inline styles.
- Width and height become attributes (`width="100%"`) that override an image's own: switched off.
- cssutils is not safe in threads: one run at a time.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, Final

os.environ.setdefault("PREMAILER_CACHE_MAXSIZE", "8192")

import cssutils
import cssutils.util
from lxml import etree
from premailer import Premailer

from tidings.model.errors import InputError
from tidings.render.stylesheet import css_problems, split_styles

_LOCK: Final = threading.Lock()


class InlineError(InputError):
    """The CSS or the HTML of a template cannot be inlined faithfully."""


class RemoteStyleError(InlineError):
    """CSS that wants to fetch something."""


def _refuse(url: str, *_: Any, **__: Any) -> Any:
    raise RemoteStyleError(f"CSS must not fetch anything: {url}")


cssutils.util._defaultFetcher = _refuse
_silent = logging.Logger("cssutils")
_silent.addHandler(logging.NullHandler())
cssutils.log.setLog(_silent)


def inline(html: str) -> str:
    """The page with its CSS in style attributes; `<style data-premailer="ignore">` stays as it is.

    Doctype, comments (Outlook's conditional ones too) and places like `@@X@@` come out as they went in; entities become
    characters, and hrefs ASCII. InlineError names everything that would be lost.
    """
    if problems := css_problems(*split_styles(html)):
        raise InlineError("; ".join(problems))
    if "<link" in html.lower():
        raise InlineError("a mail cannot use <link>: put the CSS into <style>")
    try:
        tree = etree.fromstring(html.strip(), etree.HTMLParser()).getroottree()
        for element in tree.getroot().iter(etree.Element):
            if ":" not in element.get("style", ":"):
                del element.attrib["style"]
        with _LOCK:
            done = Premailer(
                html=tree.getroot(),
                strip_important=False,
                disable_basic_attributes=["width", "height"],
                disable_validation=True,
                disable_leftover_css=True,
                align_floating_images=False,
                allow_network=False,
                allow_loading_external_files=False,
            ).transform(pretty_print=False)
    except InlineError:
        raise
    except Exception as error:  # premailer and cssutils raise whatever occurs to them on odd CSS
        raise InlineError(f"premailer failed on this template's CSS: {type(error).__name__}: {error}") from error
    return str(etree.tostring(done, method="html", encoding="unicode", pretty_print=False))
