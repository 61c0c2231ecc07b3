"""A LinkedIn page, by POST /rest/posts (learn.microsoft.com/linkedin/marketing/community-management, "Posts API")."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import (
    INVALID_RECEIPT,
    HttpChannel,
    describe_refusal,
    doubt_success,
    encode_json,
    json_headers,
    must_match,
    read_object,
    upload_once,
)
from tidings.channels.wording import Wording, fit
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import HttpResponse

MAX_TEXT = 3_000
"""Most characters of a commentary, including escapes."""
_TITLE, _DESCRIPTION, _ALT = 400, 4_000, 4_000
_LITTLE_TEXT = re.compile(r"([\\|{}@\[\]()<>#*_~])")
_THUMBNAIL = 5_000_000
"""Most bytes of a card's picture. LinkedIn only has a limit of 36,152,320 pixels ("Images API")."""
_IMAGE = re.compile(r"urn:li:image:[A-Za-z0-9_-]{1,100}")
_URN = re.compile(r"urn:li:(?:share|ugcPost|activity):[0-9]{1,25}")


class Settings(ChannelSettings):
    """`type: linkedin`."""

    organization: Line = Field(description="The page's number, as in its address when you administer it.")
    token: SecretStr = Field(description="Access token with w_organization_social: {env: NAME} or {file: PATH}.")
    version: Annotated[
        Line, must_match(r"20[0-9]{2}(?:0[1-9]|1[0-2])", "is not a version; write year and month, such as 202610")
    ] = Field(default="202610", description="Version of LinkedIn's API, a month; each lives for a year.")
    server: SiteUrl = Field(default="https://api.linkedin.com/", description="Where the API is.")

    @field_validator("organization")
    @classmethod
    def _is_number(cls, value: str) -> str:
        number = value.removeprefix("urn:li:organization:")
        if not re.fullmatch(r"[0-9]{1,20}", number):
            raise ValueError(f"{value!r} is not a page; write its number, such as 2414183")
        return number


