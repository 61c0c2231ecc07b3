"""The colours of mails and pages, derived from the publisher's colour: readable in light and dark mode.

Every pair of text and background reaches a contrast of 4.5:1 (WCAG 2.2, success criterion 1.4.3, level AA).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

AA = 4.5
PAPER = "#ffffff"
INK = "#1c2430"
NIGHT = "#1e2329"
"""The card in dark mode; `NIGHT_GROUND` is the background around it."""
NIGHT_GROUND = "#12151a"
_HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """`colours` in templates; each value is `#rrggbb`."""

    brand: str
    """The background of the band and of buttons: the publisher's colour, darkened if text on it is unreadable."""
    on_brand: str
    accent: str
    """Links and small headings on white and on the background."""
    accent_dark: str
    """Links and small headings on the dark card."""
    ink: str = INK
    muted: str = "#566070"
    line: str = "#dde2e9"
    ground: str = "#eef1f5"
    paper: str = PAPER
    tint: str = "#f6f8fa"
    ink_dark: str = "#eceff3"
    muted_dark: str = "#aab4c1"
    line_dark: str = "#3a424d"
    ground_dark: str = NIGHT_GROUND
    paper_dark: str = NIGHT
    tint_dark: str = "#272d35"


@lru_cache(maxsize=64)
def make_palette(colour: str) -> Palette:
    """Return the palette for `#rrggbb` or `#rgb`. Raises ValueError for other values."""
    match = _HEX.fullmatch(colour.strip())
    if match is None:
        raise ValueError(f"{colour!r} is not a colour of the form #rrggbb")
    digits = match[1] if len(match[1]) == 6 else "".join(digit * 2 for digit in match[1])
    rgb = (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))
    brand = rgb
    while max(_ratio(brand, _rgb(PAPER)), _ratio(brand, _rgb(INK))) < AA:
        brand = _mix(brand, (0, 0, 0))
    on_brand = PAPER if _ratio(brand, _rgb(PAPER)) >= AA else INK
    grounds = Palette("", "", "", "")
    return Palette(
        brand=_hex(brand),
        on_brand=on_brand,
        accent=_readable(rgb, (PAPER, grounds.ground, grounds.tint), (0, 0, 0)),
        accent_dark=_readable(rgb, (grounds.paper_dark, grounds.ground_dark, grounds.tint_dark), (255, 255, 255)),
    )


def contrast(first: str, second: str) -> float:
    """Return WCAG's contrast ratio of two `#rrggbb` colours, 1 to 21."""
    return _ratio(_rgb(first), _rgb(second))


def _readable(rgb: Rgb, grounds: tuple[str, ...], towards: Rgb) -> str:
    while min(_ratio(rgb, _rgb(ground)) for ground in grounds) < AA:
        rgb = _mix(rgb, towards)
    return _hex(rgb)


def _mix(rgb: Rgb, towards: Rgb) -> Rgb:
    """Mix in a twelfth of another colour, at least one level, so that loops that call it end."""

    def step(level: int, goal: int) -> int:
        move = (goal - level) / 12
        return goal if abs(goal - level) < 2 else round(level + (move if abs(move) > 1 else (1 if move > 0 else -1)))

    return step(rgb[0], towards[0]), step(rgb[1], towards[1]), step(rgb[2], towards[2])


def _rgb(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hex(rgb: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _ratio(first: Rgb, second: Rgb) -> float:
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(rgb: Rgb) -> float:
    def linear(level: int) -> float:
        part = level / 255
        return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)

    return 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2])
