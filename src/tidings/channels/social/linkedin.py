"""A LinkedIn page, by POST /rest/posts (learn.microsoft.com/linkedin/marketing/community-management, "Posts API")."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import quote_answer, read_object, send_request
from tidings.channels.uploads import upload_once
from tidings.channels.wording import Wording, fit
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import GuardedSession, HttpResponse

MAX_TEXT = 3_000
"""Characters of a commentary; what is escaped is counted so."""
_TITLE, _DESCRIPTION, _ALT = 400, 4_000, 4_000
_LITTLE_TEXT = re.compile(r"([\\|{}@\[\]()<>#*_~])")
_THUMBNAIL = 5_000_000
"""Bytes of a card's picture; LinkedIn says no limit but 36,152,320 pixels (learn.microsoft.com, "Images API")."""
_IMAGE = re.compile(r"urn:li:image:[A-Za-z0-9_-]{1,100}")
_URN = re.compile(r"urn:li:(?:share|ugcPost|activity):[0-9]{1,25}")
_VERSION = re.compile(r"20[0-9]{2}(?:0[1-9]|1[0-2])")


class Settings(ChannelSettings):
    """`type: linkedin`."""

    organization: Line = Field(description="The page's number, as in its address when you administer it.")
    token: SecretStr = Field(description="Access token with w_organization_social: {env: NAME} or {file: PATH}.")
    version: Line = Field(default="202610", description="Version of LinkedIn's API, a month; each lives for a year.")
    server: SiteUrl = Field(default="https://api.linkedin.com/", description="Where the API stands.")

    @field_validator("organization")
    @classmethod
    def _is_number(cls, value: str) -> str:
        number = value.removeprefix("urn:li:organization:")
        if not re.fullmatch(r"[0-9]{1,20}", number):
            raise ValueError(f"{value!r} is no page; write its number, such as 2414183")
        return number

    @field_validator("version")
    @classmethod
    def _is_month(cls, value: str) -> str:
        if not _VERSION.fullmatch(value):
            raise ValueError(f"{value!r} is no version; write year and month, such as 202610")
        return value


