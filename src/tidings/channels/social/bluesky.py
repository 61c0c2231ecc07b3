"""A Bluesky account, through com.atproto.repo.putRecord (docs.bsky.app, atproto.com/specs/record-key, .../lexicon)."""

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
from tidings.channels.http import (
    INVALID_RECEIPT,
    HttpChannel,
    defer_unknown,
    doubt_success,
    encode_json,
    image_type,
    json_headers,
    read_object,
    upload_once,
)
from tidings.channels.wording import Wording, fit, split_links
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import HttpResponse

MAX_GRAPHEMES, MAX_BYTES = 300, 3_000
_POST = "app.bsky.feed.post"
_THUMBNAIL = 1_000_000
"""Most bytes of a card's picture (app.bsky.embed.external)."""
_TITLE, _DESCRIPTION = 300, 1_000
_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_URI = re.compile(rf"at://(did:[a-z]+:[A-Za-z0-9._:%-]+)/{re.escape(_POST)}/([A-Za-z0-9._:~-]{{1,512}})")
_RECEIPT = re.compile(rf"({_URI.pattern}) ([a-z0-9]{{20,120}})")
_TAG = regex.compile(r"""(?<![^\s(\["'«“])[#＃](?!\ufe0f)([^\s#＃]*[^\d\s\p{P}#＃][^\s#＃]*)""")
"""A hashtag in an editor's own text, as bsky.app finds it: up to a space, and not only digits."""
_AFTER_TAG = regex.compile(r"\p{P}+$")
_MAX_TAG = 64
"""Most graphemes of a hashtag (app.bsky.richtext.facet#tag)."""
Piece = tuple[str, dict[str, str] | None]
"""A piece of text, with the feature of its facet (a link or a tag)."""
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
            raise ValueError(f"{value!r} is not a handle; write it like news.example.org or unkz.bsky.social")
        return handle


@dataclass
class _Login:
    """A session of the account. The server allows few logins a day, so a session is kept until it expires."""

    did: str = ""
    token: SecretStr = field(default_factory=lambda: SecretStr(""))


