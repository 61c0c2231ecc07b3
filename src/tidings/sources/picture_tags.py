"""Classify an <img> of a web page: find its real URL, and recognise emoji, avatars and tracking pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import regex

_LAZY = (
    "data-src", "data-lazy-src", "data-original", "data-lazy", "data-lazyload", "data-pagespeed-lazy-src", "data-echo",
    "data-hi-res-src", "data-actualsrc", "data-full-src", "data-original-src", "data-img-src", "data-cfsrc",
    "data-flickity-lazyload", "data-canonical-src", "data-ezsrc", "data-opt-src",
)  # fmt: skip
_OTHER_SOURCES = ("data-image", "data-url", "data-large-file", "data-medium-file", "data-orig-file")
"""Attributes with another size of the picture in `src`."""
SRCSETS = ("data-srcset", "data-lazy-srcset", "data-original-set", "data-lazyload-srcset", "srcset")
_ADDRESS = re.compile(
    r"(?:https?:)?/|[^\s{}\"]*\.(?:jpe?g|png|gif|webp|avif|svg|bmp|jfif)\b|[^\s{}\"]+/[^\s{}\"]", re.I
)
_PLACEHOLDER = re.compile(
    r"(?:^|[/_-])(?:blank|spacer|placeholder|transparent|transp|pixel|empty|lazy|lazyload|loading|loader|grey|gray|clear"
    r"|dummy|preload(?:er)?|1x1|default-?image|px)(?:[._-][\w-]{0,30})?\.(?:gif|png|svg|webp|jpe?g)(?:[?#]|$)",
    re.IGNORECASE,
)
_BLANK_FILE = re.compile(
    r"(?:^|[/_-])(?:blank|spacer|placeholder|transparent|1x1|preload|lazy|lazyload|loading|loader)\.(?:gif|png|svg)(?:[?#]|$)",
    re.IGNORECASE,
)
_BACKGROUND = re.compile(r"background(?:-image)?\s*:[^;]{0,200}?url\(([^()]{1,2000})\)", re.IGNORECASE)
_LAZY_BACKGROUNDS = ("data-bg", "data-background", "data-background-image", "data-bg-image", "data-original")
_DESIGN = re.compile(r"icon|logo|avatar|sprite|arrow|button|bullet|pattern|gradient|texture|overlay", re.IGNORECASE)
_NO_SOURCES = ("src", "alt", "title", "class", "style", "id", "href", "longdesc", "usemap", "name", "onerror")
_PICTURE_FILE = re.compile(
    r"[^\s\"'<>{}?]{1,2000}\.(?:jpe?g|png|gif|webp|avif)(?:\?[^\s\"'<>{}]{0,2000})?", re.IGNORECASE
)
_TINY = re.compile(r"\s*[01](?:\.0+)?(?:px)?\s*$", re.IGNORECASE)
_INVISIBLE = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0+)?\s*(?:;|!|$)"
    r"|(?:max-)?(?:width|height)\s*:\s*[01](?:px)?\s*(?:;|!|$))",
    re.IGNORECASE,
)
_PIXEL_ADDRESS = re.compile(
    r"//(?:pixel|stats|beacon|track(?:er|ing)?)\.(?:wp\.com|wordpress\.com|quantserve\.com)/"
    r"|//(?:www\.)?facebook\.com/tr\b|google-analytics\.com/|doubleclick\.net/|feedsportal\.com/"
    r"|//feeds\.feedburner\.com/~|/(?:pixel|beacon|b|count|counter|track|open)\.gif(?:\?|$)",
    re.IGNORECASE,
)
_AVATAR_ADDRESS = re.compile(
    r"//(?:[a-z0-9-]+\.)?gravatar\.com/|/avatars?/|/profile_images/|/wp-user-avatar|/favicon[\w.-]{0,30}$",
    re.IGNORECASE,
)
AVATAR_CLASS = re.compile(
    r"(?:^|[\s_-])(?:avatar|gravatar|author-image|profile-photo|bookmark-icon|favicon)", re.IGNORECASE
)
_EMOJI_CLASS = re.compile(r"smil(?:ey|ie)|emoji|emoticon", re.IGNORECASE)
_EMOJI_ADDRESS = re.compile(
    r"/(?:core/|icons/|images/)?(?:emoji|twemoji|joypixels|smilies|emoticons)[/@]", re.IGNORECASE
)
_EMOJI = regex.compile(
    r"(?=.*[\p{Extended_Pictographic}\p{Regional_Indicator}\u20e3])"
    r"[\p{Extended_Pictographic}\p{Emoji}\p{Regional_Indicator}\p{Emoji_Modifier}\u200d\ufe0f\u20e3\s]{1,40}"
)
_SMALL = re.compile(r"(?:^|;)\s*(?:max-)?(?:height|width)\s*:\s*(?:[\d.]{1,4}em|[1-7]?\dpx)\s*(?:;|!|$)", re.IGNORECASE)
_CANDIDATE = re.compile(r"[\s,]*([^\s,]\S*)([^,]*)")
_WIDEST = 1600
"""Width in pixels of the picture to choose from a set without a default."""


def is_decoration(url: str) -> bool:
    """Whether the URL is of an avatar, an emoji or a tracking pixel, and not a story's picture."""
    return bool(_AVATAR_ADDRESS.search(url) or _PIXEL_ADDRESS.search(url) or _EMOJI_ADDRESS.search(url))


