"""A room on Matrix, by PUT .../send/m.room.message/{txnId} (spec.matrix.org/latest/client-server-api)."""

from __future__ import annotations

import hashlib
import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import defer_unknown, read_object, send_request
from tidings.channels.wording import Wording, fit, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError

MAX_BYTES = 60_000
"""Of the content of an event; a whole event may have 65,536 (client-server API, Size limits)."""
_REMEMBERS = 1_500.0
"""Seconds: servers keep a transaction id for half an hour; less, for clocks differ and requests take time."""
_ROOM = re.compile(r"[!#][^\s\x00-\x1f]{1,253}")
_EVENT = re.compile(r"\$[A-Za-z0-9_\-/+.:=]{1,254}")
_CLOCKS = timedelta(minutes=5)
"""How far the server's clock may stand from ours."""
_PAGES, _PAGE, _MOST = 10, 100, 2 * 1024 * 1024


class Settings(ChannelSettings):
    """`type: matrix`."""

    server: SiteUrl = Field(description="The account's server, such as https://matrix.org/.")
    room: Line = Field(description='The room: "!id:example.org" or "#name:example.org", in quotes. Not encrypted.')
    token: SecretStr = Field(description="Access token of an account that is in the room: {env: NAME} or {file: PATH}.")

    @field_validator("room")
    @classmethod
    def _is_room(cls, value: str) -> str:
        if not _ROOM.fullmatch(value):
            raise ValueError(f'{value!r} is no room; write "#name:example.org" or "!id:example.org", in quotes')
        return value


