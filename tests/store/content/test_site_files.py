"""Two processes that start on a fresh store make one identity and one stamp, and neither fails."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

from tests.fixtures.items import open_store
from tidings.store.content.site_files import (
    PublishedFile,
    PublishStamp,
    create_identity,
    find_identity,
    find_stamp,
    save_files,
    save_stamp,
)
from tidings.store.engine import Store

NOW = datetime(2026, 9, 1, tzinfo=UTC)


def test_two_processes_agree_on_identity_and_stamp(database_url: str, tmp_path: Path) -> None:
    first = open_store(database_url, tmp_path)
    second = Store(database_url, tmp_path)
    gate = threading.Barrier(2)
    minted: list[object] = []
    errors: list[BaseException] = []

    def work(store: Store) -> None:
        try:
            for number in range(10):
                gate.wait()
                with store.write() as connection:
                    minted.append(create_identity(connection, NOW).id)
                    save_stamp(connection, PublishStamp(f"key {number}".replace(" ", "-"), None))
                    save_files(connection, [PublishedFile(f"{number}.html", "etag", NOW)])
        except BaseException as error:
            errors.append(error)
            gate.abort()

    threads = [threading.Thread(target=work, args=(store,)) for store in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(set(minted)) == 1
    with first.read() as connection:
        identity, stamp = find_identity(connection), find_stamp(connection)
    assert identity is not None and identity.id == minted[0]
    assert stamp is not None and stamp.key == "key-9"
    first.close()
    second.close()
