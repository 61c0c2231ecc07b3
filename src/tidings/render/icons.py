"""The icons of the site: the newsroom's logo in a square, or a drawing in its colour."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from tidings.render.palette import make_palette

FAVICON = "favicon.ico"
TOUCH_ICON = "apple-touch-icon.png"
ICONS = (FAVICON, TOUCH_ICON)
_SIZES = (16, 32, 48)
_TOUCH = 180
_DRAWN = 512
"""Pixels of the drawing before it is made smaller."""


def render_icon(name: str, colour: str, logo: Path | None = None) -> bytes:
    """Make `favicon.ico` or the icon for home screens. A logo that cannot be read is ignored."""
    picture = _read_logo(logo) if logo is not None else None
    return _render_sign(name, colour) if picture is None else _render(name, colour, picture)


@lru_cache(maxsize=16)
def _render_sign(name: str, colour: str) -> bytes:
    """Make an icon without a logo. It depends only on the colour."""
    return _render(name, colour, None)


def _render(name: str, colour: str, picture: Image.Image | None) -> bytes:
    out = BytesIO()
    if name == TOUCH_ICON:
        # Phones show transparent parts as black.
        square = _draw_sign(colour) if picture is None else _fit(picture, _TOUCH, "#ffffff", margin=16)
        square.convert("RGB").resize((_TOUCH, _TOUCH), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    else:
        square = _draw_sign(colour, rounded=True) if picture is None else _fit(picture, max(_SIZES), "#00000000")
        frames = [square.resize((size, size), Image.Resampling.LANCZOS) for size in _SIZES]
        frames[-1].save(out, "ICO", sizes=[(size, size) for size in _SIZES], append_images=frames[:-1])
    return out.getvalue()


def _read_logo(path: Path) -> Image.Image | None:
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _fit(picture: Image.Image, size: int, ground: str, margin: int = 0) -> Image.Image:
    """Fit a whole picture into the middle of a square."""
    inside = ImageOps.contain(picture, (size - 2 * margin, size - 2 * margin), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (size, size), ground)
    square.alpha_composite(inside, ((size - inside.width) // 2, (size - inside.height) // 2))
    return square


def _draw_sign(colour: str, *, rounded: bool = False) -> Image.Image:
    """Draw a sheet of news: a headline, a picture and lines, on the newsroom's colour."""
    palette = make_palette(colour)
    square = Image.new("RGBA", (_DRAWN, _DRAWN), "#00000000" if rounded else palette.brand)
    draw = ImageDraw.Draw(square)
    if rounded:
        draw.rounded_rectangle((0, 0, _DRAWN - 1, _DRAWN - 1), radius=96, fill=palette.brand)
    ink = palette.on_brand
    draw.rounded_rectangle((112, 120, 400, 184), radius=16, fill=ink)
    draw.rounded_rectangle((112, 232, 240, 392), radius=16, fill=ink)
    for top in (232, 296, 360):
        draw.rounded_rectangle((280, top, 400, top + 32), radius=12, fill=ink)
    return square
