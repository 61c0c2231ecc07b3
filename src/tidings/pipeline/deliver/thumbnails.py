"""Make our pictures small enough for the card of a post. If that fails, the post has no picture."""

from __future__ import annotations

import base64
import io
import warnings
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from PIL import Image, ImageOps

from tidings.child_process import ChildError, run_in_child
from tidings.sources.media import open_plain

_MAX_SIDE = 1200
"""Pixels of the longer side: twice the size of a card, for dense screens."""
_QUALITIES = (85, 70, 55)
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
_MAX_BYTES = 50_000_000
"""A larger file is not read: no picture in a story is."""
_SECONDS = 20
"""Limit of processor time: a picture of 60 million pixels takes a few seconds."""


class Thumbnails:
    """Callable with a URL and the maximum of bytes, as `Attempt.picture` is."""

    def __init__(self, public: Path, site: str) -> None:
        """`public` is the folder with the media, `site` the base URL with a final slash."""
        self._public = public
        self._media = f"{site}media/"
        self._made = lru_cache(maxsize=8)(self._make)

    def __call__(self, url: str, most: int) -> bytes | None:
        """Return a JPEG without metadata, or None if the picture is from another site or cannot be converted."""
        if not url.startswith(self._media):
            return None
        digest, _, name = unquote(url.removeprefix(self._media)).partition("/")
        if not digest.isalnum() or not name or "/" in name or name.startswith("."):
            return None
        return self._made(self._public / "media" / digest / name, most)

    def from_file(self, path: Path, most: int) -> bytes | None:
        """Return the same for a file at any path."""
        return self._made(path, most)

    def _make(self, path: Path, most: int) -> bytes | None:
        try:
            with open_plain(path) as file:
                data = file.read(_MAX_BYTES + 1)
            made = run_in_child(shrink_request, most.to_bytes(8) + data, _SECONDS) if len(data) <= _MAX_BYTES else ""
        except (OSError, ChildError):
            return None
        return base64.b64decode(made) or None


def shrink_request(data: bytes) -> str:
    """Shrink a picture to the number of bytes in the first eight. Returns base64, or '' if that cannot be done."""
    most, picture_bytes = int.from_bytes(data[:8]), data[8:]
    try:
        with warnings.catch_warnings():
            # Pictures that are too large were refused with their item. Pillow's own limit would only warn.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(picture_bytes), formats=_FORMATS) as picture:
                picture.draft("RGB", (_MAX_SIDE, _MAX_SIDE))
                return base64.b64encode(_fitted(_on_white(ImageOps.exif_transpose(picture)), most) or b"").decode()
    except MemoryError:
        raise
    except Exception:  # Pillow raises nearly anything for bytes that are not a picture
        return ""


def _on_white(picture: Image.Image) -> Image.Image:
    """Replace transparency by white, because a JPEG would show it black."""
    if picture.mode in ("RGB", "L"):
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    clear.thumbnail((_MAX_SIDE, _MAX_SIDE))  # several copies of the full size would fill the child's memory
    ground = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(ground, clear).convert("RGB")


def _fitted(picture: Image.Image, most: int) -> bytes | None:
    side = _MAX_SIDE
    while side >= 100:
        smaller = picture.copy()
        smaller.thumbnail((side, side))
        for quality in _QUALITIES:
            out = io.BytesIO()
            smaller.save(out, "JPEG", quality=quality, optimize=True)
            if out.tell() <= most:
                return out.getvalue()
        side //= 2
    return None
