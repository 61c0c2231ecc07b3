"""Make every link of an item absolute. Links to local files become media."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

import idna

from tidings.model.item import Media
from tidings.net import is_public_host
from tidings.sources.media import LocalFile, MediaError

_FILE = re.compile(r"\.(?:jpe?g|png|gif|webp|avif|pdf|docx?|xlsx?|pptx?|zip|mp[34])$", re.IGNORECASE)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AUTHORITY = re.compile(r"[A-Za-z0-9.\-_:\[\]@%~!$&'()*+,;=]+")
_FILE_NAME = re.compile(
    r"\.(?!html?$|php$|aspx?$|rss$|atom$|json$|opml$|xml$|com$|org$|net$)[A-Za-z][A-Za-z0-9]{1,4}$", re.IGNORECASE
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# Buttons of a website, which have no function in a mail.
_NOT_MISSED = re.compile(
    r"(?:javascript|about|whatsapp|viber|tg|sms|fb-messenger|skype|intent|weixin|line):", re.IGNORECASE
)
# URLs from "share" or "copy link" in services for files and photos and in encyclopedias.
_SHARED_PAGE = re.compile(
    r"https?://(?:drive\.google\.com/(?:file|open|drive)|docs\.google\.com/|photos\.google\.com/|photos\.app\.goo\.gl/"
    r"|(?:www\.)?dropbox\.com/(?!.*\b(?:raw|dl)=1)|1drv\.ms/|onedrive\.live\.com/(?!download)|[\w-]+\.sharepoint\.com/:"
    r"|(?:www\.)?icloud\.com/|disk\.yandex\.\w+/|yadi\.sk/|cloud\.mail\.ru/|we\.tl/|wetransfer\.com/"
    r"|imgur\.com/(?:a|gallery)/|(?:www\.)?flickr\.com/photos/|(?:www\.)?instagram\.com/p/|unsplash\.com/photos/"
    r"|[\w.]+\.wiki[mp]edia\.org/wiki/)",
    re.IGNORECASE,
)
_MEND_FILE = "put the file beside the item, or correct the name (capital letters count)"


class FileMeasurer(Protocol):
    """Measures local files and remembers all paths that a document depends on."""

    def measure(self, path: Path, *, picture: bool) -> LocalFile: ...

    def note_missing(self, path: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class LinkProblem:
    """A problem with one URL. `value` is the URL as written, to find its line."""

    value: str
    message: str
    mend: str = ""
    level: str = "error"


@dataclass(frozen=True, slots=True)
class ContentLocation:
    """The place of a document. Paths are real. `url` is the site's, with a final slash. `folder` is the document's."""

    root: Path
    content: Path
    folder: Path
    url: str


def encode_url(value: str) -> str | None:
    """Return an http(s) URL in ASCII (RFC 3986): percent-encoded, the host in IDNA. None for other values."""
    try:
        parts = urlsplit(value.strip())
        authority = parts.netloc
        if not authority.isascii():
            host = idna.encode(parts.hostname or "", uts46=True).decode("ascii")
            authority = host + (f":{parts.port}" if parts.port else "")
        _ = parts.port
    except (ValueError, UnicodeError):
        return None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or not _AUTHORITY.fullmatch(authority):
        return None
    return urlunsplit(
        (parts.scheme.lower(), authority, _quote(parts.path), _quote(parts.query), _quote(parts.fragment))
    )


def _quote(text: str) -> str:
    return quote(_STRAY_PERCENT.sub("%25", text), safe="%:@!$&'()*+,;=~-._/?")


def _quote_reference(value: str) -> str:
    path, hash_, fragment = value.partition("#")
    path, mark, query = path.partition("?")
    return _quote(path).replace("?", "%3F") + mark + _quote(query) + hash_ + _quote(fragment)


class LinkResolver(ABC):
    """Makes the links of one body absolute. Collects problems and `sizes`, the measured files by URL."""

    copies_pictures = False
    """Whether Tidings keeps copies of external pictures, so that their sites do not see the readers."""

    def __init__(self) -> None:
        self.sizes: dict[str, LocalFile] = {}
        self.problems: list[LinkProblem] = []
        self.decorations: set[str] = set()
        """Addresses of avatars and of other pictures that are never a story's picture."""

    def absolute(self, value: str, *, picture: bool = False) -> str | None:
        """Return the absolute address, or None if the link must be removed. Never raises."""
        target = re.sub(r"[\x00-\x1f]", "", value).strip()
        if re.match(r"https?:\\", target, re.IGNORECASE):
            target = target.replace("\\", "/")  # as browsers read it (WHATWG URL, "special" schemes)
        if picture and target.startswith("#"):
            self.problems.append(_left_out(target, value, picture=True, level="error"))
        if not target or target.startswith("#"):
            return None  # ids are removed from bodies, so the link would lead nowhere
        if target.lower().startswith(("mailto:", "tel:")) and not picture:
            return _quote(target)
        return self._resolve(target, value, picture=picture)

    @abstractmethod
    def _resolve(self, target: str, written: str, *, picture: bool) -> str | None:
        """Resolve a cleaned target; `written` is its original text."""


class WebLinks(LinkResolver):
    """The links of a web page with the address `base`."""

    copies_pictures = True

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base

    def _resolve(self, target: str, written: str, *, picture: bool) -> str | None:
        try:
            url = encode_url(urljoin(self._base, target))
        except ValueError:
            url = None
        if url is None and (picture or not _NOT_MISSED.match(target)):
            self.problems.append(_left_out(target, written, picture=picture, level="warning"))
        return url


