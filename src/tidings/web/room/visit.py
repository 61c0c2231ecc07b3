"""One request to the comms room: the member, the language, the form's fields, and helpers for the answer."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from tidings.config.settings import Newsroom
from tidings.model.cadence import to_utc
from tidings.model.errors import TidingsError
from tidings.pipeline.publish.site_files import site_view
from tidings.render.room.command_words import translate_check
from tidings.render.room.room_pages import RoomPages, RoomWords, room_languages
from tidings.render.site_views import SiteView
from tidings.runtime.newsroom import Runtime
from tidings.store.people import team
from tidings.store.people.team import SESSION_LENGTH, Role, TeamMember
from tidings.store.service.clock import real_now
from tidings.web.requests import PRIVATE, Fields, UploadedFile

COOKIE = "tidings_room"
"""The cookie of a session."""
VISIT_COOKIE = "tidings_visit"
"""The cookie before the sign-in. It ties the form to the browser that requested it."""
HEADERS = {
    **PRIVATE,
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' https: http: data:;"
    " frame-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}
_MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d")
_MOST_PREVIEWS = 40
_KEPT_SECONDS = 3600
_LARGEST_STASH = 40_000_000
"""Most bytes of all kept previews together."""


def csrf_token(cookie: str) -> str:
    """Return the token that a form of the browser with this cookie must send."""
    return hmac.new(cookie.encode(), b"csrf", hashlib.sha256).hexdigest()[:32]


class LongTextError(TidingsError):
    """A field of a form has more characters than fit."""


class PreviewStash:
    """Keeps previews of unsaved texts, and tables that are not imported yet, in named parts.

    They stay in memory for an hour. If there are too many, the oldest are dropped first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, float, Mapping[str, bytes]]] = OrderedDict()

    def keep(self, member: int, frames: Mapping[str, bytes]) -> str:
        """Keep the parts for one member and return their name."""
        name, now = secrets.token_urlsafe(12), time.monotonic()
        with self._lock:
            self._kept[name] = (member, now, frames)
            while self._kept and next(iter(self._kept.values()))[1] < now - _KEPT_SECONDS:
                self._kept.popitem(last=False)
            while len(self._kept) > _MOST_PREVIEWS or (len(self._kept) > 1 and self._size() > _LARGEST_STASH):
                self._kept.popitem(last=False)
        return name

    def find(self, member: int, name: str, frame: str) -> bytes | None:
        """Return one part, or None if it has expired or belongs to another member."""
        with self._lock:
            owner, since, frames = self._kept.get(name, (0, 0.0, {}))
        return frames.get(frame) if owner == member and since >= time.monotonic() - _KEPT_SECONDS else None

    def drop(self, member: int, name: str) -> None:
        """Forget parts that are no longer needed."""
        with self._lock:
            if self._kept.get(name, (0,))[0] == member:
                del self._kept[name]

    def _size(self) -> int:
        return sum(len(frame) for _, _, frames in self._kept.values() for frame in frames.values())