class BlueskyChannel(HttpChannel[Settings]):
    """A Bluesky account. We choose the key of a record, so that a repeated post is always the same record."""

    capabilities = Capabilities(max_length=MAX_GRAPHEMES, idempotency=Idempotency.NATIVE, replies=True)
    ACCOUNT_WORDS = (
        r'"(?:(?:Account|Repo)(?:Takendown|Takedown|Deactivated|Suspended|NotFound)|Auth\w+|InvalidToken|ExpiredToken'
        r'|BadJwt\w*|ScopeMissing\w*)"'
    )

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self._login = _Login()

    def prepare(self, post: Post) -> bytes:
        """Return the record without the card's picture and the post that it replies to. Both are added when sending."""
        text = _RichText(fit(post, lambda wording: _fits(_RichText(wording).text)))
        record: dict[str, Any] = {
            "$type": _POST,
            "text": text.text,
            "createdAt": _moment(post.at),
            "langs": [post.language],
        }
        if text.facets:
            record["facets"] = text.facets
        body: dict[str, Any] = {"record": record}
        if post.items:
            first = post.items[0]
            title, description = shorten(first.title, _TITLE), shorten(first.summary, _DESCRIPTION)
            body["card"] = {"uri": first.url, "title": title, "description": description}
            if first.image and first.image_alt:
                body["picture"] = first.image
        return encode_json(body)

    def length(self, body: bytes) -> int:
        """Count the graphemes of the text (UAX #29)."""
        return count_graphemes(json.loads(body)["record"]["text"])

    def text(self, body: bytes) -> str:
        """Return the visible text with full links, and the card."""
        post = json.loads(body)
        raw = post["record"]["text"].encode()
        parts, end = [], 0
        for facet in post["record"].get("facets", ()):
            link = facet["features"][0].get("uri")
            stop = facet["index"]["byteEnd"]
            parts.append(raw[end:stop].decode())
            if link and raw[facet["index"]["byteStart"] : stop].decode() != link:
                parts.append(f"\n{link}")
            end = stop
        card = post.get("card", {})
        return "\n\n".join(filter(None, ["".join(parts) + raw[end:].decode(), card.get("title"), card.get("uri")]))

    def card(self, body: bytes) -> Card | None:
        """Return our card. Bluesky has no alt text for its picture."""
        post = json.loads(body)
        card = post.get("card")
        if card is None:
            return None
        return Card(card["uri"], card["title"], card["description"], post.get("picture", ""))

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Put the record under a key that is made from the post's key, so that a repeat changes nothing."""
        created = json.loads(body)["record"]["createdAt"]
        fields: dict[str, Any] = {"createdAt": created}
        earlier = _RECEIPT.fullmatch(attempt.reply_to)
        if earlier is not None:
            first = {"uri": earlier[1], "cid": earlier[4]}
            fields["reply"] = {"root": first, "parent": first}
        return self._put(body, attempt, record_key(attempt.key, created), fields)

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Replace the record, with the same date and reply reference."""
        place = _RECEIPT.fullmatch(receipt)
        if place is None:
            return INVALID_RECEIPT
        key = place[3]
        answer = self._record(quote(place[2]), key)
        if isinstance(answer, Outcome):
            return defer_unknown(answer)
        value = read_object(answer).get("value")
        value = value if isinstance(value, dict) else {}
        kept = {name: value[name] for name in ("createdAt", "reply") if name in value}
        if answer.status != 200 or not isinstance(kept.get("createdAt"), str):
            return Outcome(Verdict.REJECTED, reason="the post is no longer there")
        return self._put(body, attempt, key, kept)

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete the record. The server also answers 200 if there is none."""
        place = _RECEIPT.fullmatch(receipt)
        if place is None:
            return INVALID_RECEIPT
        answer = self._ask("POST", "com.atproto.repo.deleteRecord", {"collection": _POST, "rkey": place[3]})
        if isinstance(answer, Outcome):
            return answer
        return self.accepted(receipt) if answer.status == 200 else self._reject(answer)

    def receipt_at(self, url: str) -> str:
        """Read /profile/NAME/post/KEY, and look up the record with that key in our account."""
        match = re.fullmatch(r"https://bsky\.app/profile/([^/?#]+)/post/([A-Za-z0-9._:~-]{1,512})", url)
        record = self._record(quote(self._settings.handle), match[2]) if match else None
        if (
            match is None
            or not isinstance(record, HttpResponse)
            or match[1] not in (self._settings.handle, self._login.did)
        ):
            return ""
        receipt = f"{read_object(record).get('uri')} {read_object(record).get('cid')}"
        return receipt if _RECEIPT.fullmatch(receipt) else ""

    def _record(self, repo: str, key: str) -> HttpResponse | Outcome:
        return self._ask("GET", f"com.atproto.repo.getRecord?repo={repo}&collection={_POST}&rkey={quote(key)}", None)

    def _put(self, body: bytes, attempt: Attempt, key: str, fields: dict[str, Any]) -> Outcome:
        post = json.loads(body)
        answer = self._put_once(post, attempt, key, fields)
        if isinstance(answer, HttpResponse) and read_object(answer).get("error") == "BlobNotFound":
            # The server drops an uploaded picture that is not used for too long. Then it is uploaded again.
            answer = self._put_once(post, attempt, key, fields, anew=True)
        if isinstance(answer, Outcome):
            return answer
        if answer.status != 200:
            return self._reject(answer)
        record = read_object(answer)
        place = _URI.fullmatch(str(record.get("uri")))
        if place is None:
            return doubt_success(answer, "the address of a post")
        via = f"https://bsky.app/profile/{self._settings.handle}/post/{place[2]}"
        return self.accepted(f"{place[0]} {record.get('cid')}", via)

    def _put_once(
        self, post: dict[str, Any], attempt: Attempt, key: str, fields: dict[str, Any], *, anew: bool = False
    ) -> HttpResponse | Outcome:
        record = post["record"] | fields
        if "card" in post:
            external = post["card"] | self._thumbnail(post.get("picture", ""), attempt, anew=anew)
            record["embed"] = {"$type": "app.bsky.embed.external", "external": external}
        return self._ask("POST", "com.atproto.repo.putRecord", {"collection": _POST, "rkey": key, "record": record})

    def _thumbnail(self, picture: str, attempt: Attempt, *, anew: bool) -> dict[str, Any]:
        """Return the blob of a card's picture as `thumb`, or nothing, for a card without a picture."""
        data = attempt.picture(picture, _THUMBNAIL) if picture else None
        if data is None:
            return {}
        blob = upload_once(attempt, data, partial(self._upload, data), anew=anew)
        return {"thumb": json.loads(blob)} if blob else {}

    def _upload(self, picture: bytes) -> str:
        """Return the blob as JSON, or '' if the server did not accept it."""
        answer = self._ask("POST", "com.atproto.repo.uploadBlob", picture, image_type(picture))
        blob = read_object(answer).get("blob") if isinstance(answer, HttpResponse) and answer.status == 200 else None
        return json.dumps(blob) if blob else ""

    def _ask(
        self, method: str, name: str, content: dict[str, Any] | bytes | None, content_type: str = "application/json"
    ) -> HttpResponse | Outcome:
        """Make one call as the account. Repeats it with a new session if the old one has expired."""
        answer: HttpResponse | Outcome = Outcome(Verdict.DEFERRED, reason="no session")
        for _ in range(2):
            if not self._login.did:
                refusal = self._log_in()
                if refusal is not None:
                    return refusal
            body = encode_json({"repo": self._login.did, **content}) if isinstance(content, dict) else content
            headers = json_headers(self._login.token) | {"Content-Type": content_type}
            answer = self.request(self._url(name), body, headers, method, also=(400, 401))
            if isinstance(answer, Outcome) or read_object(answer).get("error") not in _EXPIRED:
                return answer
            self._login = _Login()
        return answer

    def _log_in(self) -> Outcome | None:
        """Log in. Nothing is posted yet, so every failure here may be retried."""
        password = self._settings.password.get_secret_value()
        login = json.dumps({"identifier": self._settings.handle, "password": password}).encode()
        url = self._url("com.atproto.server.createSession")
        answer = self.request(url, login, json_headers(), hide=(password,), also=(400, 401))
        if isinstance(answer, Outcome):
            return defer_unknown(answer)
        if answer.status in (400, 401):
            reason = "the handle or the app password is wrong; make a new one in Settings, Privacy"
            if "Auth" not in (error := str(read_object(answer).get("error", ""))):
                reason = f"{error or 'no login'}; check the account, or make a new app password in Settings, Privacy"
            return Outcome(Verdict.NOT_STARTED, reason=f"HTTP {answer.status}: {reason}")
        session = read_object(answer)
        if not isinstance(session.get("did"), str) or not isinstance(session.get("accessJwt"), str):
            return Outcome(Verdict.DEFERRED, reason="the answer to the login has no session")
        self._login = _Login(session["did"], SecretStr(session["accessJwt"]))
        return None

    def _reject(self, answer: HttpResponse) -> Outcome:
        return self.refuse(answer, str(read_object(answer).get("message", "")), self._settings.server)

    def _url(self, name: str) -> str:
        return f"{self._settings.server}xrpc/{name}"


