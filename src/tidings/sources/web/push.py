"""Items that a CMS pushes with `POST /api/items` and a token. An item stays until the CMS withdraws it."""

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
    """A source for any system that can push its items by an HTTP request."""

    token: SecretStr = Field(
        min_length=16, description="The secret that the system sends, 16 characters or more: {env: CMS_TOKEN}."
    )


class PushSource(CachedSource):
    """Items arrive by `put` and `withdraw` in any process. Each sweep builds them from the cache."""


def has_token(settings: Settings, token: str) -> bool:
    """Whether this is the source's token. The comparison takes constant time."""
    return hmac.compare_digest(settings.token.get_secret_value().encode(), token.encode())


def put(cache: FetchCache, key: str, article: Article, now: datetime) -> PutStatus:
    """Store a new or changed item. `key` is its permanent id. A repeat changes nothing."""
    keys = identity_keys(key, article.url, article.title, article.published)
    for _ in range(_TRIES):
        version = cache.version()
        before = cache.item(key)
        if before is None:
            after: CachedItem | None = CachedItem(key, cache_data(article, [keys]), now)
        else:
            after = update_cached_item(before, article, keys)
        if after is None:
            return "unchanged"
        if cache.save(version, {}, [after]):
            return "created" if before is None else "changed"
    raise RuntimeError(f"the cache of a source changed during each of {_TRIES} attempts to store an item")


def withdraw(cache: FetchCache, key: str, reason: str, now: datetime) -> bool:
    """Take an item down everywhere. Readers see the reason. Returns False if the item is unknown."""
    item = cache.item(key)
    if item is None:
        return False
    article = Article.model_validate(item.data["article"])
    put(cache, key, article.model_copy(update={"withdrawn": reason}), now)
    return True


def make(settings: Settings, context: SourceContext) -> PushSource:
    return PushSource(settings, context)
