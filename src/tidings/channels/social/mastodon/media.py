"""Upload pictures for statuses, and wait for the server to process them (docs.joinmastodon.org/methods/media)."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import Any

from tidings.channels.base import Attempt
from tidings.channels.http import HttpChannel, defer_unknown, image_type, read_object, remember_upload, upload_once
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse

MAX_PICTURE = 2_000_000
"""Most bytes of a picture. Servers accept 16 MB by default."""
_MAX_CHECKS = 5
"""How often we ask the server if the picture is ready. After that the post is sent without it."""
_FIRST_WAIT = 5.0
"""Seconds before the first check. Each further wait is twice as long."""
_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_BUSY = " busy "
"""Separates the id and the number of checks in a stored upload."""


class MediaUploads:
    """The pictures of one account. `api` is the address of all versions of the API; `headers` are for its login."""

    def __init__(self, channel: HttpChannel[Any], api: str, headers: dict[str, str]) -> None:
        self._channel = channel
        self._api = api
        self._headers = headers

    def upload(self, data: bytes, alt: str, attempt: Attempt) -> str | Outcome:
        """Return the id of a picture that is ready, '' if there is none, or DEFERRED while the server processes it."""
        remote = upload_once(attempt, data, partial(self._upload, data, alt))
        media_id, busy, checks = remote.partition(_BUSY)
        if not busy:
            return media_id
        if checks:
            answer = self._channel.request(f"{self._api}/v1/media/{media_id}", None, self._headers, "GET")
            if isinstance(answer, HttpResponse) and answer.status == 200:
                remember_upload(attempt, data, media_id)
                return media_id
            if isinstance(answer, Outcome) and answer.verdict is Verdict.DEFERRED:
                return answer
            if isinstance(answer, Outcome) or int(checks) >= _MAX_CHECKS:
                return ""
        count = int(checks or 0)
        remember_upload(attempt, data, f"{media_id}{_BUSY}{count + 1}")
        wait = _FIRST_WAIT * 2**count
        return Outcome(Verdict.DEFERRED, reason="the server is still busy with the picture", retry_after=wait)

    def ids_of(self, status: str) -> list[str] | Outcome:
        """Return the ids of a status's pictures. An edit without these ids would remove the pictures."""
        answer = self._channel.request(f"{self._api}/v1/statuses/{status}", None, self._headers, "GET")
        if isinstance(answer, Outcome):
            return defer_unknown(answer)
        media = read_object(answer).get("media_attachments")
        return [str(item.get("id")) for item in media if isinstance(item, dict)] if isinstance(media, list) else []

    def _upload(self, data: bytes, alt: str) -> str:
        """Upload a picture and return its id, with a mark while the server processes it (202), or '' if refused."""
        content_type, body = _form(data, alt)
        headers = {**self._headers, "Content-Type": content_type}
        answer = self._channel.request(f"{self._api}/v2/media", body, headers)
        media_id = str(read_object(answer).get("id", "")) if isinstance(answer, HttpResponse) else ""
        if not isinstance(answer, HttpResponse) or not _ID.fullmatch(media_id):
            return ""
        return f"{media_id}{_BUSY}" if answer.status == 202 else media_id


def _form(data: bytes, alt: str) -> tuple[str, bytes]:
    """Return type and body of a form (RFC 7578) with a picture and its alt text. Equal arguments give equal bytes."""
    boundary = hashlib.sha256(data + alt.encode()).hexdigest()
    kind = image_type(data)
    name = "picture.png" if kind == "image/png" else "picture.jpg"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="description"\r\n\r\n{alt}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode(),
        f"Content-Type: {kind}\r\n\r\n".encode(),
        data,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)
