"""The bucket of `publish` holds the same as public/, and no file in it links to one that is still missing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.items import make_newsroom, media_file, put
from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.render.samples import START
from tests.render.samples import item as sample
from tests.servers.object_store import KEYS, MotoStore
from tidings.config.settings import ObjectStore
from tidings.model.errors import RefusedError
from tidings.model.item import Attachment
from tidings.pipeline.publish.bucket import Bucket, copy_to_bucket
from tidings.pipeline.publish.publish import publish
from tidings.pipeline.publish.writing import PublishResult
from tidings.runtime.check import check_clock_override
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.runtime.tick import tick
from tidings.store.content.site_files import forget_copies, load_files
from tidings.store.engine import Store

NOW = START + timedelta(days=60)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def server() -> Iterator[MotoStore]:
    with MotoStore() as store:
        yield store


@pytest.fixture
def bucket(server: MotoStore) -> Iterator[MotoStore]:
    yield server
    for key in server.list():
        server.client.delete_object(Bucket="news", Key=key)


def client(server: MotoStore, **settings: str) -> Bucket:
    keys = {"access_key": KEYS["aws_access_key_id"], "secret_key": KEYS["aws_secret_access_key"]}
    written = {"type": "s3", "bucket": "news", "endpoint": server.endpoint, **keys, **settings}
    return Bucket(ObjectStore.model_validate(written))


def test_the_bucket_follows_the_folder(store: Store, tmp_path: Path, bucket: MotoStore) -> None:
    newsroom = make_newsroom(tmp_path)
    first, second = sample(1), sample(2)
    put(store, first, second)
    publish(store, newsroom, now=NOW)
    done = copy_to_bucket(store, newsroom.public, client(bucket))
    with store.read() as connection:
        files = load_files(connection)
    there = bucket.list()
    assert set(there) == set(files)
    assert done.copied == len(files)
    assert all(bucket.get(path)["Body"] == (newsroom.public / path).read_bytes() for path in list(files)[:20])
    again = copy_to_bucket(store, newsroom.public, client(bucket))
    assert (again.copied, again.removed, again.failed) == (0, 0, "")

    put(store, sample(2, title="Another title"), had=[second.id])
    publish(store, newsroom, now=NOW + timedelta(hours=1))
    copy_to_bucket(store, newsroom.public, client(bucket))
    now_there = bucket.list()
    assert now_there[f"en/{first.slug}/index.html"] == there[f"en/{first.slug}/index.html"]
    assert now_there["feeds/en/all.atom"] != there["feeds/en/all.atom"]


@SQLITE
def test_a_gone_page_leaves_the_bucket(store: Store, tmp_path: Path, bucket: MotoStore) -> None:
    from tests.pipeline.publish.test_publish import gone

    newsroom = make_newsroom(tmp_path)
    one = sample(1)
    put(store, one)
    publish(store, newsroom, now=NOW)
    copy_to_bucket(store, newsroom.public, client(bucket, prefix="/site/"))
    page = f"site/en/{one.slug}/index.html"
    assert page in bucket.list()
    gone(store, one, NOW)
    publish(store, newsroom, now=NOW + timedelta(hours=1))
    done = copy_to_bucket(store, newsroom.public, client(bucket, prefix="site"))
    assert done.removed
    assert page not in bucket.list()


@SQLITE
def test_files_keep_type_and_age_in_the_bucket(store: Store, tmp_path: Path, bucket: MotoStore) -> None:
    newsroom = make_newsroom(tmp_path)
    drawing = media_file(tmp_path, "map.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")
    put(store, sample(1, attachments=(Attachment(drawing.name, "The map"),), media=(drawing,)))
    publish(store, newsroom, now=NOW)
    copy_to_bucket(store, newsroom.public, client(bucket))
    feed = bucket.get("feeds/en/all.rss")
    assert (feed["ContentType"], feed["CacheControl"]) == ("application/rss+xml; charset=utf-8", "public, max-age=1800")
    map_file = bucket.get(f"media/{drawing.digest}/map.svg")
    assert map_file["ContentType"] == "image/svg+xml"
    assert map_file["ContentDisposition"] == "attachment"
    assert "immutable" in map_file["CacheControl"]


@SQLITE
def test_feeds_wait_for_the_pages_they_name(
    store: Store, tmp_path: Path, bucket: MotoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object store fails in the middle: no feed may name a missing page. The next call finishes the work."""
    newsroom = make_newsroom(tmp_path)
    put(store, *(sample(number) for number in range(1, 31)))
    publish(store, newsroom, now=NOW)
    there, calls = client(bucket), 0
    put_file = Bucket.put

    def broken(self: Bucket, path: str, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise OSError("the bucket refuses: SlowDown")
        put_file(self, path, content)

    monkeypatch.setattr(Bucket, "put", broken)
    done = copy_to_bucket(store, newsroom.public, there)
    assert "SlowDown" in done.failed
    assert not [key for key in bucket.list() if key.startswith("feeds/")]
    monkeypatch.undo()
    assert copy_to_bucket(store, newsroom.public, there).failed == ""
    with store.read() as connection:
        assert set(bucket.list()) == set(load_files(connection))


def test_a_restored_store_copies_everything_again(store: Store, tmp_path: Path, bucket: MotoStore) -> None:
    newsroom = make_newsroom(tmp_path)
    put(store, sample(1))
    publish(store, newsroom, now=NOW)
    first = copy_to_bucket(store, newsroom.public, client(bucket)).copied
    with store.write() as connection:
        forget_copies(connection)
    assert copy_to_bucket(store, newsroom.public, client(bucket)).copied == first


@pytest.fixture
def folder(tmp_path: Path, bucket: MotoStore) -> Iterator[NewsroomFolder]:
    with make_newsroom_folder(tmp_path, "sqlite:///tidings.db") as made:
        keys = "access_key: {env: S3_KEY}, secret_key: {env: S3_SECRET}"
        made.env.update(S3_KEY=KEYS["aws_access_key_id"], S3_SECRET=KEYS["aws_secret_access_key"])
        settings = f"publish: {{type: s3, bucket: news, endpoint: '{bucket.endpoint}', {keys}}}"
        made.write("tidings.yaml", f"{(tmp_path / 'tidings.yaml').read_text()}{settings}\n")
        made.write("content/forum.en.md", item("Youth forum"))
        yield made


def test_a_tick_copies_the_site(folder: NewsroomFolder, bucket: MotoStore) -> None:
    with folder.runtime() as runtime:
        assert tick(runtime, datetime.now(UTC)).unpublished == ""
    assert b"Youth forum" in bucket.get("feeds/en/all.atom")["Body"]


def test_an_unknown_bucket_is_reported_and_stops_no_mail(folder: NewsroomFolder) -> None:
    text = (folder.root / "tidings.yaml").read_text()
    folder.write("tidings.yaml", text.replace("bucket: news", "bucket: other"))
    with folder.runtime() as runtime:
        result = tick(runtime, datetime.now(UTC))
        assert re.search("/other/ refuses: .*NoSuchBucket", result.unpublished)
        assert runtime.newsroom.public.joinpath("feeds/en/all.atom").exists()


def test_only_a_copy_needs_the_library(folder: NewsroomFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that opened the newsroom made its client."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with folder.runtime() as runtime:
        assert "tidings[s3]" in tick(runtime, datetime.now(UTC)).unpublished
        assert runtime.newsroom.public.joinpath("feeds/en/all.atom").exists()


def test_a_page_that_fails_does_not_hold_others_back(
    folder: NewsroomFolder, bucket: MotoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A withdrawn story must leave the bucket although another file cannot be written."""

    def publish_most(*about: Any, **options: Any) -> PublishResult:
        return replace(publish(*about, **options), failed=("robots.txt cannot be written",))

    monkeypatch.setattr("tidings.runtime.tick.publish", publish_most)
    with folder.runtime() as runtime:
        assert tick(runtime, datetime.now(UTC)).unpublished == "robots.txt cannot be written"
    assert "feeds/en/all.atom" in bucket.list()


def test_nothing_is_copied_while_mail_is_caught(folder: NewsroomFolder, bucket: MotoStore) -> None:
    loaded = load_newsroom(folder.root, folder.env)
    assert loaded.newsroom is not None
    with folder.runtime():
        pass
    with Runtime(loaded.newsroom, divert_mail=lambda newsroom: newsroom) as runtime:
        tick(runtime, datetime.now(UTC))
    assert bucket.list() == {}


def test_a_future_clock_is_refused_with_a_bucket(folder: NewsroomFolder) -> None:
    loaded = load_newsroom(folder.root, folder.env)
    assert loaded.newsroom is not None
    real = datetime.now(UTC)
    alone = loaded.newsroom.model_copy(update={"channels": {}, "webhooks": {}})
    check_clock_override(alone, real + timedelta(days=1), real)
    assert alone.publish is not None
    amazon = alone.model_copy(update={"publish": alone.publish.model_copy(update={"endpoint": None})})
    with pytest.raises(RefusedError, match="publish"):
        check_clock_override(amazon, real + timedelta(days=1), real)
