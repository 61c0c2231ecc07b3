"""Copy public/ into a bucket of an object store (S3), from where readers and a CDN fetch it.

Each file is replaced in one request, so nobody sees a half-written file. Pictures go first, then pages, then the files
that link to them. An unchanged file is not sent again, so its ETag stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tidings.config.settings import ObjectStore
from tidings.model.errors import InputError
from tidings.pipeline.publish.headers import find_cache_control, find_media_type, is_active_media, is_feed, is_media
from tidings.pipeline.publish.writing import is_intact
from tidings.store.content import site_files
from tidings.store.content.site_files import PublishedFile
from tidings.store.engine import Store
from tidings.store.locks import exclusive_work

_AT_ONCE = 8
"""Number of parallel requests."""
_PAGE = 200
"""Number of copied files that the store records in one transaction."""
_LISTS = ("sitemap", "feeds.opml", "robots.txt", "search/")
"""Path prefixes of files that link to pages, besides feeds and front pages."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """Number of copied and removed files, and the reason why the rest failed ('' if nothing did)."""

    copied: int = 0
    removed: int = 0
    failed: str = ""


class Bucket:
    """A client of the bucket of a newsroom. For several threads."""

    def __init__(self, settings: ObjectStore) -> None:
        """Raises InputError if the client library is not installed. Makes no request."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ModuleNotFoundError:
            raise InputError('publish needs a library. Install it: pip install "tidings[s3]"') from None
        self.name = settings.bucket
        self.address = f"{settings.endpoint or 'https://s3.amazonaws.com/'}{settings.bucket}/{settings.prefix}"
        self._prefix = settings.prefix
        self._errors = (BotoCoreError, ClientError)
        secrets = (settings.access_key, settings.secret_key)
        access, secret = (value.get_secret_value() if value else None for value in secrets)
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.endpoint,
            region_name=settings.region,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(
                connect_timeout=10,
                read_timeout=60,
                retries={"max_attempts": 2, "mode": "standard"},
                max_pool_connections=_AT_ONCE,
                # Object stores other than Amazon's lack the newer checksums and a DNS name for each bucket.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if settings.endpoint else "auto"},
            ),
        )

    def put(self, path: str, content: bytes) -> None:
        """Upload one file. Raises OSError."""
        fields = {"ContentType": find_media_type(path), "CacheControl": find_cache_control(path)}
        if is_active_media(path):
            # The bucket cannot send a Content-Security-Policy, so a browser must not show it.
            fields["ContentDisposition"] = "attachment"
        self._ask(lambda: self._client.put_object(Bucket=self.name, Key=self._prefix + path, Body=content, **fields))

    def remove(self, path: str) -> None:
        """Remove one file, if it exists. Raises OSError."""
        self._ask(lambda: self._client.delete_object(Bucket=self.name, Key=self._prefix + path))

    def _ask(self, request: Callable[[], object]) -> None:
        try:
            request()
        except self._errors as error:
            raise OSError(f"the bucket {self.address} refuses: {' '.join(str(error).split())}"[:400]) from None


def copy_to_bucket(
    store: Store, public: Path, bucket: Bucket, *, on_progress: Callable[[int, int], None] = lambda done, of: None
) -> CopyResult:
    """Copy the changes of public/ to the bucket. A second call makes no request.

    It stops at the first failure, and the next call continues there. `on_progress` gets the number of finished files.
    """
    with exclusive_work(store, "bucket") as is_mine:
        if not is_mine:
            return CopyResult()
        changed, gone = site_files.prepare_copies(store, bucket.address)
        if not (changed or gone):
            return CopyResult()
        copied = removed = 0
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="bucket") as threads:
            try:
                for files in _pages(sorted(changed, key=lambda file: (_rank(file.path), file.path))):
                    sent = list(threads.map(lambda file: _copy(public, bucket, file), files))
                    done = [file for file, is_sent in zip(files, sent, strict=True) if is_sent]
                    with store.write() as connection:
                        site_files.save_copies(connection, done)
                    copied += len(done)
                    on_progress(copied, len(changed) + len(gone))
                for start in range(0, len(gone), _PAGE):
                    paths = gone[start : start + _PAGE]
                    list(threads.map(bucket.remove, paths))
                    with store.write() as connection:
                        site_files.delete_copies(connection, paths)
                    removed += len(paths)
                    on_progress(copied + removed, len(changed) + len(gone))
            except OSError as error:
                return CopyResult(copied, removed, str(error))
    return CopyResult(copied, removed)


def _rank(path: str) -> int:
    """Rank files so that a file is copied after the files that it links to."""
    if is_media(path) or path.endswith((".css", ".js", ".ico", ".png")):
        return 0
    is_front_page = path.endswith("index.html") and path.count("/") < 2
    return 2 if is_feed(path) or is_front_page or path.startswith(_LISTS) else 1


def _pages(files: Iterable[PublishedFile]) -> Iterable[Sequence[PublishedFile]]:
    """Split files into groups of one rank. A rank begins only after the rank before it has ended."""
    for _, group in groupby(files, key=lambda file: _rank(file.path)):
        ranked = list(group)
        yield from (ranked[start : start + _PAGE] for start in range(0, len(ranked), _PAGE))


def _copy(public: Path, bucket: Bucket, file: PublishedFile) -> bool:
    """Copy one file. Returns False if it was just changed. The next call copies it then."""
    try:
        content = (public / file.path).read_bytes()
    except FileNotFoundError:
        return False
    # Checked after reading: a row is saved after its file, so these bytes are this version or a newer one.
    if not is_intact(public, file):
        return False
    bucket.put(file.path, content)
    return True
