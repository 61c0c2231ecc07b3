"""A Matrix room, through PUT .../send/m.room.message/{txnId} (spec.matrix.org/latest/client-server-api)."""

from __future__ import annotations

import hashlib
import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, unquote

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import (
    INVALID_RECEIPT,
    HttpChannel,
    defer_unknown,
    doubt_success,
    encode_json,
    json_headers,
    must_match,
    read_object,
)
from tidings.channels.wording import Wording, fit, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import ConnectionLostError, HttpResponse, NotSentError

MAX_BYTES = 60_000
"""Most bytes of an event's content; a whole event may have 65,536 (client-server API, Size limits)."""
_KEY_WINDOW = 1_500.0
"""Seconds. Servers keep a transaction id for half an hour. Less here: clocks differ, and requests take time."""
_ROOM = r"[!#][^\s\x00-\x1f]{1,253}"
_EVENT = re.compile(r"\$[A-Za-z0-9_\-/+.:=]{1,254}")
_CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far the server's clock may differ from ours."""
_MAX_PAGES, _PAGE_SIZE, _MAX_PAGE_BYTES = 10, 100, 2 * 1024 * 1024


class Settings(ChannelSettings):
    """`type: matrix`."""

    server: SiteUrl = Field(description="The account's server, such as https://matrix.org/.")
    room: Annotated[
        Line, must_match(_ROOM, 'is not a room; write "#name:example.org" or "!id:example.org", in quotes')
    ] = Field(description='The room: "!id:example.org" or "#name:example.org", in quotes. Not encrypted.')
    token: SecretStr = Field(description="Access token of an account that is in the room: {env: NAME} or {file: PATH}.")


class MatrixChannel(HttpChannel[Settings]):
    """The server remembers our transaction ids for a while, so a repeat returns the same event."""

    capabilities = Capabilities(max_length=MAX_BYTES, idempotency=Idempotency.WINDOW, window=_KEY_WINDOW, replies=True)
    ACCOUNT_WORDS = r"\bM_(?:UNKNOWN_TOKEN|MISSING_TOKEN|FORBIDDEN|USER_\w+|CONSENT_NOT_GIVEN|GUEST_ACCESS_FORBIDDEN)\b"

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self._room = ""

    def prepare(self, post: Post) -> bytes:
        """Return the content of the message: plain text, and the same as HTML."""
        return _content(fit(post, lambda wording: len(_content(wording)) <= MAX_BYTES))

    def length(self, body: bytes) -> int:
        return len(body)

    def text(self, body: bytes) -> str:
        return str(json.loads(body)["body"])

    def card(self, body: bytes) -> Card | None:
        """Return the page of the first link, from which clients make the card."""
        links = re.findall(r'<a href="([^"]+)"', json.loads(body)["formatted_body"])
        return Card(html.unescape(links[0])) if links else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post under a transaction id made of the post's key."""
        content = json.loads(body)
        if _EVENT.fullmatch(attempt.reply_to):
            content["m.relates_to"] = {"m.in_reply_to": {"event_id": attempt.reply_to}}
        return self._put(content, attempt, "")

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Replace the text (m.replace); clients show the new one in place of the old one."""
        if not _EVENT.fullmatch(receipt):
            return INVALID_RECEIPT
        room = self._find_room()
        if isinstance(room, Outcome):
            return room
        answer = self._ask("GET", f"rooms/{quote(room, safe='')}/event/{quote(receipt, safe='')}", None, also=(404,))
        if isinstance(answer, Outcome):
            return defer_unknown(answer)
        event = read_object(answer)
        if answer.status == 404 or "redacted_because" in event.get("unsigned", {}) or not event.get("content"):
            return Outcome(Verdict.REJECTED, reason="the message is no longer there")
        content = json.loads(body)
        fallback: dict[str, Any] = {name: f"* {content[name]}" for name in ("body", "formatted_body")}
        relation = {"rel_type": "m.replace", "event_id": receipt}
        return self._put(content | fallback | {"m.new_content": content, "m.relates_to": relation}, attempt, receipt)

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Redact the message, which removes its text from the room's history. 404: it does not exist."""
        if not _EVENT.fullmatch(receipt):
            return INVALID_RECEIPT
        room = self._find_room()
        if isinstance(room, Outcome):
            return room
        path = f"rooms/{quote(room, safe='')}/redact/{quote(receipt, safe='')}/{_transaction(attempt, 'redact')}"
        answer = self._ask("PUT", path, {}, also=(404,))
        return answer if isinstance(answer, Outcome) else self._published(receipt)

    def find(self, body: bytes, attempt: Attempt) -> Outcome:
        """Read the room back. Our post has our transaction id, which the server shows to its sender, or our text."""
        room = self._find_room()
        if isinstance(room, Outcome):
            return _unreadable(room.reason)
        account = self._read("account/whoami")
        if account is None or not isinstance(account.get("user_id"), str):
            return _unreadable("the server does not name our account")
        own = quote(json.dumps({"senders": [account["user_id"]], "types": ["m.room.message"]}))
        start, text = "", json.loads(body)["body"]
        for _ in range(_MAX_PAGES):
            path = f"rooms/{quote(room, safe='')}/messages?dir=b&limit={_PAGE_SIZE}&filter={own}{start}"
            page = self._read(path)
            events = page.get("chunk") if page is not None else None
            if page is None or not isinstance(events, list):
                return _unreadable("the answer cannot be read")
            for event in events:
                sent = _sent_at(event)
                if sent is None:
                    continue
                if sent < attempt.at - _CLOCK_TOLERANCE:
                    return _not_there()
                transaction = event.get("unsigned", {}).get("transaction_id")
                if transaction == _transaction(attempt) or event["content"].get("body") == text:
                    return self._published(str(event["event_id"]))
            if not isinstance(page.get("end"), str) or not page["end"]:
                return _not_there()
            start = f"&from={quote(page['end'])}"
        return Outcome(Verdict.UNKNOWN, reason="too many messages came since to find ours")

    def receipt_at(self, url: str) -> str:
        """Read a permalink, which names the room and the event (spec.matrix.org, Appendices, matrix.to navigation)."""
        place, _, event = url.removeprefix("https://matrix.to/#/").partition("?")[0].rpartition("/")
        room, event = unquote(place), unquote(event)
        is_ours = url != room and room in (self._settings.room, self._find_room())
        return event if is_ours and _EVENT.fullmatch(event) else ""

    def _put(self, content: dict[str, Any], attempt: Attempt, receipt: str) -> Outcome:
        """Send an event. `receipt` is the id of the first event if this one replaces it, else empty."""
        room = self._find_room()
        if isinstance(room, Outcome):
            return room
        transaction = _transaction(attempt, receipt)
        answer = self._ask("PUT", f"rooms/{quote(room, safe='')}/send/m.room.message/{transaction}", content)
        if isinstance(answer, Outcome):
            return answer
        event = str(read_object(answer).get("event_id"))
        return self._published(receipt or event) if _EVENT.fullmatch(event) else doubt_success(answer, "an event id")

    def _find_room(self) -> str | Outcome:
        """Return the id of the room, after a check that it is not encrypted."""
        if self._room:
            return self._room
        room = self._settings.room
        if room.startswith("#"):
            answer = self._ask("GET", f"directory/room/{quote(room, safe='')}", None, also=(404,))
            if isinstance(answer, Outcome):
                return defer_unknown(answer)
            room = str(read_object(answer).get("room_id"))
            if not room.startswith("!"):
                return Outcome(Verdict.NOT_STARTED, reason=f"there is no room {self._settings.room}")
        answer = self._ask("GET", f"rooms/{quote(room, safe='')}/state/m.room.encryption", None, also=(404,))
        if isinstance(answer, Outcome):
            return defer_unknown(answer)
        if answer.status == 200 and "algorithm" in read_object(answer):
            return Outcome(Verdict.NOT_STARTED, reason="the room is encrypted; post to one that is not")
        self._room = room
        return room

    def _ask(
        self, method: str, path: str, content: dict[str, Any] | None, also: tuple[int, ...] = ()
    ) -> HttpResponse | Outcome:
        body = None if content is None else encode_json(content)
        return self.request(self._url(path), body, json_headers(self._settings.token), method, also=also)

    def _read(self, path: str) -> dict[str, Any] | None:
        """Return the JSON object at a path, or None if it cannot be read."""
        try:
            headers = json_headers(self._settings.token)
            answer = self._session.request("GET", self._url(path), None, headers, _MAX_PAGE_BYTES)
        except (NotSentError, ConnectionLostError):
            return None
        return read_object(answer) if answer.status == 200 and answer.is_complete else None

    def _url(self, path: str) -> str:
        return f"{self._settings.server}_matrix/client/v3/{path}"

    def _published(self, event: str) -> Outcome:
        return self.accepted(event, f"https://matrix.to/#/{quote(self._room, safe='!:')}/{quote(event, safe='$:')}")


