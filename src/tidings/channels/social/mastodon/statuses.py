"""An account's own statuses, read to resolve an unknown outcome (docs.joinmastodon.org/methods/accounts#statuses)."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from tidings.model.delivery import Outcome, Verdict
from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError

_PAGE_SIZE = 20
_MAX_PAGES = 10
_MAX_PAGE_BYTES = 2 * 1024 * 1024
_CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far the server's clock may differ from ours."""
_INVALID = "the answer cannot be read"
_LINK = re.compile(r"https?://\S+")
_ANCHOR = re.compile(r"<a\b[^<>]*>")
_HREF = re.compile(r'\bhref="([^"]*)"')
_MENTION_OR_HASHTAG = re.compile(r'\bclass="[^"]*\b(?:mention|hashtag)\b')
_SPACE = re.compile(r"<br\s*/?>|</p>")
_TAG = re.compile(r"<[^<>]*>")


def find_status(
    session: GuardedSession, api: str, headers: dict[str, str], text: str, since: datetime, reply_to: str = ""
) -> Outcome:
    """Find a status with this text, or with exactly its links, posted since then as a reply to `reply_to`."""
    account = _read(session, f"{api}/accounts/verify_credentials", headers)
    if not isinstance(account, dict) or not re.fullmatch(r"[A-Za-z0-9]{1,64}", str(account.get("id"))):
        return _unreadable(account)
    url = f"{api}/accounts/{account['id']}/statuses?exclude_reblogs=true&limit={_PAGE_SIZE}"
    last = ""
    similar: list[dict[str, Any]] = []
    for _ in range(_MAX_PAGES):
        page = _read(session, f"{url}&max_id={last}" if last else url, headers)
        if not isinstance(page, list):
            return _unreadable(page)
        moments = [_posted_at(status) for status in page]
        if None in moments:
            return _unreadable(_INVALID)
        oldest = since - _CLOCK_TOLERANCE
        recent = [status for status, moment in zip(page, moments, strict=True) if moment and moment >= oldest]
        for status in recent:
            if str(status.get("in_reply_to_id") or "") != reply_to:
                continue
            if _plain_text(status["content"]) == " ".join(text.split()):
                return _found(status)
            if _links(text) and _linked_urls(status["content"]) == _links(text):
                similar.append(status)
        if len(recent) < len(page) or not page:
            not_there = Outcome(Verdict.NOT_STARTED, reason="the post is not in the account")
            return _found(similar[0]) if similar else not_there
        last = str(recent[-1]["id"])
    return Outcome(Verdict.UNKNOWN, reason="too many posts came since to find ours")


def _read(session: GuardedSession, url: str, headers: dict[str, str]) -> Any:
    """Return the JSON, else the HttpResponse, else the reason of a failure."""
    try:
        answer = session.request("GET", url, None, headers, _MAX_PAGE_BYTES)
    except (NotSentError, ConnectionLostError) as error:
        return str(error)
    if answer.status != 200:
        return answer
    try:
        return json.loads(answer.text)
    except (ValueError, RecursionError):
        return _INVALID


def _unreadable(answer: Any) -> Outcome:
    reason = answer if isinstance(answer, str) else _INVALID
    if isinstance(answer, HttpResponse):
        hint = "; the token needs read:accounts and read:statuses" if answer.status in (401, 403) else ""
        reason = f"HTTP {answer.status}{hint}"
    return Outcome(Verdict.UNKNOWN, reason=f"the account could not be read back: {reason}")


def _found(status: dict[str, Any]) -> Outcome:
    return Outcome(Verdict.ACCEPTED, receipt=str(status["id"]), via=str(status.get("url") or ""))


def _posted_at(status: Any) -> datetime | None:
    """Return when it was posted, or None if this is not a status."""
    try:
        moment = datetime.fromisoformat(status["created_at"])
        _ = status["content"] + status["id"]
    except (LookupError, TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _plain_text(content: str) -> str:
    """Return the text of a status without its HTML, on one line."""
    return " ".join(html.unescape(_TAG.sub("", _SPACE.sub(" ", content))).split())


def _links(text: str) -> set[str]:
    """Return the URLs in a text, without the punctuation after them."""
    return {link.rstrip(".,;:!?)…") for link in _LINK.findall(text)}


def _linked_urls(content: str) -> set[str]:
    """Return the URLs of the links in a status, except hashtags and mentions."""
    anchors = [tag for tag in _ANCHOR.findall(content) if not _MENTION_OR_HASHTAG.search(tag)]
    return {html.unescape(href).rstrip(".,;:!?)…") for tag in anchors for href in _HREF.findall(tag)}