class MatrixChannel:
    """The server knows our transaction ids for a while: a repeat is the same event."""

    capabilities = Capabilities(
        max_length=MAX_BYTES, idempotency=Idempotency.WINDOW, window=_REMEMBERS, replies=True, markup="html"
    )

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)
        self._room = ""

    def prepare(self, post: Post) -> bytes:
        """The content of the message: plain text, and the same with links and headings."""
        return _content(fit(post, lambda tried: len(_content(tried)) <= MAX_BYTES))

    def length(self, body: bytes) -> int:
        """Bytes of the content."""
        return len(body)

    def text(self, body: bytes) -> str:
        """What a client without HTML shows."""
        return str(json.loads(body)["body"])

    def card(self, body: bytes) -> Card | None:
        """Clients make it of the page of the first link."""
        links = re.findall(r'<a href="([^"]+)"', json.loads(body)["formatted_body"])
        return Card(html.unescape(links[0])) if links else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it under the transaction id that is made of the post's own key."""
        content = json.loads(body)
        if _EVENT.fullmatch(attempt.reply_to):
            content["m.relates_to"] = {"m.in_reply_to": {"event_id": attempt.reply_to}}
        return self._put(content, attempt, "")

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Replace the text (m.replace); clients show the new one in the old one's place."""
        room = self._found()
        if isinstance(room, Outcome):
            return room
        stands = self._stands(room, receipt)
        if stands is not None:
            return stands
        content = json.loads(body)
        replaced: dict[str, Any] = {name: f"* {content[name]}" for name in ("body", "formatted_body")}
        relation = {"rel_type": "m.replace", "event_id": receipt}
        return self._put(content | replaced | {"m.new_content": content, "m.relates_to": relation}, attempt, receipt)

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Redact it: the text is taken from the room's history. 404: it is not there."""
        if not _EVENT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of an event of ours")
        room = self._found()
        if isinstance(room, Outcome):
            return room
        path = f"rooms/{quote(room, safe='')}/redact/{quote(receipt, safe='')}/{_transaction(attempt, 'redact')}"
        answer = self._ask("PUT", path, {}, also=(404,))
        return answer if isinstance(answer, Outcome) else self._accepted(receipt)

    def find(self, body: bytes, attempt: Attempt) -> Outcome:
        """Read the room back: our transaction id, which the server tells to who sent it, or our very words."""
        room = self._found()
        if isinstance(room, Outcome):
            return Outcome(Verdict.UNKNOWN, reason=f"reading the room back: {room.reason}")
        who = self._read("account/whoami")
        if who is None or not isinstance(who.get("user_id"), str):
            return Outcome(Verdict.UNKNOWN, reason="reading the room back: the server does not say who we are")
        wanted = quote(json.dumps({"senders": [who["user_id"]], "types": ["m.room.message"]}))
        start, words = "", json.loads(body)["body"]
        for _ in range(_PAGES):
            path = f"rooms/{quote(room, safe='')}/messages?dir=b&limit={_PAGE}&filter={wanted}{start}"
            page = self._read(path)
            events = page.get("chunk") if page is not None else None
            if page is None or not isinstance(events, list):
                return Outcome(Verdict.UNKNOWN, reason="reading the room back: no answer that can be read")
            for event in events:
                sent = _sent_at(event)
                if sent is None:
                    continue
                if sent < attempt.at - _CLOCKS:
                    return _not_there()
                transaction = event.get("unsigned", {}).get("transaction_id")
                if transaction == _transaction(attempt) or event["content"].get("body") == words:
                    return self._accepted(str(event["event_id"]))
            if not isinstance(page.get("end"), str) or not page["end"]:
                return _not_there()
            start = f"&from={quote(page['end'])}"
        return Outcome(Verdict.UNKNOWN, reason="too much was posted since to find it")

    def receipt_at(self, url: str) -> str:
        """Of a permalink, which names the room and the event (spec.matrix.org, Appendices, matrix.to navigation)."""
        room, _, event = url.removeprefix("https://matrix.to/#/").partition("?")[0].rpartition("/")
        there, event = unquote(room), unquote(event)
        here = url != there and there in (self._settings.room, self._found())
        return event if here and _EVENT.fullmatch(event) else ""

    def _put(self, content: dict[str, Any], attempt: Attempt, receipt: str) -> Outcome:
        """Send an event. `receipt` is that of the one that it replaces: edits go by the first event for ever."""
        room = self._found()
        if isinstance(room, Outcome):
            return room
        transaction = _transaction(attempt, receipt)
        answer = self._ask("PUT", f"rooms/{quote(room, safe='')}/send/m.room.message/{transaction}", content)
        if isinstance(answer, Outcome):
            return answer
        event = str(read_object(answer).get("event_id"))
        if not _EVENT.fullmatch(event):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the id of an event")
        return self._accepted(receipt or event)

    def _found(self) -> str | Outcome:
        """The id of the room, once it is known that what is posted there can be read."""
        if self._room:
            return self._room
        room = self._settings.room
        if room.startswith("#"):
            answer = self._ask("GET", f"directory/room/{quote(room, safe='')}", None, also=(404,))
            if isinstance(answer, Outcome):
                return defer_unknown(answer)
            room = str(read_object(answer).get("room_id"))
            if not room.startswith("!"):
                return Outcome(Verdict.REJECTED, reason=f"there is no room {self._settings.room}")
        answer = self._ask("GET", f"rooms/{quote(room, safe='')}/state/m.room.encryption", None, also=(404,))
        if isinstance(answer, Outcome):
            return defer_unknown(answer)
        if answer.status == 200 and "algorithm" in read_object(answer):
            return Outcome(Verdict.REJECTED, reason="the room is encrypted; post to one that is not")
        self._room = room
        return room

    def _stands(self, room: str, receipt: str) -> Outcome | None:
        """None where an event of ours stands there, or why it cannot be changed."""
        if not _EVENT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of an event of ours")
        answer = self._ask("GET", f"rooms/{quote(room, safe='')}/event/{quote(receipt, safe='')}", None, also=(404,))
        if isinstance(answer, Outcome):
            return defer_unknown(answer)
        event = read_object(answer)
        if answer.status == 404 or "redacted_because" in event.get("unsigned", {}) or not event.get("content"):
            return Outcome(Verdict.REJECTED, reason="the message is no longer there")
        return None

    def _ask(
        self, method: str, path: str, content: dict[str, Any] | None, also: tuple[int, ...] = ()
    ) -> HttpResponse | Outcome:
        sent = None if content is None else json.dumps(content, ensure_ascii=False, sort_keys=True).encode()
        return send_request(self._session, self._url(path), sent, self._headers(), method, also=also)

    def _read(self, path: str) -> dict[str, Any] | None:
        """What JSON says; None where it says nothing that can be read."""
        try:
            answer = self._session.request("GET", self._url(path), None, self._headers(), _MOST)
        except (NotSentError, ConnectionLostError):
            return None
        return read_object(answer) if answer.status == 200 and answer.is_complete else None

    def _headers(self) -> dict[str, str]:
        token = self._settings.token.get_secret_value()
        return {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def _url(self, path: str) -> str:
        return f"{self._settings.server}_matrix/client/v3/{path}"

    def _accepted(self, event: str) -> Outcome:
        via = f"https://matrix.to/#/{quote(self._room, safe='!:')}/{quote(event, safe='$:')}"
        return Outcome(Verdict.ACCEPTED, receipt=event, via=via)


def _content(wording: Wording) -> bytes:
    content = {
        "msgtype": "m.text",
        "body": plain_text(wording),
        "format": "org.matrix.custom.html",
        "formatted_body": _markup(wording),
        # Nobody is called by a post (MSC3952, since v1.7).
        "m.mentions": {},
    }
    return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()


def _markup(wording: Wording) -> str:
    """HTML of the tags that clients take (m.room.message msgtypes)."""
    parts = [f"<strong>{_escape(wording.heading)}</strong>" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        words = [f"<strong>{_link(story.url, story.title)}</strong>", _escape(story.summary), _escape(story.correction)]
        if story.is_own_text:
            link = _link(story.link, story.link) if story.link else ""
            words = [_escape(story.title), _escape(story.correction), link]
        parts.append("<br>".join(filter(None, words)))
    if wording.more:
        parts.append(_link(wording.url, f"+{wording.more}"))
    parts.append(_escape(" ".join(wording.tags)))
    return "".join(f"<p>{part}</p>" for part in parts if part)


def _link(url: str, text: str) -> str:
    return f'<a href="{html.escape(url)}">{_escape(text)}</a>'


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>")


def _transaction(attempt: Attempt, what: str = "") -> str:
    """Of the key alone, so that a repeat is known as one; another for what is done to a post that stands."""
    return hashlib.sha256(f"{attempt.key} {what}".encode()).hexdigest()[:40]


def _sent_at(event: Any) -> datetime | None:
    """When a message was sent; None where this is none that stands."""
    try:
        if not isinstance(event["content"], dict) or not event["content"].get("body"):
            return None
        _ = event["event_id"]
        return datetime.fromtimestamp(event["origin_server_ts"] / 1000, UTC)
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return None


def _not_there() -> Outcome:
    return Outcome(Verdict.NOT_STARTED, reason="it is not in the room")


def make(name: str, settings: Settings) -> MatrixChannel:
    """The channel of one name."""
    return MatrixChannel(name, settings)