class LinkedInChannel:
    """LinkedIn promises no key for repeats; it refuses the same text twice, and names the post that stands."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, markup="little-text")

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """A commentary, and for one story the card of its page, in our words; its picture still by our address."""
        wording = fit(post, lambda tried: len(_commentary(tried)) <= MAX_TEXT)
        message: dict[str, Any] = {
            "author": f"urn:li:organization:{self._settings.organization}",
            "commentary": _commentary(wording),
            "visibility": "PUBLIC",
            "distribution": {
                "feedDistribution": "MAIN_FEED",
                "targetEntities": [],
                "thirdPartyDistributionChannels": [],
            },
            "lifecycleState": "PUBLISHED",
            "isReshareDisabledByAuthor": False,
        }
        if len(post.items) == 1:
            item = post.items[0]
            card = {
                "source": item.url,
                "title": shorten(item.title, _TITLE),
                "description": shorten(item.summary, _DESCRIPTION),
                "thumbnail": item.image if item.image_alt else "",
                "thumbnailAltText": shorten(item.image_alt, _ALT) if item.image else "",
            }
            message["content"] = {"article": {key: value for key, value in card.items() if value}}
        return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Characters of the commentary as it is sent."""
        return len(json.loads(body)["commentary"])

    def text(self, body: bytes) -> str:
        """The commentary as people read it, and the card."""
        message = json.loads(body)
        words = re.sub(r"\{hashtag\|\\#\|(\w+)\}", r"#\1", message["commentary"])
        card = message.get("content", {}).get("article", {})
        parts = [re.sub(r"\\(.)", r"\1", words, flags=re.DOTALL), card.get("title", ""), card.get("source", "")]
        return "\n\n".join(filter(None, parts))

    def card(self, body: bytes) -> Card | None:
        """Ours, for a single story."""
        card = json.loads(body).get("content", {}).get("article")
        if card is None:
            return None
        names = ("source", "title", "description", "thumbnail", "thumbnailAltText")
        return Card(*(card.get(name, "") for name in names))

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it, with its picture if that can be had: one that cannot costs the card its picture, never the post."""
        message = json.loads(body)
        article = message.get("content", {}).get("article", {})
        picture, alt = article.pop("thumbnail", ""), article.pop("thumbnailAltText", "")
        data = attempt.picture(picture, _THUMBNAIL) if picture else None
        image = upload_once(attempt, data, partial(self._upload, data)) if data else ""
        if image:
            article |= {"thumbnail": image, "thumbnailAltText": alt}
            outcome = self._post(message)
            if outcome.verdict is not Verdict.REJECTED or outcome.disable:
                return outcome
            # It may be the picture that is refused; nothing was posted.
            del article["thumbnail"], article["thumbnailAltText"]
        return self._post(message)

    def _post(self, message: dict[str, Any]) -> Outcome:
        """Success is 201 with the URN of the post in a header."""
        answer = self._ask("POST", "", json.dumps(message, ensure_ascii=False, sort_keys=True).encode())
        if isinstance(answer, Outcome):
            return answer
        if answer.status == 422:
            stands = _URN.search(answer.text) if "DUPLICATE_POST" in answer.text else None
            if stands:
                return self._stands(stands[0])
            return Outcome(Verdict.REJECTED, reason=f"HTTP 422: {self._words(answer)}")
        urn = answer.headers.get("x-restli-id", "")
        if not _URN.fullmatch(urn):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the URN of a post")
        return self._stands(urn)

    def _upload(self, picture: bytes) -> str:
        """The URN of a picture ("Images API": initializeUpload, then PUT); empty where LinkedIn did not take it."""
        owner = f"urn:li:organization:{self._settings.organization}"
        asked = json.dumps({"initializeUploadRequest": {"owner": owner}}).encode()
        url = f"{self._settings.server}rest/images?action=initializeUpload"
        answer = send_request(self._session, url, asked, self._headers())
        value = read_object(answer).get("value") if isinstance(answer, HttpResponse) else None
        place, image = (str(value.get(key)) for key in ("uploadUrl", "image")) if isinstance(value, dict) else ("", "")
        if not _IMAGE.fullmatch(image) or not self._is_linkedin(place):
            return ""
        headers = {"Authorization": self._headers()["Authorization"], "Content-Type": "application/octet-stream"}
        return image if isinstance(send_request(self._session, place, picture, headers, "PUT"), HttpResponse) else ""

    def _is_linkedin(self, url: str) -> bool:
        """Whether a place that the API names is LinkedIn's: the token goes there."""
        try:
            parts, server = urlsplit(url), urlsplit(self._settings.server)
            same = (parts.scheme, parts.hostname, parts.port) == (server.scheme, server.hostname, server.port)
        except ValueError:
            return False
        return same or (parts.scheme == "https" and f".{parts.hostname}".endswith(".linkedin.com"))

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Put another commentary in its place; the card of a post cannot be changed."""
        patch = {"patch": {"$set": {"commentary": json.loads(body)["commentary"]}}}
        return self._change("POST", receipt, json.dumps(patch, ensure_ascii=False).encode())

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete it. 404: it is gone."""
        return self._change("DELETE", receipt, None)

    def _change(self, method: str, receipt: str, body: bytes | None) -> Outcome:
        if not _URN.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no URN of a post of ours")
        answer = self._ask(method, f"/{quote(receipt, safe='')}", body)
        if isinstance(answer, Outcome):
            return answer
        if answer.status in (404, 422) and not (method == "DELETE" and answer.status == 404):
            return Outcome(Verdict.REJECTED, reason=f"HTTP {answer.status}: {self._words(answer)}".rstrip(": "))
        return self._stands(receipt)

    def _ask(self, method: str, path: str, body: bytes | None) -> HttpResponse | Outcome:
        url, headers = f"{self._settings.server}rest/posts{path}", self._headers()
        if path and method == "POST":
            headers["X-RestLi-Method"] = "PARTIAL_UPDATE"
        also = (404, 422, 426) if path else (422, 426)
        answer = send_request(self._session, url, body, headers, method, also=also)
        if isinstance(answer, HttpResponse) and answer.status == 426:
            ended = f"HTTP 426: LinkedIn has ended version {self._settings.version} of its API"
            return Outcome(Verdict.REJECTED, reason=f"{ended}; set `version` of this channel to a month of this year")
        return answer

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._settings.token.get_secret_value()}",
            "Content-Type": "application/json",
            "Linkedin-Version": self._settings.version,
            "X-Restli-Protocol-Version": "2.0.0",
        }

    def _words(self, answer: HttpResponse) -> str:
        return quote_answer(answer.text, self._settings.server, self._headers())

    def _stands(self, urn: str) -> Outcome:
        return Outcome(Verdict.ACCEPTED, receipt=urn, via=f"https://www.linkedin.com/feed/update/{urn}/")


def _commentary(wording: Wording) -> str:
    """Little text. The link of a single story is that of its card; of several, each stands below its title."""
    parts = [_escape(wording.heading), _escape(wording.text)]
    for story in wording.stories:
        words = [story.title, story.summary, story.correction, "" if not wording.heading else story.link]
        parts.append("\n".join(_escape(one) for one in words if one))
    if wording.more:
        parts.append(f"+{wording.more}\n{_escape(wording.url)}")
    parts.append(" ".join(f"{{hashtag|\\#|{tag[1:]}}}" for tag in wording.tags))
    return "\n\n".join(filter(None, parts))


def _escape(text: str) -> str:
    """What little text reserves; a headline then mentions nobody."""
    return _LITTLE_TEXT.sub(r"\\\1", text)


def make(name: str, settings: Settings) -> LinkedInChannel:
    """The channel of one name."""
    return LinkedInChannel(name, settings)
