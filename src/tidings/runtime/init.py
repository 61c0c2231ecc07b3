"""`tidings init`: create a newsroom from the sample that is part of Tidings."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from pathlib import Path

import tidings
from tidings.model.errors import RefusedError
from tidings.model.tokens import TokenKeys

_UNIT = Path(__file__).with_name("newsroom.service")
"""The systemd unit, with fields in braces."""

_TEMPLATES = """\
Tidings ships templates for mails and pages. To change one, copy its folder, such as `digest`, from the shipped
templates to this folder and edit the copy. Tidings uses your copy then, and `tidings check` checks it.
"""

_GITIGNORE = """\
tidings.db*
keys.json
secrets.env
dkim.pem
dkim-*.pem
public/
.pictures/
preview/
rehearsal/
before-*
.restoring/
*.tar.gz
"""


def find_sample_newsroom() -> Path:
    """Return the folder with the sample: in the wheel, or at the root of a checkout."""
    package = Path(tidings.__file__).parent
    shipped = package / "_newsroom"
    return shipped if shipped.is_dir() else package.parents[1]


def init_newsroom(folder: Path) -> Path:
    """Create a newsroom in `folder`, which must be empty or not exist. Returns its absolute path."""
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is not empty. Name a folder that does not exist.")
    sample = find_sample_newsroom()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(sample / "tidings.yaml", folder / "tidings.yaml")
    for part in ("content", "schedules"):
        shutil.copytree(sample / part, folder / part)
    (folder / "templates").mkdir()
    (folder / "templates" / "README.md").write_text(_TEMPLATES, encoding="utf-8")
    (folder / ".gitignore").write_text(_GITIGNORE, encoding="utf-8")
    descriptor = os.open(folder / "keys.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TokenKeys.generate().to_json())
    (folder / "tidings.service").write_text(_make_unit(folder), encoding="utf-8")
    return folder


def _make_unit(folder: Path) -> str:
    """Return the systemd unit (systemd.syntax(7): a path with spaces needs quotes, and % begins a specifier)."""
    beside = Path(sys.executable).with_name("tidings")
    command = str(beside) if beside.exists() else shutil.which("tidings")
    program = _quote(command or sys.executable).replace("$", "$$") + ("" if command else " -m tidings")
    user = getpass.getuser() if os.geteuid() else "tidings"
    place = _quote(str(folder))
    return _UNIT.read_text(encoding="utf-8").format(
        folder=place, place=place.replace("$", "$$"), shown=str(folder).replace("%", "%%"), program=program, user=user
    )


def _quote(path: str) -> str:
    text = path.replace("%", "%%")
    is_plain = all(letter.isalnum() or letter in "/._+-%@" for letter in text)
    return text if is_plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
