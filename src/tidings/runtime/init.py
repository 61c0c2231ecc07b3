"""`tidings init`: a new newsroom from the sample that ships with the program."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from pathlib import Path

from tidings.model.errors import RefusedError
from tidings.model.tokens import TokenKeys
from tidings.runtime.sample import find_sample_newsroom

_UNIT = """\
# Put this file into /etc/systemd/system/, then: systemctl enable --now tidings
[Unit]
Description=Tidings, the newsroom's outbox ({shown})
After=network-online.target
Wants=network-online.target
# However often it fails, it is started again: a relay or a database may be away for hours.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} run -C {place}
User={user}
# Secrets: one NAME=value a line, readable by this user alone.
EnvironmentFile=-{shown}/secrets.env
Restart=on-failure
RestartSec=5
# A stop finishes what is on the wire, which takes 30 seconds at the most.
KillMode=mixed
TimeoutStopSec=40
# It writes into its own folder, and nowhere else.
ProtectSystem=strict
ReadWritePaths={folder}
ProtectHome=read-only
PrivateTmp=true
PrivateDevices=true
NoNewPrivileges=true
CapabilityBoundingSet=
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible
LockPersonality=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""

_TEMPLATES = """\
The look of mails and pages comes with Tidings. To change it, copy a folder such as `digest` from the shipped templates
to this place and edit the copy: what stands here goes before what is shipped. `tidings check` reads what you wrote.
"""

_IGNORED = (
    "tidings.db*\nkeys.json\npublic/\n.pictures/\npreview/\nrehearsal/\nsecrets.env\nbefore-*\n.restoring/\n*.tar.gz\n"
)


def init_newsroom(folder: Path) -> Path:
    """Make a newsroom in `folder`, which must not exist or be empty. Returns its absolute path."""
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is not empty; name a folder that does not exist yet")
    sample = find_sample_newsroom()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(sample / "tidings.yaml", folder / "tidings.yaml")
    for part in ("content", "schedules"):
        shutil.copytree(sample / part, folder / part)
    (folder / "templates").mkdir()
    (folder / "templates" / "README.md").write_text(_TEMPLATES, encoding="utf-8")
    (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    descriptor = os.open(folder / "keys.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TokenKeys.generate().to_json())
    (folder / "tidings.service").write_text(_unit(folder), encoding="utf-8")
    return folder


def _unit(folder: Path) -> str:
    """The systemd unit of a newsroom (systemd.syntax(7): quotes hold a path together, % begins a specifier)."""
    beside = Path(sys.executable).with_name("tidings")
    found = str(beside) if beside.exists() else shutil.which("tidings")
    program = _quoted(found or sys.executable).replace("$", "$$") + ("" if found else " -m tidings")
    user = getpass.getuser() if os.geteuid() else "tidings"
    place = _quoted(str(folder))
    return _UNIT.format(
        folder=place, place=place.replace("$", "$$"), shown=str(folder).replace("%", "%%"), program=program, user=user
    )


def _quoted(path: str) -> str:
    text = path.replace("%", "%%")
    plain = all(letter.isalnum() or letter in "/._+-%@" for letter in text)
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