def _left_out(target: str, written: str, *, picture: bool, level: str) -> LinkProblem:
    """Return the problem for a URL that no reader could open, with the remedy."""
    scheme = target.partition(":")[0].lower()
    mend = "use an http, https, mailto or tel address"
    if scheme in ("file", "blob", "cid", "webkit-fake-url", "x-apple-ql-id") or len(scheme) == 1:
        mend = "put the file beside the item, and write its name alone"
    elif scheme == "data":
        mend = "save it as a file beside the item, and write its name"
    elif scheme == "ftp":
        mend = "put the file beside the item, or on a page with an https address"
    what = "picture" if picture else "address"
    return LinkProblem(written, f"the {what} '{unquote(written)[:80]}' is left out", mend, level)


class FileLinks(LinkResolver):
    """The links of one local document, and its media by address."""

    def __init__(self, location: ContentLocation, files: FileMeasurer) -> None:
        super().__init__()
        self.location = location
        self.files = files
        self.media: dict[str, Media] = {}

    def _resolve(self, target: str, written: str, *, picture: bool) -> str | None:
        if target.startswith(("//", "\\\\")):
            target = "https:" + target.replace("\\", "/")
        if re.match(r"www\.[\w-]+\.[\w-]", target):
            target = f"https://{target}"
        if not picture and re.fullmatch(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", target) and not _FILE.search(target):
            return _quote(f"mailto:{target}")
        if _SCHEME.match(target):
            encoded = encode_url(target)
            if encoded is None:
                level = "error" if picture else "warning"
                self.problems.append(_left_out(target, written, picture=picture, level=level))
            elif picture and _SHARED_PAGE.match(encoded):
                message = f"{encoded[:80]} is a page around a picture, not the picture"
                self._report(written, message, "download the picture and put the file beside the item", "warning")
            elif not is_public_host(urlsplit(encoded).hostname or "") and not encoded.startswith(self.location.url):
                message = f"readers cannot open {encoded[:80]}, which is an address of your own network"
                self._report(written, message, "write its public address, or put the file beside the item", "warning")
            return encoded
        return self._resolve_file(target, written, picture)

    def _report(self, value: str, message: str, mend: str, level: str = "error") -> None:
        self.problems.append(LinkProblem(value, message, mend, level))

    def _resolve_file(self, value: str, written: str, picture: bool) -> str | None:
        """Resolve a path beside the document or in the content folder. With a leading slash it may also be a page."""
        value = value.replace("\\", "/")
        is_rooted = value.startswith("/")
        place, _, fragment = value.partition("#")
        path = unquote(place.partition("?")[0])
        # A file may also have # ? or % in its name, as typed or as Markdown encodes it.
        names = dict.fromkeys((path, unquote(place), unquote(value), value))
        try:
            for name in names:
                file = self._find(name.lstrip("/")) if name.strip("/") else None
                if file is not None:
                    media_url = self._add_media(file, picture)
                    is_part = fragment and not picture and "#" not in file.name
                    return f"{media_url}#{_quote(fragment)}" if is_part else media_url
        except MediaError as error:
            self._report(written, str(error), error.mend)
            return None
        name = path.rsplit("/", 1)[-1]
        url = encode_url(urljoin(self.location.url, _quote_reference(value)))
        if is_rooted and not picture and not _FILE_NAME.search(name):
            return url
        level = "warning" if is_rooted else "error"
        if picture:
            # The picture at this path of the site may come from elsewhere.
            self._report(written, f"there is no file {path!r} in the content folder", _MEND_FILE, level)
            return url if is_rooted else None
        if name.lower().endswith(".md"):
            message = f"{path!r} is the file of an item, which readers cannot open"
            self._report(written, message, "write the address of its page, for example /en/NAME/")
            return None
        if "." in name.strip("."):
            message = f"there is no file {path!r} in the content folder; the link leads to {url}"
            self._report(written, message, "put the file beside the item, or write the whole address", "warning")
        return url

    def _find(self, path: str) -> Path | None:
        # macOS stores é and й as two characters, other systems as one (Unicode NFD and NFC).
        forms = dict.fromkeys((path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)))
        candidates = [folder / form for folder in (self.location.folder, self.location.content) for form in forms]
        if path.startswith(f"{self.location.content.name}/"):
            candidates.append(self.location.content.parent / path)
        if "/" not in path:
            # Obsidian writes only the name, in whatever folder the file is.
            candidates.append(self.location.content / "media" / path)
        for candidate in candidates:
            try:
                real = candidate.resolve(strict=True)
            except (OSError, ValueError, RuntimeError):
                self.files.note_missing(candidate)
                continue
            if not real.is_relative_to(self.location.content):
                raise MediaError(f"{path!r} leads out of the content folder", "copy the file into the content folder")
            if real.is_file():
                return real
        return None

    def _add_media(self, real: Path, picture: bool) -> str:
        inside = real.relative_to(self.location.content)
        if any(part.startswith(".") for part in inside.parts):
            raise MediaError(f"{inside} is a hidden file", "rename it without the leading dot")
        if real.suffix.lower() == ".md":
            message = f"{inside} is the file of an item, which readers cannot open"
            raise MediaError(message, "write the address of its page")
        if not real.name.isprintable():
            raise MediaError(
                f"{real.name!r} has characters in its name that cannot be in an address", "rename the file"
            )
        measured = self.files.measure(real, picture=picture)
        digest = measured.digest[:16]
        url = f"{self.location.url}media/{digest}/{quote(real.name, safe='')}"
        path = real.relative_to(self.location.root).as_posix()
        self.media[url] = Media(digest, real.name, path, measured.media_type, measured.length)
        self.sizes[url] = measured
        return url
