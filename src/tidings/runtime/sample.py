"""Where the sample newsroom stands: in the wheel, or at the root of a checkout."""

from __future__ import annotations

from pathlib import Path

import tidings


def find_sample_newsroom() -> Path:
    """The folder with tidings.yaml, content, schedules and templates."""
    package = Path(tidings.__file__).parent
    shipped = package / "_newsroom"
    return shipped if shipped.is_dir() else package.parents[1]