def _content(wording: Wording) -> bytes:
    return encode_json(
        {
            "msgtype": "m.text",
            "body": plain_text(wording),
            "format": "org.matrix.custom.html",
            "formatted_body": _html(wording),
            # A post mentions nobody (MSC3952, since v1.7).
            "m.mentions": {},
        }
    )


def _html(wording: Wording) -> str:
    """Return HTML with only the tags that clients support (m.room.message msgtypes)."""
    parts = [f"<strong>{_escape(wording.heading)}</strong>" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        lines = [f"<strong>{_link(story.url, story.title)}</strong>", _escape(story.summary), _escape(story.correction)]
        if story.is_own_text:
            link = _link(story.link, story.link) if story.link else ""
            lines = [_escape(story.title), _escape(story.correction), link]
        parts.append("<br>".join(filter(None, lines)))
    if wording.more:
        parts.append(_link(wording.url, f"+{wording.more}"))
    parts.append(_escape(" ".join(wording.tags)))
    return "".join(f"<p>{part}</p>" for part in parts if part)


def _link(url: str, text: str) -> str:
    return f'<a href="{html.escape(url)}">{_escape(text)}</a>'


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>")


def _transaction(attempt: Attempt, change: str = "") -> str:
    """Return a transaction id from the key and the kind of change, so that a repeat has the same id."""
    return hashlib.sha256(f"{attempt.key} {change}".encode()).hexdigest()[:40]


def _sent_at(event: Any) -> datetime | None:
    """Return when a message was sent, or None if the event is not a message, or was redacted."""
    try:
        if not isinstance(event["content"], dict) or not event["content"].get("body"):
            return None
        _ = event["event_id"]
        return datetime.fromtimestamp(event["origin_server_ts"] / 1000, UTC)
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return None


def _unreadable(reason: str) -> Outcome:
    return Outcome(Verdict.UNKNOWN, reason=f"the room could not be read back: {reason}")


def _not_there() -> Outcome:
    return Outcome(Verdict.NOT_STARTED, reason="the post is not in the room")


make = MatrixChannel
