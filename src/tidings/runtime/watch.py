"""Watching a newsroom's folder: told at once of what a sweep would find half a minute later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, watch

CONFIGURATION = ("tidings.yaml", "schedules", "templates")


class Watcher:
    """Calls `told(configuration)` after changes; `configuration` says whether YAML or a template was among them."""

    def __init__(self, root: Path, content: Iterable[Path], told: Callable[[bool], None]) -> None:
        self._root = root
        self._content = [path.resolve() for path in content]
        self._told = told
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin; what cannot be watched (too many folders, a network share) is left to the sweep."""
        self._thread.start()

    def stop(self) -> None:
        """End within a second."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        outside = [path for path in self._content if not path.is_relative_to(self._root) and path.is_dir()]
        try:
            for changes in watch(
                self._root,
                *outside,
                watch_filter=self._matters,
                stop_event=self._stop,
                debounce=400,
                step=50,
                rust_timeout=1_000,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._told(any(self._is_configuration(Path(path)) for _, path in changes))
        except (OSError, RuntimeError):
            return

    def _is_configuration(self, path: Path) -> bool:
        try:
            first = path.relative_to(self._root).parts[:1]
        except ValueError:
            return False
        return bool(first) and first[0] in CONFIGURATION

    def _matters(self, change: Change, path: str) -> bool:
        where = Path(path)
        return self._is_configuration(where) or any(where.is_relative_to(folder) for folder in self._content)
