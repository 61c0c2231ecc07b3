"""Local files that items use: opened without following symlinks, hashed and measured."""

from __future__ import annotations

import hashlib
import io
import json
import mimetypes
import os
import re
import stat
import warnings
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from PIL import Image as PillowImage
from PIL import PngImagePlugin

from tidings.child_process import ChildError, run_in_child

PICTURE_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with further pictures after it, as phones write it
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
}
"""Pictures that browsers show: media type by Pillow's format name. Mails get a JPEG copy of the last two."""
FORMATS = tuple(name for name in PICTURE_TYPES if name != "MPO")
"""Names of Pillow's readers. The reader for JPEG also reads MPO."""
# Photo editors put megabytes of XMP into a PNG; Pillow refuses more than 1 MB of it by default.
PngImagePlugin.MAX_TEXT_CHUNK = 16_000_000
MAX_PIXELS = 60_000_000
"""A picture of more pixels is refused before it is decoded."""
SECONDS = 5
"""Most processor time for an external picture: a JPEG of 10 MB may claim to have 100,000 scans."""

# Most of these files could run scripts on the newsroom's own origin. The others are not content.
REFUSED = {".html", ".htm", ".xhtml", ".svg", ".js", ".mjs", ".xml", ".yaml", ".yml", ".db", ".key", ".pem", ".j2"}

_TYPES = mimetypes.MimeTypes()  # only the built-in table, so that output does not differ between machines
for _suffix, _type in {
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".epub": "application/epub+zip",
    ".md": "text/markdown",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
}.items():
    _TYPES.add_type(_type, _suffix)

Signature = tuple[int, int, int, int, int]


MAX_PICTURE_BYTES = 100_000_000
MAX_FILE_BYTES = 1_000_000_000
"""Most bytes of any other file, such as a video: its hash is read in blocks, in a thread of the main process."""
SAVE_AGAIN = "save it again as JPEG or PNG"
_OTHER_FILES = (
    (re.compile(rb"\A\s*\Z"), "it is empty"),
    (re.compile(rb"\A(?:\x89PNG|\xff\xd8|GIF8|RIFF.{4}WEBP|.{4}ftypavi)", re.DOTALL), "it is damaged or cut off"),
    (re.compile(rb"\A.{4}ftyp(?:he[ivx]|mif1|msf1)", re.DOTALL), "it is a HEIC photo, which browsers do not show"),
    (
        re.compile(rb"\A\s*(?:<\?xml[^<>]*>\s*)?(?:<![^<>]*>\s*)*<svg\b", re.IGNORECASE),
        "it is an SVG drawing, which can hold scripts",
    ),
    (re.compile(rb"\A\s*<(?:!doctype html|html|head|body)", re.IGNORECASE), "it is a web page"),
    (
        re.compile(rb"\A(?:\xff\x0a|.{4}JXL |.{4}jP  )", re.DOTALL),
        "it is JPEG XL or JPEG 2000, which browsers do not show",
    ),
    (re.compile(rb"\A%PDF"), "it is a PDF"),
    (re.compile(rb"\A(?:II\*\x00|MM\x00\*)"), "it is a TIFF, which browsers do not show"),
    (re.compile(rb"\ABM"), "it is a BMP, which is too large for mails"),
    (re.compile(rb"\A\x00\x00\x01\x00"), "it is an icon"),
    (re.compile(rb"\A(?:8BPS|%!PS)"), "it is a file of a drawing program"),
    (re.compile(rb"\A(?:PK\x03\x04|\xd0\xcf\x11\xe0)"), "it is an Office or ZIP file"),
    (re.compile(rb"\A(?:.{4}ftyp|\x1a\x45\xdf\xa3)", re.DOTALL), "it is a video"),
    (re.compile(rb"\Aversion https://git-lfs"), "Git LFS has not fetched it yet"),
)
"""First bytes of files that people mistake for pictures, and what they are. The first match counts."""


class MediaError(Exception):
    """A file that cannot be used. `mend` is the remedy."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A measured file: hex SHA-256, size in bytes, media type, and pixels if it is a picture."""

    digest: str
    length: int
    media_type: str
    width: int | None = None
    height: int | None = None


def guess_media_type(name: str) -> str | None:
    """Return the media type of a file by its name, or None for an unknown ending."""
    return _TYPES.guess_type(name)[0]


