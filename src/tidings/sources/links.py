"""Every link of an item made absolute; local files become media."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

import idna

from tidings.model.item import Media
from tidings.sources.media import LocalFile, MediaError

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AUTHORITY = re.compile(r"[A-Za-z0-9.\-_:\[\]@%~!$&'()*+,;=]+")
_UNRESERVED = "%:@!$&'()*+,;=~-._/"
_MEND_SCHEME = "use an http, https, mailto or tel address"


class FileMeasurer(Protocol):
    """What measures local files; remembers which were asked for."""

    def measured(self, path: Path, *, picture: bool) -> LocalFile: ...

    def missed(self, path: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class LinkProblem:
    """What is wrong with one address; `value` is the address as written, to find its line."""

    value: str
    message: str
    mend: str = ""
    level: str = "error"


@dataclass(frozen=True, slots=True)
class ContentLocation:
    """Where a document stands. Paths are real; `url` ends with a slash; `folder` is the document's own."""

    root: Path
    content: Path
    folder: Path
    url: str


def encode_url(value: str) -> str | None:
    """An http or https address in ASCII (RFC 3986): all else percent-encoded, the host in IDNA; None if it is none."""
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
        (parts.scheme.lower(), authority, _quoted(parts.path), _quoted(parts.query), _quoted(parts.fragment))
    )


def _quoted(text: str) -> str:
    return quote(_STRAY_PERCENT.sub("%25", text), safe=_UNRESERVED + "?")


class LinkResolver(Protocol):
    """What makes the addresses of one body absolute."""

    sizes: dict[str, LocalFile]
    faults: list[LinkProblem]

    def absolute(self, value: str, *, picture: bool = False) -> str | None:
        """None where the address has to go."""


class WebLinks:
    """The addresses of a page of the web, whose own address is `base`. What is no address is dropped without a word."""

    def __init__(self, base: str) -> None:
        self._base = base
        self.sizes: dict[str, LocalFile] = {}
        self.faults: list[LinkProblem] = []

    def absolute(self, value: str, *, picture: bool = False) -> str | None:
        """`value` as an absolute address."""
        value = re.sub(r"[\x00-\x1f]", "", value).strip()
        if not value or value.startswith("#"):
            return None
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", value)
        if scheme and scheme[1].lower() in ("mailto", "tel") and not picture:
            return quote(_STRAY_PERCENT.sub("%25", value), safe=_UNRESERVED + "?")
        try:
            return encode_url(urljoin(self._base, value))
        except ValueError:
            return None


class FileLinks:
    """The addresses of one document: makes them absolute, and gathers its media and what was wrong."""

    def __init__(self, place: ContentLocation, files: FileMeasurer) -> None:
        self.place = place
        self.files = files
        self.media: dict[str, Media] = {}
        self.sizes: dict[str, LocalFile] = {}
        self.faults: list[LinkProblem] = []

    def absolute(self, value: str, *, picture: bool = False) -> str | None:
        """`value` as an absolute address; None where it has to go. Faults are gathered, nothing is raised."""
        written = value
        value = re.sub(r"[\x00-\x1f]", "", value).strip()
        if value.startswith("#") or not value:
            return None  # ids are not kept, so it would lead nowhere
        if value.startswith(("//", "\\\\")):
            value = "https:" + value.replace("\\", "/")
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", value)
        if scheme:
            return self._outside(value, scheme[1].lower(), written, picture)
        if value.startswith("/"):
            return encode_url(urljoin(self.place.url, _quoted_reference(value)))
        return self._relative(value, written, picture)

    def _outside(self, value: str, scheme: str, written: str, picture: bool) -> str | None:
        if scheme in ("mailto", "tel") and not picture:
            return quote(_STRAY_PERCENT.sub("%25", value), safe=_UNRESERVED + "?")
        encoded = encode_url(value)
        if encoded is None:
            self.faults.append(
                LinkProblem(written, f"the address {written[:80]!r} is left out", _MEND_SCHEME, "warning")
            )
        return encoded

    def _relative(self, value: str, written: str, picture: bool) -> str | None:
        value = value.replace("\\", "/")
        path, _, fragment = value.partition("#")
        path = unquote(path.partition("?")[0])
        try:
            found = self._find(path)
            if found is not None:
                url = self._local(found, picture)
                return f"{url}#{_quoted(fragment)}" if fragment and not picture else url
        except MediaError as error:
            self.faults.append(LinkProblem(written, str(error), error.mend))
            return None
        name = path.rsplit("/", 1)[-1]
        if picture:
            mend = "put the file beside the item, or mend the name (capital letters count)"
            self.faults.append(LinkProblem(written, f"there is no file {path!r} in the content folder", mend))
            return None
        if name.lower().endswith(".md"):
            self._refuse_item(written, path)
            return None
        url = encode_url(urljoin(self.place.url, _quoted_reference(value)))
        if "." in name.strip("."):
            message = f"there is no file {path!r} in the content folder; taken as {url}"
            self.faults.append(
                LinkProblem(written, message, "put the file beside the item, or write the whole address", "warning")
            )
        return url

    def _refuse_item(self, written: str, path: str) -> None:
        mend = "write the address of its page, for example /en/NAME/"
        self.faults.append(LinkProblem(written, f"{path!r} is the file of an item, which readers cannot open", mend))

    def _find(self, path: str) -> Path | None:
        for folder in (self.place.folder, self.place.content):
            candidate = folder / path
            try:
                real = candidate.resolve(strict=True)
            except (OSError, ValueError, RuntimeError):
                self.files.missed(candidate)
                continue
            if not real.is_relative_to(self.place.content):
                raise MediaError(f"{path!r} leads out of the content folder", "copy the file into the content folder")
            if real.is_file():
                return real
        return None

    def _local(self, real: Path, picture: bool) -> str | None:
        inside = real.relative_to(self.place.content)
        if any(part.startswith(".") for part in inside.parts):
            raise MediaError(f"{inside} is a hidden file", "rename it without the leading dot")
        if real.suffix.lower() == ".md":
            raise MediaError(
                f"{inside} is the file of an item, which readers cannot open", "write the address of its page"
            )
        if not real.name.isprintable():
            raise MediaError(f"{real.name!r} has characters in its name that no address can carry", "rename the file")
        measured = self.files.measured(real, picture=picture)
        digest = measured.digest[:16]
        url = f"{self.place.url}media/{digest}/{quote(real.name, safe='')}"
        path = real.relative_to(self.place.root).as_posix()
        self.media[url] = Media(digest, real.name, path, measured.media_type, measured.length)
        self.sizes[url] = measured
        return url


def _quoted_reference(value: str) -> str:
    path, hash_, fragment = value.partition("#")
    path, mark, query = path.partition("?")
    return _quoted(path).replace("?", "%3F") + mark + _quoted(query) + hash_ + _quoted(fragment)