class LinkedInChannel(HttpChannel[Settings]):
    """A LinkedIn page. LinkedIn has no idempotency key, but refuses the same text twice, and names the first post."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)

    def prepare(self, post: Post) -> bytes:
        """Return a commentary, and for a single story a card with our text. The picture is uploaded later."""
        wording = fit(post, lambda wording: len(_commentary(wording)) <= MAX_TEXT)
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
        return encode_json(message)

    def length(self, body: bytes) -> int:
        return len(json.loads(body)["commentary"])

    def text(self, body: bytes) -> str:
        """Return the visible commentary, and the card."""
        message = json.loads(body)
        text = re.sub(r"\{hashtag\|\\#\|(\w+)\}", r"#\1", message["commentary"])
        card = message.get("content", {}).get("article", {})
        parts = [re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL), card.get("title", ""), card.get("source", "")]
        return "\n\n".join(filter(None, parts))

    def card(self, body: bytes) -> Card | None:
        card = json.loads(body).get("content", {}).get("article")
        if card is None:
            return None
        names = ("source", "title", "description", "thumbnail", "thumbnailAltText")
        return Card(*(card.get(name, "") for name in names))

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it, with its picture if there is one. A picture never makes a post fail."""
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
            # LinkedIn may have refused the picture; nothing was posted.
            del article["thumbnail"], article["thumbnailAltText"]
        return self._post(message)

    def _post(self, message: dict[str, Any]) -> Outcome:
        """Send the request. Success is 201 with the URN of the post in a header."""
        answer = self._ask("POST", "", encode_json(message))
        if isinstance(answer, Outcome):
            return answer
        if answer.status == 422:
            first = _URN.search(answer.text) if "DUPLICATE_POST" in answer.text else None
            return self._published(first[0]) if first else self._reject(answer)
        urn = answer.headers.get("x-restli-id", "")
        return self._published(urn) if _URN.fullmatch(urn) else doubt_success(answer, "the URN of a post")

    def _upload(self, picture: bytes) -> str:
        """Return the URN of a picture ("Images API": initializeUpload, then PUT); '' if LinkedIn did not accept it."""
        owner = f"urn:li:organization:{self._settings.organization}"
        request = json.dumps({"initializeUploadRequest": {"owner": owner}}).encode()
        url = f"{self._settings.server}rest/images?action=initializeUpload"
        answer = self.request(url, request, self._headers())
        value = read_object(answer).get("value") if isinstance(answer, HttpResponse) else None
        place, image = (str(value.get(key)) for key in ("uploadUrl", "image")) if isinstance(value, dict) else ("", "")
        if not _IMAGE.fullmatch(image) or not self._is_linkedin(place):
            return ""
        headers = {"Authorization": self._headers()["Authorization"], "Content-Type": "application/octet-stream"}
        return image if isinstance(self.request(place, picture, headers, "PUT"), HttpResponse) else ""

    def _is_linkedin(self, url: str) -> bool:
        """Whether an upload URL belongs to LinkedIn. The token is sent there."""
        try:
            parts, server = urlsplit(url), urlsplit(self._settings.server)
            is_same = (parts.scheme, parts.hostname, parts.port) == (server.scheme, server.hostname, server.port)
        except ValueError:
            return False
        return is_same or (parts.scheme == "https" and f".{parts.hostname}".endswith(".linkedin.com"))

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Replace the commentary. The card of a post cannot be changed."""
        patch = {"patch": {"$set": {"commentary": json.loads(body)["commentary"]}}}
        return self._change("POST", receipt, json.dumps(patch, ensure_ascii=False).encode())

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete the post. 404 means that it is already deleted."""
        return self._change("DELETE", receipt, None)

    def _change(self, method: str, receipt: str, body: bytes | None) -> Outcome:
        if not _URN.fullmatch(receipt):
            return INVALID_RECEIPT
        answer = self._ask(method, f"/{quote(receipt, safe='')}", body)
        if isinstance(answer, Outcome):
            return answer
        if answer.status in (404, 422) and not (method == "DELETE" and answer.status == 404):
            return self._reject(answer)
        return self._published(receipt)

    def _ask(self, method: str, path: str, body: bytes | None) -> HttpResponse | Outcome:
        url, headers = f"{self._settings.server}rest/posts{path}", self._headers()
        if path and method == "POST":
            headers["X-RestLi-Method"] = "PARTIAL_UPDATE"
        also = (404, 422, 426) if path else (422, 426)
        answer = self.request(url, body, headers, method, also=also)
        if isinstance(answer, HttpResponse) and answer.status == 426:
            reason = f"HTTP 426: LinkedIn has ended version {self._settings.version} of its API"
            mend = "set `version` of this channel to a month of this year"
            return Outcome(Verdict.NOT_STARTED, reason=f"{reason}; {mend}")
        return answer

    def _headers(self) -> dict[str, str]:
        own = {"Linkedin-Version": self._settings.version, "X-Restli-Protocol-Version": "2.0.0"}
        return json_headers(self._settings.token) | own

    def _reject(self, answer: HttpResponse) -> Outcome:
        reason = describe_refusal(answer, answer.text, self._settings.server, self._headers())
        return Outcome(Verdict.REJECTED, reason=reason)

    def _published(self, urn: str) -> Outcome:
        return self.accepted(urn, f"https://www.linkedin.com/feed/update/{urn}/")


def _commentary(wording: Wording) -> str:
    """Return LinkedIn's "little text". A single story has its link in the card, several stories below their titles."""
    parts = [_escape(wording.heading), _escape(wording.text)]
    for story in wording.stories:
        lines = [story.title, story.summary, story.correction, "" if not wording.heading else story.link]
        parts.append("\n".join(_escape(line) for line in lines if line))
    if wording.more:
        parts.append(f"+{wording.more}\n{_escape(wording.url)}")
    parts.append(" ".join(f"{{hashtag|\\#|{tag[1:]}}}" for tag in wording.tags))
    return "\n\n".join(filter(None, parts))


def _escape(text: str) -> str:
    """Escape the reserved characters of little text. A headline then mentions nobody."""
    return _LITTLE_TEXT.sub(r"\\\1", text)


make = LinkedInChannel
