"""An import that ends itself with kill -9: `URL ROOT FILE POINT CHUNK`, POINT being before-commit or after-commit."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from tests.fixtures.people import NOW, make_newsroom
from tidings.runtime.people_files.importer import ImportOptions, import_people
from tidings.store.engine import Store
from tidings.store.people import bulk_import


def main(url: str, root: str, file: str, point: str, chunk: str) -> None:
    """Kill this process in the CHUNKth chunk: before its commit, or after the commit of the chunk before it."""
    import_chunk, left = bulk_import.import_people, int(chunk)

    def dying(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        fates = import_chunk(*arguments, **options) if left or point == "before-commit" else []
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return fates

    with mock.patch.object(bulk_import, "import_people", dying):
        newsroom = make_newsroom(Path(root))
        import_people(Store(url, Path(root)), newsroom, Path(file), ImportOptions("digest", True, "fair"), now=NOW)


if __name__ == "__main__":
    main(*sys.argv[1:6])
