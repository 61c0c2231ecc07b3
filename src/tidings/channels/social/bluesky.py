"""A Bluesky account, by com.atproto.repo.putRecord (docs.bsky.app, atproto.com/specs/record-key, .../lexicon)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import regex
from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import defer_unknown, quote_answer, read_object, send_request
from tidings.channels.uploads import upload_once
from tidings.channels.wording import Wording, fit
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import GuardedSession, HttpResponse

MAX_GRAPHEMES, MAX_BYTES = 300, 3_000
_POST = "app.bsky.feed.post"
_THUMBNAIL = 1_000_000
"""Bytes of a card's picture (app.bsky.embed.external)."""
_TITLE, _DESCRIPTION = 300, 1_000
_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_URI = re.compile(rf"at://(did:[a-z]+:[A-Za-z0-9._:%-]+)/{re.escape(_POST)}/([A-Za-z0-9._:~-]{{1,512}})")
_RECEIPT = re.compile(rf"({_URI.pattern}) ([a-z0-9]{{20,120}})")
_URL = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)\]»”’…']")
Piece = tuple[str, dict[str, str] | None]
"""Text, and what it is a facet of."""
_EXPIRED = ("ExpiredToken", "InvalidToken")


class Settings(ChannelSettings):
    """`type: bluesky`."""

    handle: Line = Field(description="The account, such as news.example.org.")
    password: SecretStr = Field(description="An app password, from Settings, Privacy: {env: NAME} or {file: PATH}.")
    server: SiteUrl = Field(default="https://bsky.social/", description="The account's server (PDS).")

    @field_validator("handle")
    @classmethod
    def _is_handle(cls, value: str) -> str:
        handle = value.removeprefix("@").lower()
        if not re.fullmatch(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", handle):
            raise ValueError(f"{value!r} is no handle; write it like news.example.org or unkz.bsky.social")
        return handle


@dataclass
class _Session:
    """Who we are to the server. Sessions are few in a day: one is kept until it ends."""

    did: str = ""
    token: SecretStr = field(default_factory=lambda: SecretStr(""))


class BlueskyChannel:
    """A record has a key that is ours: the same post again is the same record, at any time."""

    capabilities = Capabilities(
        max_length=MAX_GRAPHEMES, idempotency=Idempotency.NATIVE, replies=True, images=1, markup="facets"
    )

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)
        self._known = _Session()

    def prepare(self, post: Post) -> bytes:
        """The record but for the card's picture, which the server gives, and for what it answers."""
        wording = fit(post, lambda tried: _fits(_Text(tried).text))
        made = _Text(wording)
        record: dict[str, Any] = {
            "$type": _POST,
            "text": made.text,
            "createdAt": _moment(post.at),
            "langs": [post.language],
        }
        if made.facets:
            record["facets"] = made.facets
        body: dict[str, Any] = {"record": record}
        if post.items:
            first = post.items[0]
            body["card"] = {
                "uri": first.url,
                "title": shorten(first.title, _TITLE),
                "description": shorten(first.summary, _DESCRIPTION),
            }
            if first.image and first.image_alt:
                body["picture"] = first.image
        return json.dumps(body, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Graphemes of the text (UAX #29)."""
        return graphemes(json.loads(body)["record"]["text"])

    def text(self, body: bytes) -> str:
        """What people read, with the links written out, and the card."""
        given = json.loads(body)
        raw = given["record"]["text"].encode()
        parts, end = [], 0
        for facet in given["record"].get("facets", ()):
            link = facet["features"][0].get("uri")
            stop = facet["index"]["byteEnd"]
            parts.append(raw[end:stop].decode())
            if link and raw[facet["index"]["byteStart"] : stop].decode() != link:
                parts.append(f"\n{link}")
            end = stop
        card = given.get("card", {})
        return "\n\n".join(filter(None, ["".join(parts) + raw[end:].decode(), card.get("title"), card.get("uri")]))

    def card(self, body: bytes) -> Card | None:
        """Ours; Bluesky has no alt text for its picture."""
        given = json.loads(body)
        card = given.get("card")
        if card is None:
            return None
        return Card(card["uri"], card["title"], card["description"], given.get("picture", ""))

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Put the record under the key that is made of the post's own: a repeat changes nothing."""
        created = json.loads(body)["record"]["createdAt"]
        more: dict[str, Any] = {"createdAt": created}
        answered = _RECEIPT.fullmatch(attempt.reply_to)
        if answered is not None:
            first = {"uri": answered[1], "cid": answered[4]}
            more["reply"] = {"root": first, "parent": first}
        return self._put(body, attempt, record_key(attempt.key, created), more)

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Put another record in its place, as old as it was, and the same answer."""
        place = _RECEIPT.fullmatch(receipt)
        if place is None:
            return Outcome(Verdict.REJECTED, reason="there is no address of a post of ours")
        key = place[3]
        found = self._record(quote(place[2]), key)
        if isinstance(found, Outcome):
            return defer_unknown(found)
        value = read_object(found).get("value")
        kept = (
            {name: value[name] for name in ("createdAt", "reply") if name in value} if isinstance(value, dict) else {}
        )
        if found.status != 200 or not isinstance(kept.get("createdAt"), str):
            return Outcome(Verdict.REJECTED, reason="the post is no longer there")
        return self._put(body, attempt, key, kept)

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete the record; the server says yes, too, where there is none."""
        place = _RECEIPT.fullmatch(receipt)
        if place is None:
            return Outcome(Verdict.REJECTED, reason="there is no address of a post of ours")
        wanted = {"collection": _POST, "rkey": place[3]}
        answer = self._ask("POST", "com.atproto.repo.deleteRecord", wanted)
        if isinstance(answer, Outcome):
            return answer
        if answer.status != 200:
            return self._refused(answer)
        return Outcome(Verdict.ACCEPTED, receipt=receipt, via=self.name)

    def receipt_at(self, url: str) -> str:
        """Of /profile/NAME/post/KEY: the record of that key, if it is ours."""
        found = re.fullmatch(r"https://bsky\.app/profile/([^/?#]+)/post/([A-Za-z0-9._:~-]{1,512})", url)
        record = self._record(quote(self._settings.handle), found[2]) if found else None
        if (
            found is None
            or not isinstance(record, HttpResponse)
            or found[1] not in (self._settings.handle, self._known.did)
        ):
            return ""
        receipt = f"{read_object(record).get('uri')} {read_object(record).get('cid')}"
        return receipt if _RECEIPT.fullmatch(receipt) else ""

    def _record(self, repo: str, key: str) -> HttpResponse | Outcome:
        return self._ask("GET", f"com.atproto.repo.getRecord?repo={repo}&collection={_POST}&rkey={quote(key)}", None)

    def _put(self, body: bytes, attempt: Attempt, key: str, more: dict[str, Any]) -> Outcome:
        given = json.loads(body)
        answer = self._put_once(given, attempt, key, more)
        if isinstance(answer, HttpResponse) and read_object(answer).get("error") == "BlobNotFound":
            # A server throws a picture away that waits long for its post: then it is uploaded once more.
            answer = self._put_once(given, attempt, key, more, anew=True)
        if isinstance(answer, Outcome):
            return answer
        if answer.status != 200:
            return self._refused(answer)
        stands = read_object(answer)
        place = _URI.fullmatch(str(stands.get("uri")))
        if place is None:
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the address of a post")
        via = f"https://bsky.app/profile/{self._settings.handle}/post/{place[2]}"
        return Outcome(Verdict.ACCEPTED, receipt=f"{place[0]} {stands.get('cid')}", via=via)

    def _put_once(
        self, given: dict[str, Any], attempt: Attempt, key: str, more: dict[str, Any], *, anew: bool = False
    ) -> HttpResponse | Outcome:
        record = given["record"] | more
        if "card" in given:
            external = given["card"] | self._thumbnail(given.get("picture", ""), attempt, anew=anew)
            record["embed"] = {"$type": "app.bsky.embed.external", "external": external}
        return self._ask("POST", "com.atproto.repo.putRecord", {"collection": _POST, "rkey": key, "record": record})

    def _thumbnail(self, picture: str, attempt: Attempt, *, anew: bool) -> dict[str, Any]:
        """The blob of a card's picture as `thumb`; nothing where it cannot be had: the card goes without."""
        data = attempt.picture(picture, _THUMBNAIL) if picture else None
        if data is None:
            return {}
        blob = upload_once(attempt, data, partial(self._upload, data), anew=anew)
        return {"thumb": json.loads(blob)} if blob else {}

    def _upload(self, picture: bytes) -> str:
        """A blob as JSON; empty where the server did not take it."""
        kind = "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"
        answer = self._ask("POST", "com.atproto.repo.uploadBlob", picture, kind)
        blob = read_object(answer).get("blob") if isinstance(answer, HttpResponse) and answer.status == 200 else None
        return json.dumps(blob) if blob else ""

    def _ask(
        self, method: str, name: str, wanted: dict[str, Any] | bytes | None, kind: str = "application/json"
    ) -> HttpResponse | Outcome:
        """One call in our name; once more with a new session where the old one has ended."""
        answer: HttpResponse | Outcome = Outcome(Verdict.DEFERRED, reason="no session")
        for _ in range(2):
            if not self._known.did:
                refusal = self._begin()
                if refusal is not None:
                    return refusal
            body = wanted
            if isinstance(wanted, dict):
                body = json.dumps({"repo": self._known.did, **wanted}, ensure_ascii=False, sort_keys=True).encode()
            headers = {"Authorization": f"Bearer {self._known.token.get_secret_value()}", "Content-Type": kind}
            assert not isinstance(body, dict)
            answer = send_request(self._session, self._url(name), body, headers, method, also=(400, 401))
            if isinstance(answer, Outcome) or read_object(answer).get("error") not in _EXPIRED:
                return answer
            self._known = _Session()
        return answer

    def _begin(self) -> Outcome | None:
        """Log in. Nothing was posted yet, so that whatever fails here may be tried again."""
        password = self._settings.password.get_secret_value()
        login = json.dumps({"identifier": self._settings.handle, "password": password}).encode()
        url, headers = self._url("com.atproto.server.createSession"), {"Content-Type": "application/json"}
        answer = send_request(self._session, url, login, headers, hide=(password,), also=(400, 401))
        if isinstance(answer, Outcome):
            return defer_unknown(answer)
        if answer.status in (400, 401):
            reason = (
                f"HTTP {answer.status}: the handle or the app password is wrong; make a new one in Settings, Privacy"
            )
            return Outcome(Verdict.REJECTED, reason=reason)
        found = read_object(answer)
        if not isinstance(found.get("did"), str) or not isinstance(found.get("accessJwt"), str):
            return Outcome(Verdict.DEFERRED, reason="the login was answered with something else")
        self._known = _Session(found["did"], SecretStr(found["accessJwt"]))
        return None

    def _refused(self, answer: HttpResponse) -> Outcome:
        words = quote_answer(str(read_object(answer).get("message", "")), self._settings.server, {})
        return Outcome(Verdict.REJECTED, reason=f"HTTP {answer.status}: {words}".rstrip(": "))

    def _url(self, name: str) -> str:
        return f"{self._settings.server}xrpc/{name}"


class _Text:
    """A wording as text and its facets, whose places are counted in bytes of UTF-8 (app.bsky.richtext.facet)."""

    def __init__(self, wording: Wording) -> None:
        self.text = ""
        self.facets: list[dict[str, Any]] = []
        for number, part in enumerate(filter(None, self._parts(wording))):
            if number:
                self.text += "\n\n"
            for text, feature in part:
                self._add(text, feature)

    def _parts(self, wording: Wording) -> Iterator[list[Piece]]:
        yield [*_links(wording.heading)]
        yield [*_links(wording.text)]
        for story in wording.stories:
            title: list[Piece] = _links(story.title) if story.is_own_text else [(story.title, _link(story.url))]
            pieces: list[Piece] = []
            # Of a single story the card has the link.
            link = story.link if story.is_own_text and wording.heading else ""
            for line in filter(None, (title, _links(story.summary), _links(story.correction), _links(link))):
                pieces += [("\n", None), *line] if pieces else line
            yield pieces
        if wording.more:
            yield [(f"+{wording.more}", _link(wording.url))]
        tags: list[Piece] = []
        for tag in wording.tags:
            tags += [(" ", None)] * bool(tags)
            tags.append((tag, {"$type": "app.bsky.richtext.facet#tag", "tag": tag[1:]}))
        yield tags

    def _add(self, text: str, feature: dict[str, str] | None) -> None:
        start = len(self.text.encode())
        self.text += text
        if feature is not None and text:
            index = {"byteStart": start, "byteEnd": len(self.text.encode())}
            self.facets.append({"index": index, "features": [feature]})


def _link(url: str) -> dict[str, str]:
    return {"$type": "app.bsky.richtext.facet#link", "uri": url}


def _links(text: str) -> list[Piece]:
    """A text with what is an address in it as a link."""
    pieces: list[Piece] = []
    end = 0
    for found in _URL.finditer(text):
        pieces += [(text[end : found.start()], None), (found[0], _link(found[0]))]
        end = found.end()
    return [piece for piece in (*pieces, (text[end:], None)) if piece[0]]


def graphemes(text: str) -> int:
    """What people take for characters (UAX #29)."""
    return len(regex.findall(r"\X", text))


def _fits(text: str) -> bool:
    return graphemes(text) <= MAX_GRAPHEMES and len(text.encode()) <= MAX_BYTES


def record_key(key: str, created: str) -> str:
    """A TID (atproto.com/specs/tid) that is the same for the same post: its second, and 30 bits of its key's hash."""
    second = int(datetime.fromisoformat(created).timestamp())
    mark = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    number = ((second * 1_000_000 + mark % 1_000_000) << 10) | (mark >> 54)
    return "".join(_DIGITS[number >> shift & 31] for shift in range(60, -5, -5))


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make(name: str, settings: Settings) -> BlueskyChannel:
    """The channel of one name."""
    return BlueskyChannel(name, settings)