class _RichText:
    """A text with its facets, whose positions are in bytes of UTF-8 (app.bsky.richtext.facet)."""

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
            title: list[Piece] = _own_words(story.title) if story.is_own_text else [(story.title, _link(story.url))]
            pieces: list[Piece] = []
            # The card has the link of a single story.
            link = story.link if story.is_own_text and wording.heading else ""
            for line in filter(None, (title, _links(story.summary), _links(story.correction), _links(link))):
                pieces += [("\n", None), *line] if pieces else line
            yield pieces
        if wording.more:
            yield [(f"+{wording.more}", _link(wording.url))]
        tags: list[Piece] = []
        for tag in wording.tags:
            tags += [(" ", None)] * bool(tags)
            tags.append((tag, _tag(tag[1:])))
        yield tags

    def _add(self, text: str, feature: dict[str, str] | None) -> None:
        start = len(self.text.encode())
        self.text += text
        if feature is not None and text:
            index = {"byteStart": start, "byteEnd": len(self.text.encode())}
            self.facets.append({"index": index, "features": [feature]})


def _link(url: str) -> dict[str, str]:
    return {"$type": "app.bsky.richtext.facet#link", "uri": url}


def _tag(name: str) -> dict[str, str]:
    return {"$type": "app.bsky.richtext.facet#tag", "tag": name}


def _links(text: str) -> list[Piece]:
    """Split a text into pieces, with each URL as a link."""
    return [(piece, _link(piece) if is_link else None) for piece, is_link in split_links(text)]


def _own_words(text: str) -> list[Piece]:
    """Split an editor's own text into pieces, with each URL as a link and each hashtag as a tag."""
    pieces: list[Piece] = []
    for piece, feature in _links(text):
        end = 0
        for match in _TAG.finditer(piece) if feature is None else ():
            name = _AFTER_TAG.sub("", match[1])
            if name and count_graphemes(name) <= _MAX_TAG:
                stop = match.start(1) + len(name)
                pieces += [(piece[end : match.start()], None), (piece[match.start() : stop], _tag(name))]
                end = stop
        pieces.append((piece[end:], feature))
    return [piece for piece in pieces if piece[0]]


def count_graphemes(text: str) -> int:
    """Count what people see as characters (UAX #29)."""
    return len(regex.findall(r"\X", text))


def _fits(text: str) -> bool:
    return count_graphemes(text) <= MAX_GRAPHEMES and len(text.encode()) <= MAX_BYTES


def record_key(key: str, created: str) -> str:
    """Return a TID (atproto.com/specs/tid) from the post's second and 30 bits of its key's hash, the same for a
    retry."""
    second = int(datetime.fromisoformat(created).timestamp())
    mark = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    number = ((second * 1_000_000 + mark % 1_000_000) << 10) | (mark >> 54)
    return "".join(_DIGITS[number >> shift & 31] for shift in range(60, -5, -5))


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


make = BlueskyChannel
