"""A look ahead that changes nothing: the newsroom on a copy of its store."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from tidings.config.load import store_address
from tidings.config.settings import Newsroom
from tidings.pipeline.collect.sweep import collect
from tidings.runtime.newsroom import Runtime
from tidings.store.engine import Store
from tidings.store.people import subscribers


def open_store(newsroom: Newsroom) -> Store:
    """The store alone, as it stands."""
    return Store(store_address(newsroom), newsroom.root)


@contextmanager
def open_scratch_runtime(runtime: Runtime) -> Iterator[Runtime]:
    """A runtime on a copy of the store, with the content as it stands on disk now.

    On PostgreSQL the store itself is used, as it stands, for there is no cheap copy: only reading calls may follow.
    """
    path = runtime.store.path
    if path is None:
        yield runtime
        return
    with tempfile.TemporaryDirectory(prefix="tidings-") as folder:
        copy = Path(folder) / "copy.db"
        origin = sqlite3.connect(path)
        target = sqlite3.connect(copy)
        with target:
            origin.backup(target)
        origin.close()
        target.close()
        newsroom = runtime.newsroom.model_copy(update={"store": SecretStr(f"sqlite:///{copy}")})
        with Runtime(newsroom, keys=runtime.keys) as other:
            other.set_clock(runtime.now())
            collect(other.store, other.sources, now=other.now(), url=newsroom.site.url)
            with other.store.write() as connection:
                subscribers.update_marks(connection)
            yield other