def find_address(attributes: Mapping[str, str], sources: Iterable[Mapping[str, str]]) -> str:
    """Find the URL of a picture that the page may load later by a script. Returns '' if there is none.

    `sources` are the attributes of the <source> elements beside it.
    """
    src = attributes.get("src", "").strip()
    is_empty = not src or is_inline(src) or src.lower().startswith("about:") or bool(_PLACEHOLDER.search(src))
    for name in _LAZY + (_OTHER_SOURCES if is_empty else ()):
        value = attributes.get(name, "").strip()
        if value and not is_inline(value) and _ADDRESS.match(value):
            return _fill_width(value, attributes)
    if not is_empty:
        # Wix shows a small, blurred picture until its script runs.
        is_blurred = "//static.wixstatic.com/media/" in src and "blur_" in src
        return src.partition("/v1/")[0] if is_blurred else src
    sets = [attributes[name] for name in SRCSETS if attributes.get(name)]
    for source in sources:
        sets += [source[name] for name in SRCSETS if source.get(name)]
    candidates = [each for value in sets for each in split_srcset(value) if not is_inline(each[0])]
    if candidates:
        fitting = [each for each in candidates if _width_of(each[1]) <= _WIDEST] or candidates
        return max(fitting, key=lambda each: _width_of(each[1]))[0]
    return _find_any_picture(attributes) or src


def _fill_width(address: str, attributes: Mapping[str, str]) -> str:
    """Insert a width into a URL such as `well_{width}x.jpg`, like the scripts of shops."""
    widths = [int(number) for number in re.findall(r"\d{1,5}", attributes.get("data-widths", ""))]
    widest = max((width for width in widths if width <= _WIDEST), default=1024)
    return re.sub(r"\{(?:width|w)\}", str(widest), address)


def _find_any_picture(attributes: Mapping[str, str]) -> str:
    """Find a picture's URL in any other attribute. Each plugin uses another name, and some write JSON."""
    return next((address for name, value in attributes.items() for address in _list_files(name, value)), "")


def _list_files(name: str, value: str) -> Iterator[str]:
    """Yield the URLs of pictures in one attribute."""
    if name in _NO_SOURCES:
        return
    is_json = value.lstrip().startswith(("{", "["))
    for part in value.split('"') if is_json else [value.strip()]:
        # A query often belongs to an image server: `/a.jpg?auto=format`.
        address = part.replace("\\/", "/")
        if _PICTURE_FILE.fullmatch(address) and (name.startswith("data-") or "//" in address):
            yield address


def find_backgrounds(attributes: Mapping[str, str]) -> Iterator[str]:
    """Yield the URLs of the pictures that CSS or a script shows in an element without content."""
    if _DESIGN.search(attributes.get("class", "")):
        return
    if match := _BACKGROUND.search(attributes.get("style", "")):
        lazy = (attributes.get(name, "").strip() for name in _LAZY_BACKGROUNDS)
        yield next(filter(None, lazy), "") or match[1].strip("\"' ")
    for name, value in attributes.items():
        if name.startswith("data-"):
            yield from (address for address in _list_files(name, value) if not _DESIGN.search(address))


def is_blank_file(address: str) -> bool:
    """Whether the URL is of an empty picture that only keeps the place of another."""
    return _BLANK_FILE.search(address) is not None


def split_srcset(value: str) -> Iterator[tuple[str, str]]:
    """Yield each address of a srcset with its descriptor (HTML §4.8.4.2.1)."""
    position = 0
    while match := _CANDIDATE.match(value, position):
        url, descriptor, position = match[1], match[2].strip(), match.end()
        if url.endswith(","):
            url, descriptor, position = url.rstrip(","), "", match.end(1)
        yield url, descriptor


def _width_of(descriptor: str) -> float:
    """Return the width in pixels, or the density."""
    number = re.match(r"\d{1,6}(?:\.\d{1,4})?(?=[wx])", descriptor)
    return float(number[0]) if number else 1.0


def is_inline(address: str) -> bool:
    return address[:5].lower() == "data:"


def is_pixel(attributes: Mapping[str, str], address: str) -> bool:
    """Whether the picture is hidden or one pixel in size, so that it only tracks readers."""
    return (
        any(name in attributes and bool(_TINY.match(attributes[name])) for name in ("width", "height"))
        or "hidden" in attributes
        # Datawrapper's frames have no width of their own, but `min-width: 100%`.
        or ("min-width" not in attributes.get("style", "") and bool(_INVISIBLE.search(attributes.get("style", ""))))
        or bool(_PIXEL_ADDRESS.search(address))
    )


def is_emoji(attributes: Mapping[str, str], alt: str) -> bool:
    if not alt or len(alt) > 40:
        return False
    address = attributes.get("data-src") or attributes.get("src", "")
    if attributes.get("data-emoji"):
        return True
    if _EMOJI_CLASS.search(attributes.get("class", "")) or _EMOJI_ADDRESS.search(address):
        return True
    sizes = [attributes.get(name, "") for name in ("width", "height")]
    is_small = any(re.fullmatch(r"[1-7]?\d(?:px)?", size) for size in sizes)
    return bool(_EMOJI.fullmatch(alt)) and (is_small or bool(_SMALL.search(attributes.get("style", ""))))
