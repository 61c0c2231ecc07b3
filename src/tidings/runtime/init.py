"""`tidings init`: a new newsroom from the sample that ships with the program."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tidings.model.errors import RefusedError
from tidings.model.tokens import Keys
from tidings.runtime.sample import sample_newsroom

_UNIT = """\
# Put this file into /etc/systemd/system/, then: systemctl enable --now tidings
[Unit]
Description=Tidings, the newsroom's outbox ({folder})
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={program} run -C {folder}
Restart=always
RestartSec=5
TimeoutStopSec=40
User={user}
# Secrets: one NAME=value a line, readable by this user alone.
EnvironmentFile=-{folder}/secrets.env
NoNewPrivileges=true
ProtectSystem=full
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""

_TEMPLATES = """\
The look of mails and pages comes with Tidings. To change it, copy a folder such as `digest` from the shipped templates
to this place and edit the copy: what stands here goes before what is shipped. `tidings check` reads what you wrote.
"""

_IGNORED = "tidings.db*\nkeys.json\npublic/\npreview/\nsecrets.env\n"


def init_newsroom(folder: Path) -> Path:
    """Make a newsroom in `folder`, which must not exist or be empty. Returns its absolute path."""
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is not empty; name a folder that does not exist yet")
    sample = sample_newsroom()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(sample / "tidings.yaml", folder / "tidings.yaml")
    for part in ("content", "schedules"):
        shutil.copytree(sample / part, folder / part)
    (folder / "templates").mkdir()
    (folder / "templates" / "README.md").write_text(_TEMPLATES, encoding="utf-8")
    (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    descriptor = os.open(folder / "keys.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(Keys.generate().to_json())
    program = shutil.which("tidings") or f"{sys.executable} -m tidings"
    unit = _UNIT.format(folder=folder, program=program, user=os.environ.get("USER", "tidings"))
    (folder / "tidings.service").write_text(unit, encoding="utf-8")
    return folder
