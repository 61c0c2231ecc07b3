"""The pictures in an item's body: read, and written anew with other attributes. For bodies that are sanitised."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping

_IMG = re.compile(r"<img\b[^>]*>")  # `body` escapes what stands in an attribute, so that no > is in one
_ATTRIBUTE = re.compile(r'\b([a-z]+)="([^"]*)"')
_PICTURE = re.compile(r"<picture\b[^>]*>.*?</picture>", re.DOTALL)
_SOURCE = re.compile(r"<source\b[^>]*>(?:</source>)?")


def list_pictures(body: str) -> Iterator[dict[str, str]]:
    """The attributes of each, in the order of the text."""
    return (_attributes(tag) for tag in _IMG.findall(body))


def change_pictures(body: str, change: Callable[[Mapping[str, str]], Mapping[str, str] | None]) -> str:
    """Each with the attributes that `change` gives for its own; None leaves it as it is, byte for byte."""

    def changed(match: re.Match[str]) -> str:
        attributes = change(_attributes(match[0]))
        if attributes is None:
            return match[0]
        return "<img" + "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items()) + ">"

    return _IMG.sub(changed, body)


def drop_picture_sources(body: str, of: Callable[[Mapping[str, str]], bool]) -> str:
    """Without the sources of a <picture>, which go before its <img> (HTML, 4.8.4.3.5), where that is one `of` these."""

    def plain(match: re.Match[str]) -> str:
        return _SOURCE.sub("", match[0]) if any(of(each) for each in list_pictures(match[0])) else match[0]

    return _PICTURE.sub(plain, body)


def _attributes(tag: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(tag)}