@dataclass(frozen=True)
class Visit:
    """One request whose session, role and form token have been checked."""

    runtime: Runtime
    pages: RoomPages
    path: str
    """The path below the room's root, such as `editions/weekly/3`."""
    params: Mapping[str, str]
    query: Mapping[str, str]
    cookies: Mapping[str, str]
    fields: Fields
    member: TeamMember | None
    cookie: str
    """The token of the session, or of the cookie before the sign-in."""
    language: str
    network: str
    browser: str
    is_secure: bool
    navigation: Sequence[tuple[str, str]] = field(default=())
    """Path and label of each screen that this member may see."""
    files: Mapping[str, UploadedFile] = field(default_factory=dict)
    """The files of the form."""
    previews: PreviewStash = field(default_factory=PreviewStash)

    @property
    def newsroom(self) -> Newsroom:
        """The present configuration."""
        return self.runtime.newsroom

    @property
    def person(self) -> TeamMember:
        """The member who is signed in. Only for routes that need a role."""
        assert self.member is not None
        return self.member

    @property
    def words(self) -> RoomWords:
        """Words and dates in the member's language."""
        return RoomWords(self.language, self.newsroom.site.timezone)

    @property
    def root(self) -> str:
        """The path of the room on its host."""
        return room_root(self.newsroom)

    def local(self, url: str) -> str:
        """Return the path of one of our own pages, since this server has them even if the site is not public yet."""
        own = self.newsroom.site.url
        return self.root.removesuffix("room/") + url.removeprefix(own) if url.startswith(own) else url

    def field(self, name: str, most: int = 500) -> str:
        """Return one field of the form, without space around it, or '' if it is missing.

        Raises LongTextError for more than `most` characters: a cut text would be saved without its end.
        """
        text = self.fields.get(name, [""])[0].strip()
        if len(text) > most:
            raise LongTextError(
                self.words.gettext(
                    "One text is too long (characters: %(count)s, at most %(most)s). Nothing was saved yet.",
                    count=self.words.count(len(text)),
                    most=self.words.count(most),
                )
            )
        return text

    def may(self, least: Role) -> bool:
        """Whether the member has at least this role."""
        return self.member is not None and self.member.role.includes(least)

    def moment_field(self, text: str) -> datetime | None:
        """Return a local day and time as a browser sends it, in the newsroom's zone; None for any other text."""
        zone = self.newsroom.site.zone
        try:
            return to_utc(datetime.fromisoformat(text), zone).astimezone(zone) if _MOMENT.fullmatch(text) else None
        except ValueError:
            return None

    def text(self, message: str, **values: Any) -> str:
        """Translate a message that is marked for translation elsewhere."""
        return self.words.gettext(message, **values)

    def site(self) -> SiteView:
        """The publisher, in the member's language if the site has it, else in the site's first language."""
        languages = self.newsroom.site.languages
        return site_view(self.newsroom, self.language if self.language in languages else languages[0], languages)

    def page(
        self, template: str, title: str, status: int = 200, *, wrong: str = "", script: str = "", **values: Any
    ) -> Response:
        """Render a page of the room. `wrong` is shown at its top as an error. Only `script` may run there."""
        said = said_texts(self.words).get(self.query.get("said", ""), "")
        frame = {
            "root": self.root,
            "title": title,
            "zone": self.newsroom.site.timezone,
            "token": csrf_token(self.cookie) if self.cookie else "",
            "member": self.member.shown_name if self.member else "",
            "role": self.member.role.value if self.member else "",
            "nav": [
                {"path": path, "label": label, "current": self.path == path or (path and self.path.startswith(path))}
                for path, label in self.navigation
            ],
            "said": said if status == 200 and not wrong else "",
            "wrong": translate_check(wrong, self.language),
            "script": script,
            "is_demo": self.runtime.is_demo,
            "may": {role.value: self.may(role) for role in Role},
        }
        body = self.pages.page(template, self.site(), self.words, frame, **values)
        headers = {**HEADERS, "Content-Language": self.language}
        if script:
            headers["Content-Security-Policy"] += "; script-src 'self'; connect-src 'self'"
        return Response(body, status, media_type="text/html; charset=utf-8", headers=headers)

    def message(self, title: str, *texts: str, status: int = 200) -> Response:
        """Return a page with one message."""
        shown = [translate_check(text, self.language) for text in texts]
        return self.page("message.html.j2", title, status, texts=shown, kept=())

    def not_found(self) -> Response:
        """Return the page for something that does not exist, or that does not belong to the member's lists."""
        words = self.words
        return self.message(
            words.gettext("Not found"), words.gettext("There is no such thing here, or not for your lists."), status=404
        )

    def redirect(self, path: str, said: str = "") -> Response:
        """Redirect to a screen (303), which shows the text of the key `said` in `said_texts` once."""
        where = f"{self.root}{quote(path, safe='/?=&%-_.~#')}"
        if said:
            where, mark, anchor = where.partition("#")
            where = f"{where}{'&' if '?' in where else '?'}said={said}{mark}{anchor}"
        return RedirectResponse(where, 303, headers=HEADERS)

    def record(self, connection: Connection, action: str, about: str, details: str = "") -> None:
        """Write a line of the log in the member's name."""
        team.record_action(
            connection, action, about, who=self.person.email, via="room", now=real_now(), details=details
        )

    def set_session(self, response: Response, token: str) -> Response:
        """Set the cookie of a session. The cookie from before stays, for forms that are open in other tabs."""
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(SESSION_LENGTH.total_seconds()),
            path=self.root,
            secure=self.is_secure,
            httponly=True,
            samesite="lax",
        )
        return response

    def end_session(self, response: Response) -> Response:
        """Delete the cookie of the session."""
        response.delete_cookie(COOKIE, path=self.root)
        return response


