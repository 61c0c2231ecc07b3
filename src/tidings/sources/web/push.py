"""Items that a CMS pushes: `POST /api/items` with a token. What it does not take back stands."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from tidings.model.item import CachedItem
from tidings.sources.article import Article
from tidings.sources.base import Shelf, SourceContext
from tidings.sources.web.cached_source import ShelvedSettings, ShelvedSource, again, data_of
from tidings.sources.web.identity import marks

_TRIES = 50
Done = Literal["created", "changed", "unchanged"]


class Settings(ShelvedSettings):
    """Any system that can send a request pushes its items here."""

    token: SecretStr = Field(
        min_length=16, description="What the system shows to be let in, 16 characters or more: {env: CMS_TOKEN}."
    )


class PushSource(ShelvedSource):
    """Told by `put` and `withdraw`, in whatever process; each sweep tells what stands."""


def holds(settings: Settings, token: str) -> bool:
    """Whether this is the source's token; takes as long for a wrong one."""
    return hmac.compare_digest(settings.token.get_secret_value().encode(), token.encode())


def put(shelf: Shelf, key: str, article: Article, now: datetime) -> Done:
    """Take an item in, or what is told anew of it; twice the same changes nothing. `key` is its id, for ever."""
    for _ in range(_TRIES):
        version = shelf.version()
        entry = shelf.entry(key)
        mark = marks(key, article.url, article.title, article.published)
        after = CachedItem(key, data_of(article, [mark]), now) if entry is None else again(entry, article, mark)
        if after is None:
            return "unchanged"
        if shelf.keep(version, {}, [after]):
            return "created" if entry is None else "changed"
    raise RuntimeError(f"the items of a source kept changing under {_TRIES} attempts to change one")


def withdraw(shelf: Shelf, key: str, reason: str, now: datetime) -> bool:
    """Take an item down everywhere, with the reason that readers see. False if it is not known."""
    entry = shelf.entry(key)
    if entry is None:
        return False
    article = Article.model_validate(entry.data["article"])
    put(shelf, key, article.model_copy(update={"withdrawn": reason}), now)
    return True


def make(settings: Settings, context: SourceContext) -> PushSource:
    """The source of one name."""
    return PushSource(settings, context)
