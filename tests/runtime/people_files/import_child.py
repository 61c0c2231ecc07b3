"""An import that ends itself with kill -9: `URL ROOT FILE POINT NTH`, POINT being before-commit or after-commit."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from unittest import mock

from tests.fixtures.people import NOW, make_newsroom
from tidings.runtime.people_files.importer import ImportOptions, import_people
from tidings.store.engine import Store
from tidings.store.people import bulk_import, import_progress


def main(url: str, root: str, file: str, point: str, nth: str) -> None:
    """Dies at the NTH chunk: when all of it is written and nothing committed, or when the next one begins."""
    left = int(nth)
    enrol, advance = bulk_import.import_people, import_progress.advance

    def dying(wanted: str, function: object) -> object:
        def called(*args: object, **kwargs: object) -> object:
            nonlocal left
            done = function(*args, **kwargs) if point == "before-commit" else None  # type: ignore[operator]
            if point == wanted:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs) if done is None else done  # type: ignore[operator]

        return called

    with (
        mock.patch.object(import_progress, "advance", dying("before-commit", advance)),
        mock.patch.object(bulk_import, "import_people", dying("after-commit", enrol)),
    ):
        newsroom = make_newsroom(Path(root))
        import_people(Store(url, Path(root)), newsroom, Path(file), ImportOptions("digest", True, "fair"), now=NOW)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:6])
