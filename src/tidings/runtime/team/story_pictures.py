"""A picture that somebody adds to a story: made smaller, freed of its hidden data, and written beside the story."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from PIL import Image, ImageCms, ImageOps

from tidings.child_process import ChildError, run_in_child
from tidings.config.yaml_text import Sequence as YamlSequence
from tidings.model.errors import InputError
from tidings.model.text import clean, one_line, shorten_slug, slugify
from tidings.pipeline.deliver.thumbnails import Thumbnails
from tidings.runtime.newsroom import Runtime
from tidings.runtime.team import files, stories
from tidings.sources.folder.front_matter import change_front_matter, node_text, read_front_matter
from tidings.sources.folder.source import FolderSource
from tidings.sources.media import FORMATS, MAX_PIXELS, SAVE_AGAIN, MediaError, measure_picture

LARGEST_PICTURE = 20_000_000
"""Bytes of an uploaded picture."""
_LONGEST_SIDE = 2_000
"""Pixels. Enough for a page on a sharp screen; mails get a smaller copy."""
_PHOTOS = ("JPEG", "MPO", "HEIF")
"""Pillow's names of what cameras write. Further pictures in such a file are no animation."""
_THUMBNAIL = 20_000
"""Bytes of a small picture in the editor."""
_SECONDS = 20
_QUALITY = 86
_MEDIA = "media"
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Brands of ISO/IEC 23008-12. Phones write the first one."""
_KEYS = {"src", "alt", "caption", "credit"}
_IN_TEXT = re.compile(r"!\[((?:[^\[\]\\\n]|\\.)*)\]\(([^()\s]+)\)")


@dataclass(frozen=True, slots=True)
class StoryPicture:
    """A picture of a story: its own one (`images`), or one in its text."""

    src: str
    alt: str
    credit: str = ""
    in_text: bool = False


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


def make_thumbnail(runtime: Runtime, source: FolderSource, name: str, src: str) -> bytes | None:
    """Return a small JPEG of a picture as the story `name` writes it, or None if the story cannot have it."""
    item, _ = stories.check_story(source, name, f"---\ntitle: x\nimages: [{{src: {json.dumps(src)}}}]\n---\n")
    if item is None or not item.media:
        return None
    newsroom = runtime.newsroom
    return Thumbnails(newsroom.public, newsroom.site.url).from_file(newsroom.root / item.media[0].path, _THUMBNAIL)


def prepare_request(data: bytes) -> dict[str, Any]:
    """Turn, scale and write a picture again, so that only its pixels stay. Runs in the child; returns JSON."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _open_picture(data) as picture:
                if getattr(picture, "n_frames", 1) > 1 and picture.format not in _PHOTOS:
                    return {"problem": "it is an animation; save one still picture, or link a video"}
                if picture.width * picture.height > MAX_PIXELS:
                    return {"problem": "it has too many pixels"}
                is_photo = picture.format in _PHOTOS
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


def _open_picture(data: bytes) -> Image.Image:
    """Open a picture that can be decoded whole. Raises MediaError."""
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIC or b"avif" in data[:64]:
        measure_picture(io.BytesIO(data), "it")
        return Image.open(io.BytesIO(data), formats=FORMATS)
    import pillow_heif  # imported late, and only in the child: nothing else decodes HEIC

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    try:
        picture = Image.open(io.BytesIO(data), formats=("HEIF",))
        if picture.width * picture.height <= MAX_PIXELS:
            picture.load()
    except Exception:  # the library raises nearly anything for bytes that are not a picture
        raise MediaError("it is not a readable picture (it is damaged or cut off)", SAVE_AGAIN) from None
    return picture


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


def place_picture(text: str, path: str, alt: str, credit: str, at: int | None = None) -> str:
    """Return the story's text with the picture: as its own picture if it has none yet, else at the end of the text.

    With `at`, it becomes the story's own picture at this position. Raises ValueError if the front matter cannot be
    read.
    """
    plain = text.replace("\r\n", "\n")
    front, _ = read_front_matter(clean(plain.removeprefix("\ufeff")), "story")
    if front is None:
        raise ValueError("the front matter cannot be read")
    images = front.values.get("images")
    if at is not None or images is None or (isinstance(images, YamlSequence) and not images.items):
        own = _own(plain)
        entry = {"src": path, "alt": one_line(alt)} | ({"credit": one_line(credit)} if credit else {})
        own.insert(at or 0, entry)
        changed = set_pictures(plain, json.dumps(own))
    else:
        changed = f"{plain.rstrip()}\n\n{_markdown(path, alt)}\n"
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
    value = f"[{', '.join(f'{{{entry}}}' for entry in written)}]" if written else ""
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


def list_pictures(text: str) -> list[StoryPicture]:
    """Return the pictures of a story: its own ones, then those in its text.

    Raises ValueError if the file cannot be read, or its own pictures have more than `set_pictures` can write.
    """
    form = stories.read_story(text)
    if form is None:
        raise ValueError("the front matter cannot be read")
    own = [StoryPicture(one.get("src", ""), one.get("alt", ""), one.get("credit", "")) for one in _own(text)]
    found = _IN_TEXT.finditer(form.body)
    return own + [StoryPicture(one[2], re.sub(r"\\(.)", r"\1", one[1]), in_text=True) for one in found]


def replace_picture(text: str, number: int, picture: StoryPicture | None) -> str:
    """Return the text of a story with other words for a picture of `list_pictures`, or without it.

    Raises ValueError as `list_pictures` does.
    """
    own = _own(text)
    if number < len(own):
        entry = own.pop(number)
        if picture is not None:
            words = {"alt": one_line(picture.alt), "credit": one_line(picture.credit)}
            own.insert(number, {key: value for key, value in {**entry, **words}.items() if value or key == "alt"})
        return set_pictures(text, json.dumps(own))
    form = stories.read_story(text)
    if form is None:
        raise ValueError("the front matter cannot be read")
    found = list(_IN_TEXT.finditer(form.body))[number - len(own)]
    before, after = form.body[: found.start()], form.body[found.end() :]
    if picture is not None:
        body = before + _markdown(picture.src, picture.alt) + after
    elif before.endswith("\n\n") and after[:1] in ("", "\n"):
        body = before.rstrip("\n") + "\n\n" + after.lstrip("\n")
    else:
        body = before + after
    return stories.write_story(text, replace(form, body=body))


def _own(text: str) -> list[dict[str, str]]:
    """Return the story's own pictures. Raises ValueError if they have other keys, which would be lost."""
    front, _ = read_front_matter(clean(text.removeprefix("\ufeff")), "story")
    node = front.values.get("images") if front is not None else None
    pictures = list(stories.read_entries(node, "src"))
    if any(not picture.keys() <= _KEYS for picture in pictures):
        raise ValueError("`images` has other keys than src, alt, caption and credit. Change it in the text of the file")
    return pictures


def _markdown(path: str, alt: str) -> str:
    words = one_line(alt).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return f"![{words}]({path})"
