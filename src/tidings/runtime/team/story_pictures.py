"""A picture that somebody adds to a story: made smaller, freed of its hidden data, and written beside the story."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import warnings
from pathlib import PurePosixPath
from typing import Any

from PIL import Image, ImageCms, ImageOps

from tidings.child_process import ChildError, run_in_child
from tidings.config.yaml_text import Sequence as YamlSequence
from tidings.model.errors import InputError
from tidings.model.text import clean, one_line, shorten_slug, slugify
from tidings.runtime.newsroom import Runtime
from tidings.runtime.team import files
from tidings.sources.folder.front_matter import change_front_matter, node_text, read_front_matter
from tidings.sources.folder.source import FolderSource
from tidings.sources.media import FORMATS, MAX_PIXELS, MediaError, measure_picture

LARGEST_PICTURE = 20_000_000
"""Bytes of an uploaded picture."""
_LONGEST_SIDE = 2_000
"""Pixels. Enough for a page on a sharp screen; mails get a smaller copy."""
_SECONDS = 20
_QUALITY = 86
_MEDIA = "media"
_KEYS = {"src", "alt", "credit"}


def add_picture(runtime: Runtime, source: FolderSource, name: str, data: bytes, who: str) -> str:
    """Prepare an uploaded picture and write it into the folder `media` of the stories. Returns its path for the story.

    Nothing of the original stays: no place, no camera, no time. Raises InputError with what to do.
    """
    if len(data) > LARGEST_PICTURE:
        raise InputError(f"The picture has {len(data) / 1e6:,.1f} MB. Save it with at most 20 MB.")
    try:
        answer = run_in_child(prepare_request, data, _SECONDS)
    except ChildError as error:
        raise InputError(f"The picture cannot be used: {error}. Save it smaller, then try again.") from None
    if "problem" in answer:
        raise InputError(f"The picture cannot be used: {answer['problem']}.")
    prepared = base64.b64decode(answer["data"])
    stem = shorten_slug(slugify(PurePosixPath(name.replace("\\", "/")).stem) or "picture")
    digest = hashlib.sha256(prepared).hexdigest()[:8]
    own = f"{stem}-{digest}.{answer['ending']}"
    content = source.settings.path.strip("/")
    files.add_file(runtime.root, f"{content}/{_MEDIA}/{own}", prepared, who=who)
    return f"{_MEDIA}/{own}"


def prepare_request(data: bytes) -> dict[str, Any]:
    """Turn, scale and write a picture anew, so that only its pixels stay. Runs in the child; returns JSON."""
    try:
        measure_picture(io.BytesIO(data), "it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
                    return {"problem": "it is an animation; save one still picture, or link a video"}
                if picture.width * picture.height > MAX_PIXELS:
                    return {"problem": "it has too many pixels"}
                is_photo = picture.format in ("JPEG", "MPO")
                picture.draft("RGB", (2 * _LONGEST_SIDE, 2 * _LONGEST_SIDE))
                turned = ImageOps.exif_transpose(picture)
                has_alpha = turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info
                mode = "RGBA" if has_alpha else "RGB"
                pixels = _to_srgb(turned if turned.mode == mode else turned.convert(mode))
                pixels.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    except MediaError as error:
        return {"problem": f"{error}{f'; {error.mend}' if error.mend else ''}"}
    # A fresh picture has none of the old one's EXIF, XMP, comments and colour profile.
    fresh = Image.new(pixels.mode, pixels.size)
    fresh.paste(pixels)
    written = io.BytesIO()
    if is_photo or not has_alpha:
        fresh.convert("RGB").save(written, "JPEG", quality=_QUALITY, optimize=True, progressive=True)
        ending = "jpg"
        if not is_photo:  # a drawing or a screenshot is often smaller, and always sharper, as PNG
            drawn = io.BytesIO()
            fresh.save(drawn, "PNG", optimize=True)
            if len(drawn.getvalue()) < len(written.getvalue()):
                written, ending = drawn, "png"
    else:
        fresh.save(written, "PNG", optimize=True)
        ending = "png"
    return {"data": base64.b64encode(written.getvalue()).decode(), "ending": ending}


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Return the same colours without a colour profile. Phones write one of their own into each photo."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode != "RGB":
        return picture
    try:
        own, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, own, target) or picture
    except (ImageCms.PyCMSError, OSError):
        return picture


def place_picture(text: str, path: str, alt: str, credit: str) -> str:
    """Return the story's text with the picture: as its own picture if it has none yet, else at the end of the text.

    Raises ValueError if the front matter cannot be read.
    """
    plain = text.replace("\r\n", "\n")
    front, _ = read_front_matter(clean(plain.removeprefix("\ufeff")), "story")
    if front is None:
        raise ValueError("the front matter cannot be read")
    images = front.values.get("images")
    if images is None or (isinstance(images, YamlSequence) and not images.items):
        entry = {"src": path, "alt": one_line(alt)} | ({"credit": one_line(credit)} if credit else {})
        changed = set_pictures(plain, json.dumps([entry]))
    else:
        words = one_line(alt).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
        changed = f"{plain.rstrip()}\n\n![{words}]({path})\n"
    return changed.replace("\n", "\r\n") if "\r\n" in text else changed


def set_pictures(text: str, pictures: str) -> str:
    """Return a text whose own pictures are these: a JSON list of {src, alt, credit}. Raises ValueError for others."""
    entries = json.loads(pictures)
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and entry.keys() <= _KEYS and all(isinstance(value, str) for value in entry.values())
        for entry in entries
    ):
        raise ValueError("the form sent back other pictures than it showed")
    written = [
        ", ".join(f"{key}: {json.dumps(one_line(value), ensure_ascii=False)}" for key, value in entry.items())
        for entry in entries
    ]
    value = f"[{', '.join(f'{{{entry}}}' for entry in written)}]"
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    has_crlf = "\r\n" in text
    changed = change_front_matter(text.removeprefix("\ufeff").replace("\r\n", "\n"), {"images": value})
    return bom + (changed.replace("\n", "\r\n") if has_crlf else changed)


def read_pictures(text: str) -> str:
    """Return the story's own pictures as `set_pictures` takes them; empty if it has others than `add_picture` makes."""
    front, _ = read_front_matter(clean(text.removeprefix("\ufeff")), "story")
    node = front.values.get("images") if front is not None else None
    if node is None:
        return ""
    pictures = json.loads(node_text(node)) if isinstance(node, YamlSequence) else None
    is_ours = isinstance(pictures, list) and all(isinstance(each, dict) and each.keys() <= _KEYS for each in pictures)
    return json.dumps(pictures, ensure_ascii=False) if is_ours else ""