def signature(status: os.stat_result) -> Signature:
    """Return a value that changes whenever somebody writes to the file."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def open_plain(path: Path) -> BufferedReader:
    """Open a regular file for reading. Raises OSError for a symlink, a pipe or a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path.name} is not a plain file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def measure(path: Path, *, picture: bool) -> LocalFile:
    """Hash a file and, if it is used as a picture, decode it. `path` is real (no symlinks). Raises MediaError."""
    if path.suffix.lower() in REFUSED:
        raise MediaError(f"{path.name} cannot be served to readers", "use a JPEG, PNG, GIF, WebP or PDF file")
    try:
        with open_plain(path) as file:
            length = os.fstat(file.fileno()).st_size
            if picture and length > MAX_PICTURE_BYTES:
                raise MediaError(f"{path.name} is larger than 100 MB", "save it smaller, as JPEG or PNG")
            if length > MAX_FILE_BYTES:
                raise MediaError(f"{path.name} is larger than 1 GB", "put it on another site, and link to it")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            media_type = guess_media_type(path.name) or "application/octet-stream"
            width = height = None
            if picture:
                file.seek(0)
                width, height, media_type = measure_picture_in_child(file.read(), path.name)
    except OSError as error:
        raise MediaError(f"{path.name} cannot be read: {error.strerror or error}", "save the file again") from None
    return LocalFile(digest, length, media_type, width, height)


def measure_picture(file: IO[bytes], name: str) -> tuple[int, int, str]:
    """Return width, height and media type of a complete picture. Raises MediaError for other files."""
    try:
        with warnings.catch_warnings():
            # Pillow's own limit only warns below twice its size. Ours is lower than both.
            warnings.simplefilter("ignore")
            with PillowImage.open(file, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise MediaError(f"{name} has {width} x {height} pixels", "save it with at most 6000 pixels a side")
                media_type = PICTURE_TYPES[picture.format or ""]
                if _read_orientation(picture) >= 5:  # shown turned by 90 degrees
                    width, height = height, width
                picture.draft("RGB", (64, 64))  # decodes a JPEG at an eighth, and still notices a truncated end
                picture.load()
    except MediaError:
        raise
    except PillowImage.DecompressionBombError:
        raise MediaError(f"{name} has too many pixels", "save it with at most 6000 pixels a side") from None
    except Exception:  # Pillow raises nearly anything for bytes that are not a picture
        file.seek(0)
        raise MediaError(f"{name} is not a readable picture: {_describe_bytes(file.read(1_000))}", SAVE_AGAIN) from None
    return width, height, media_type


def _describe_bytes(begin: bytes) -> str:
    """Describe a file that is not a picture, by its first bytes."""
    for pattern, description in _OTHER_FILES:
        if pattern.match(begin):
            return description
    return "browsers do not know its format"


def _read_orientation(picture: PillowImage.Image) -> int:
    """Return the EXIF orientation, 1 to 8. Some programs write it as text, and others write nonsense."""
    try:
        written = picture.getexif().get(0x0112, 1)
        return int(str(written[0] if isinstance(written, tuple) else written).strip())
    except (ValueError, TypeError, IndexError, SyntaxError, OSError):
        return 1


def measure_picture_in_child(body: bytes, name: str = "it") -> tuple[int, int, str]:
    """Measure a picture in a child process with limits of time and memory. Raises MediaError with the name."""
    try:
        result = run_in_child(measure_request, json.dumps(name).encode() + b"\n" + body, SECONDS)
    except ChildError:
        problem = "it takes" if name == "it" else f"{name} takes"
        raise MediaError(f"{problem} too much time or memory to read", SAVE_AGAIN) from None
    if "problem" in result:
        raise MediaError(result["problem"], result["mend"])
    return result["width"], result["height"], result["type"]


def measure_request(data: bytes) -> dict[str, Any]:
    """Measure the bytes of a picture. Returns JSON. Runs in a child process."""
    name, _, body = data.partition(b"\n")
    try:
        width, height, media_type = measure_picture(io.BytesIO(body), json.loads(name))
    except MediaError as error:
        return {"problem": str(error), "mend": error.mend}
    return {"width": width, "height": height, "type": media_type}
