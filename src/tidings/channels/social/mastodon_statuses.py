"""An account's own statuses, read back to settle a doubt (docs.joinmastodon.org/methods/accounts#statuses)."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from tidings.model.delivery import Outcome, Verdict
from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError

_PAGE = 20
_PAGES = 10
_MOST = 2 * 1024 * 1024
"""Bytes of a page."""
_CLOCKS = timedelta(minutes=5)
"""How far the server's clock may stand from ours."""
_LINK = re.compile(r"https?://\S+")
_ANCHOR = re.compile(r"<a\b[^>]*>")
_HREF = re.compile(r'\bhref="([^"]*)"')
_OWN = re.compile(r'\bclass="[^"]*\b(?:mention|hashtag)\b')
_SPACE = re.compile(r"<br\s*/?>|</p>")
_TAG = re.compile(r"<[^>]*>")


def look_for(
    session: GuardedSession, api: str, headers: dict[str, str], text: str, since: datetime, reply_to: str = ""
) -> Outcome:
    """Whether a status with this text, or with exactly its links, was posted since that moment, and as that answer."""
    who = _read(session, f"{api}accounts/verify_credentials", headers)
    if not isinstance(who, dict) or not re.fullmatch(r"[A-Za-z0-9]{1,64}", str(who.get("id"))):
        return _untold(who)
    url = f"{api}accounts/{who['id']}/statuses?exclude_reblogs=true&limit={_PAGE}"
    last = ""
    alike: list[dict[str, Any]] = []
    for _ in range(_PAGES):
        page = _read(session, f"{url}&max_id={last}" if last else url, headers)
        if not isinstance(page, list):
            return _untold(page)
        moments = [_posted(one) for one in page]
        if None in moments:
            return _untold(None)
        recent = [one for one, moment in zip(page, moments, strict=True) if moment and moment >= since - _CLOCKS]
        for one in recent:
            if str(one.get("in_reply_to_id") or "") != reply_to:
                continue
            if _words(one["content"]) == " ".join(text.split()):
                return _found(one)
            if _links(text) and _links_of(one["content"]) == _links(text):
                alike.append(one)
        if len(recent) < len(page) or not page:
            return _found(alike[0]) if alike else Outcome(Verdict.NOT_STARTED, reason="it is not in the account")
        last = str(recent[-1]["id"])
    return Outcome(Verdict.UNKNOWN, reason="too much was posted since to find it")


def _read(session: GuardedSession, url: str, headers: dict[str, str]) -> Any:
    """What JSON says; an HttpResponse or a text where there is none."""
    try:
        answer = session.request("GET", url, None, headers, _MOST)
    except (NotSentError, ConnectionLostError) as error:
        return str(error)
    if answer.status != 200:
        return answer
    try:
        return json.loads(answer.text)
    except (ValueError, RecursionError):
        return "the server answered with something else"


def _untold(answer: Any) -> Outcome:
    """The account could not be read: nothing is known of the post."""
    if isinstance(answer, HttpResponse):
        mend = "; the token needs read:accounts and read:statuses" if answer.status in (401, 403) else ""
        return Outcome(Verdict.UNKNOWN, reason=f"reading the account back: HTTP {answer.status}{mend}")
    word = answer if isinstance(answer, str) else "the server answered with something else"
    return Outcome(Verdict.UNKNOWN, reason=f"reading the account back: {word}")


def _found(status: dict[str, Any]) -> Outcome:
    return Outcome(Verdict.ACCEPTED, receipt=str(status["id"]), via=str(status.get("url") or ""))


def _posted(status: Any) -> datetime | None:
    """When; None where this is no status."""
    try:
        moment = datetime.fromisoformat(status["created_at"])
        _ = status["content"] + status["id"]
    except (LookupError, TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _words(content: str) -> str:
    """The text of a status without its HTML, on one line."""
    return " ".join(html.unescape(_TAG.sub("", _SPACE.sub(" ", content))).split())


def _links(text: str) -> set[str]:
    """Addresses in a text; a full stop behind one is none of its own."""
    return {link.rstrip(".,;:!?)…") for link in _LINK.findall(text)}


def _links_of(content: str) -> set[str]:
    """Addresses that a status links; hashtags and mentions are none."""
    anchors = [tag for tag in _ANCHOR.findall(content) if not _OWN.search(tag)]
    return {html.unescape(href).rstrip(".,;:!?)…") for tag in anchors for href in _HREF.findall(tag)}
