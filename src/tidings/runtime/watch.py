"""Watch a newsroom's folder, so that changes are found at once and not in the next cycle."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, watch

from tidings.config.file_reader import MAIN, SECRETS
from tidings.runtime.newsroom import KEYS

FOLDERS = ("schedules", "templates")
_GATHER, _STEP, _LOOK = 400, 50, 500
"""Milliseconds: how long changes are collected, how often they are read, and how soon `stop` is noticed."""

Stamp = tuple[tuple[str, int, int], ...]


def configuration_stamp(root: Path) -> Stamp:
    """Return the names, times and sizes of tidings.yaml, secrets.env and the files in schedules/ and templates/.

    For places without change events: network shares, and machines whose watches are used up.
    """
    stamp = []
    for path in [root / MAIN, root / SECRETS, *(file for name in FOLDERS for file in sorted((root / name).rglob("*")))]:
        try:
            stat = path.stat()
        except OSError:
            continue
        if path.is_file():
            stamp.append((str(path), stat.st_mtime_ns, stat.st_size))
    return tuple(stamp)


def configuration_version(root: Path) -> str:
    """Return a short hash of the settings, schedules, templates and keys: the same on machines with the same files.

    Secrets count by their names only: a password may differ from machine to machine.
    """
    digest = hashlib.sha256()
    for path in [root / MAIN, root / KEYS, *(file for name in FOLDERS for file in sorted((root / name).rglob("*")))]:
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError:
            content = b""
        digest.update(f"{path.relative_to(root)}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:8]


class Watcher:
    """Calls `on_change` after changes in the content folders, tidings.yaml, schedules/ and templates/.

    The newsroom's folder is watched without its subfolders: public/ can have tens of thousands, and a machine has few
    watches. It shows which folders appear, vanish or are replaced.
    """

    def __init__(self, root: Path, content: Iterable[Path], on_change: Callable[[], None]) -> None:
        self._root = root
        self._folders = [path.resolve() for path in (*content, *(root / name for name in FOLDERS))]
        self._on_change = on_change
        self._stop = threading.Event()
        self._restart = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch_root, name="watch-root", daemon=True),
            threading.Thread(target=self._watch_folders, name="watch", daemon=True),
        ]

    def start(self) -> None:
        """Start. The regular sweep covers folders that cannot be watched (network shares, no watches left)."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop within a second."""
        self._stop.set()
        self._restart.set()
        for thread in self._threads:
            thread.join(timeout=2)

    def _watch_root(self) -> None:
        known = self._existing_folders()
        try:
            for changes in watch(
                self._root,
                recursive=False,
                watch_filter=self._is_relevant,
                stop_event=self._stop,
                raise_interrupt=False,
                debounce=_GATHER,
                step=_STEP,
                rust_timeout=_LOOK,
            ):
                existing = self._existing_folders()
                if existing != known or any(Path(path) in known for _, path in changes):
                    known = existing
                    self._restart.set()
                self._on_change()
        except (OSError, RuntimeError):
            return

    def _watch_folders(self) -> None:
        while not self._stop.is_set():
            self._restart.clear()
            if self._stop.is_set():
                return
            folders = self._existing_folders()
            if not folders:
                self._restart.wait(1.0)
                continue
            try:
                for _ in watch(
                    *folders,
                    watch_filter=None,
                    stop_event=self._restart,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                    debounce=_GATHER,
                    step=_STEP,
                    rust_timeout=_LOOK,
                ):
                    self._on_change()
            except (OSError, RuntimeError):
                # The regular sweep finds changes meanwhile. Watching may work again later.
                self._stop.wait(60.0)

    def _existing_folders(self) -> dict[Path, int]:
        """Return the existing folders with their inodes: a replaced folder must be watched again."""
        return {path: path.stat().st_ino for path in self._folders if path.is_dir()}

    def _is_relevant(self, change: Change, path: str) -> bool:
        where = Path(path)
        return where.name in (MAIN, SECRETS) or where in self._folders or where.name in FOLDERS
