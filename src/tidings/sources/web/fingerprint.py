"""By what a source's item is known to be unchanged, or to be the same one in another place."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from tidings.sources.base import SourceItem

_NO_CONTENT = ("ref", "name", "fingerprint", "explicit_id", "story", "translations", "backlog", "original_urls")


def add_fingerprint(found: SourceItem) -> SourceItem:
    """Over all that readers could see and where its media stand; not over its own place, name and keys."""
    content = asdict(found)
    for key in _NO_CONTENT:
        del content[key]
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, default=str)
    return replace(found, fingerprint=hashlib.sha256(text.encode()).hexdigest())