def room_root(newsroom: Newsroom) -> str:
    """Return the path of the room on its host: `/room/`, with the path of the site before it."""
    return f"{urlsplit(newsroom.site.url).path or '/'}room/"


def choose_language(member: TeamMember | None, preferred: Sequence[str]) -> str:
    """Return the member's own language, else the browser's first language that the room has, else English."""
    known = room_languages()
    own = [member.language] if member and member.language else []
    return next((language for language in (*own, *preferred) if language in known), "en")


def said_texts(words: RoomWords) -> dict[str, str]:
    """Return the messages that a screen shows after an action, by the key in its URL."""
    return {
        "saved": words.gettext("Saved."),
        "saved_draft": words.gettext("Saved. It is a draft: nobody outside sees it until it is ready."),
        "ready": words.gettext("Saved. It is ready, and Today shows the edition that takes it."),
        "saved_waits": words.gettext(
            "Saved. Another file has an error, so the newsroom takes it up once that is mended."
        ),
        "corrected": words.gettext("Saved. The next edition tells those who had the story. Build waiting ones again."),
        "corrected_only": words.gettext(
            "Saved. But title, summary and text are as they were. Mend the wrong words there too, then save again."
        ),
        "withdrawn": words.gettext("Withdrawn. Posts are taken down, and editions that carry it are held."),
        "added": words.gettext("Added."),
        "asked": words.gettext("They are asked by mail. They are on the list once they confirm."),
        "planned": words.gettext("Saved. Today and the calendar show it within a minute."),
        "planned_edition": words.gettext("Saved. The edition is built with this at its time."),
        "moved": words.gettext("Moved. The calendar shows it within a minute."),
        "no_form": words.gettext("This file has more than the form can show, so here is its YAML."),
        "post_changed": words.gettext("It is done as soon as the network answers. This page shows the result."),
        "removed": words.gettext("Removed."),
        "released": words.gettext("Released. It is sent at its time, or at once if that time has passed."),
        "approved": words.gettext("Approved. It is sent once the others approve it too."),
        "sent_back": words.gettext("Sent back. The newsroom gets your comment."),
        "cancelled": words.gettext("Cancelled. Its stories can be used again."),
        "recomposed": words.gettext("Built again from the stories as they are now."),
        "changed": words.gettext("Changed. Check it again."),
        "taken_back": words.gettext("Taken back. It waits for a decision again."),
        "postponed": words.gettext("It is sent at the other time, once it is released."),
        "tested": words.gettext("A test is on its way to your own address."),
        "paused": words.gettext("Paused. Editions that come due now wait."),
        "resumed": words.gettext("Resumed."),
        "signed_out": words.gettext("Signed out."),
        "welcome": words.gettext("Welcome. You are signed in."),
        "restored": words.gettext("The earlier version is back. The one that it replaced is kept too."),
        "unchanged": words.gettext("Nothing was changed."),
        "settled": words.gettext("Settled."),
        "event": words.gettext("A test event is on its way. Load this page again in a moment to see how it went."),
        "passkey": words.gettext("The passkey is added."),
        "password": words.gettext("Your password is changed, and other browsers are signed out."),
    }
