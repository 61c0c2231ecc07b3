"""systemd accepts the unit of a new newsroom, whatever its path is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_program
from tidings.runtime.init import init_newsroom
from tidings.runtime.service import _END


@pytest.mark.parametrize("name", ["news", "my news", "50% $HOME", 'a "b"'])
def test_systemd_takes_the_unit(tmp_path: Path, name: str) -> None:
    analyze = require_program("systemd-analyze")
    unit = init_newsroom(tmp_path / name) / "tidings.service"
    # A container has neither the user nor the manager, so only problems of the file count.
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], check=False, capture_output=True, text=True)
    wrong = [line for line in done.stderr.splitlines() if "tidings.service" in line]
    assert wrong == []
    assert done.returncode == 0, done.stderr


def test_the_unit_stops_cleanly_and_writes_one_folder(tmp_path: Path) -> None:
    text = (init_newsroom(tmp_path / "news") / "tidings.service").read_text()
    keys = dict(re.findall(r"^(\w+)=(.*)$", text, flags=re.MULTILINE))
    assert float(keys["TimeoutStopSec"]) > _END + 5
    assert keys["ReadWritePaths"] == str(tmp_path / "news")
    assert (keys["ProtectSystem"], keys["NoNewPrivileges"], keys["Restart"]) == ("strict", "true", "on-failure")
    # The service sends no watchdog signal, so systemd must not wait for one.
    assert "WatchdogSec" not in keys
    assert keys["User"] != "root"
