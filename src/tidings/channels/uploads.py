"""Uploading what goes with a post, once: a later try of the same delivery takes what an earlier one uploaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tidings.channels.base import Attempt


def upload_once(attempt: Attempt, data: bytes, upload: Callable[[], str], *, anew: bool = False) -> str:
    """What the service calls these bytes; empty where it did not take them. `anew`: what was noted holds no longer."""
    remote = "" if anew else attempt.uploads.get(_key(data))
    if not remote:
        remote = upload()
        if remote or anew:
            remember_upload(attempt, data, remote)
    return remote


def remember_upload(attempt: Attempt, data: bytes, remote: str) -> None:
    """Note what the service calls these bytes now, before the post that shows them."""
    attempt.uploads.put(_key(data), remote)


def _key(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
