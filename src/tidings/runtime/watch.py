"""Watching a newsroom's folder: told at once of what a sweep would find half a minute later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, watch

MAIN = "tidings.yaml"
FOLDERS = ("schedules", "templates")
_GATHER, _STEP, _LOOK = 400, 50, 500
"""Milliseconds: how long changes are gathered, looked for, and how soon `stop` is seen."""

Stamp = tuple[tuple[str, int, int], ...]


def configuration_stamp(root: Path) -> Stamp:
    """Equal as long as tidings.yaml, schedules/ and templates/ are: names, times and sizes of their files.

    For where nobody is told of changes: network shares, and machines whose watches are used up.
    """
    found = []
    for path in [root / MAIN, *(each for name in FOLDERS for each in sorted((root / name).rglob("*")))]:
        try:
            stat = path.stat()
        except OSError:
            continue
        if path.is_file():
            found.append((str(path), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


class Watcher:
    """Calls `told()` after changes below the folders of content, of tidings.yaml, schedules/ and templates/.

    The newsroom's folder itself is watched without its subfolders: public/ alone may have tens of thousands, and a
    machine has few watches. A folder that comes, goes or is replaced is noticed there.
    """

    def __init__(self, root: Path, content: Iterable[Path], told: Callable[[], None]) -> None:
        self._root = root
        self._folders = [path.resolve() for path in (*content, *(root / name for name in FOLDERS))]
        self._told = told
        self._stop = threading.Event()
        self._restart = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch_root, name="watch-root", daemon=True),
            threading.Thread(target=self._watch_folders, name="watch", daemon=True),
        ]

    def start(self) -> None:
        """Begin; what cannot be watched (a network share, no watches left) is left to the sweep."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End within a second."""
        self._stop.set()
        self._restart.set()
        for thread in self._threads:
            thread.join(timeout=2)

    def _watch_root(self) -> None:
        known = self._standing()
        try:
            for changes in watch(
                self._root,
                recursive=False,
                watch_filter=self._matters,
                stop_event=self._stop,
                raise_interrupt=False,
                debounce=_GATHER,
                step=_STEP,
                rust_timeout=_LOOK,
            ):
                standing = self._standing()
                if standing != known or any(Path(path) in known for _, path in changes):
                    known = standing
                    self._restart.set()
                self._told()
        except (OSError, RuntimeError):
            return

    def _watch_folders(self) -> None:
        while not self._stop.is_set():
            self._restart.clear()
            if self._stop.is_set():
                return
            folders = self._standing()
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
                    self._told()
            except (OSError, RuntimeError):
                # The sweep finds it; watching may work again later.
                self._stop.wait(60.0)

    def _standing(self) -> dict[Path, int]:
        """The folders that are there, each with its inode: one that was replaced has to be watched anew."""
        return {path: path.stat().st_ino for path in self._folders if path.is_dir()}

    def _matters(self, change: Change, path: str) -> bool:
        where = Path(path)
        return where.name == MAIN or where in self._folders or where.name in FOLDERS
