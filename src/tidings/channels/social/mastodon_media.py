"""Pictures of statuses: uploaded, and waited for while the server is busy (docs.joinmastodon.org/methods/media)."""

from __future__ import annotations

import hashlib
import re
from functools import partial

from tidings.channels.base import Attempt
from tidings.channels.http import read_object, send_request
from tidings.channels.uploads import remember_upload, upload_once
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession, HttpResponse

MAX_PICTURE = 2_000_000
"""Bytes; servers take 16 MB unless they are set otherwise."""
_PATIENCE = 5
"""So many times the server is asked whether it is done; then the post goes without."""
_FIRST_WAIT = 5.0
"""Seconds; each time twice as long."""
_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_BUSY = " busy "
"""In what is noted, between the id and how often it was asked for."""


class MediaUploads:
    """The pictures of one account. `headers` are those of its login."""

    def __init__(self, session: GuardedSession, server: str, headers: dict[str, str]) -> None:
        self._session = session
        self._server = server
        self._headers = headers

    def of(self, data: bytes, alt: str, attempt: Attempt) -> str | Outcome:
        """The id of a picture that is ready; empty where it cannot be had; DEFERRED while the server is busy."""
        remote = upload_once(attempt, data, partial(self._upload, data, alt))
        number, busy, asked = remote.partition(_BUSY)
        if not busy:
            return number
        if asked:
            url = f"{self._server}api/v1/media/{number}"
            answer = send_request(self._session, url, None, self._headers, "GET")
            if isinstance(answer, HttpResponse) and answer.status == 200:
                remember_upload(attempt, data, number)
                return number
            if isinstance(answer, Outcome) and answer.verdict is Verdict.DEFERRED:
                return answer
            if isinstance(answer, Outcome) or int(asked) >= _PATIENCE:
                return ""
        count = int(asked or 0)
        remember_upload(attempt, data, f"{number}{_BUSY}{count + 1}")
        wait = _FIRST_WAIT * 2**count
        return Outcome(Verdict.DEFERRED, reason="the server is still busy with the picture", retry_after=wait)

    def ids_of(self, status: str) -> list[str] | Outcome:
        """The pictures that a status shows: an edit that does not name them would take them away."""
        answer = send_request(self._session, f"{self._server}api/v1/statuses/{status}", None, self._headers, "GET")
        if isinstance(answer, Outcome):
            return answer if answer.verdict is not Verdict.UNKNOWN else Outcome(Verdict.DEFERRED, reason=answer.reason)
        found = read_object(answer).get("media_attachments")
        return [str(one.get("id")) for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def _upload(self, data: bytes, alt: str) -> str:
        """Its id, with a mark while the server is busy with it (202); empty where it was not taken."""
        kind, body = _form(data, alt)
        answer = send_request(
            self._session, f"{self._server}api/v2/media", body, {**self._headers, "Content-Type": kind}
        )
        number = str(read_object(answer).get("id", "")) if isinstance(answer, HttpResponse) else ""
        if not isinstance(answer, HttpResponse) or not _ID.fullmatch(number):
            return ""
        return f"{number}{_BUSY}" if answer.status == 202 else number


def _form(data: bytes, alt: str) -> tuple[str, bytes]:
    """multipart/form-data (RFC 7578) of a picture and its words; equal for equal ones."""
    boundary = hashlib.sha256(data + alt.encode()).hexdigest()
    kind, name = ("image/png", "picture.png") if data.startswith(b"\x89PNG") else ("image/jpeg", "picture.jpg")
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="description"\r\n\r\n{alt}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode(),
        f"Content-Type: {kind}\r\n\r\n".encode(),
        data,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)
