"""Items that a CMS pushes: `POST /api/items` with a token. What it does not take back stands."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from tidings.model.item import CachedItem
from tidings.sources.article import Article
from tidings.sources.base import SourceContext
from tidings.sources.fetch_cache import FetchCache
from tidings.sources.web.cached_source import CachedSource, CachedSourceSettings, cache_data, update_cached_item
from tidings.sources.web.identity import identity_keys

_TRIES = 50
PutStatus = Literal["created", "changed", "unchanged"]


class Settings(CachedSourceSettings):
    """Any system that can send a request pushes its items here."""

    token: SecretStr = Field(
        min_length=16, description="What the system shows to be let in, 16 characters or more: {env: CMS_TOKEN}."
    )


class PushSource(CachedSource):
    """Told by `put` and `withdraw`, in whatever process; each sweep tells what stands."""


def has_token(settings: Settings, token: str) -> bool:
    """Whether this is the source's token; takes as long for a wrong one."""
    return hmac.compare_digest(settings.token.get_secret_value().encode(), token.encode())


def put(shelf: FetchCache, key: str, article: Article, now: datetime) -> PutStatus:
    """Take an item in, or what is told anew of it; twice the same changes nothing. `key` is its id, for ever."""
    for _ in range(_TRIES):
        version = shelf.version()
        entry = shelf.item(key)
        mark = identity_keys(key, article.url, article.title, article.published)
        after = (
            CachedItem(key, cache_data(article, [mark]), now)
            if entry is None
            else update_cached_item(entry, article, mark)
        )
        if after is None:
            return "unchanged"
        if shelf.save(version, {}, [after]):
            return "created" if entry is None else "changed"
    raise RuntimeError(f"the items of a source kept changing under {_TRIES} attempts to change one")


def withdraw(shelf: FetchCache, key: str, reason: str, now: datetime) -> bool:
    """Take an item down everywhere, with the reason that readers see. False if it is not known."""
    entry = shelf.item(key)
    if entry is None:
        return False
    article = Article.model_validate(entry.data["article"])
    put(shelf, key, article.model_copy(update={"withdrawn": reason}), now)
    return True


def make(settings: Settings, context: SourceContext) -> PushSource:
    """The source of one name."""
    return PushSource(settings, context)
