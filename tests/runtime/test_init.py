"""A new newsroom passes `check`, and systemd accepts its unit, for any path."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_program
from tidings.model.errors import RefusedError
from tidings.runtime.check import check_newsroom
from tidings.runtime.init import OwnSettings, init_newsroom, read_answer
from tidings.runtime.newsroom import load_newsroom
from tidings.runtime.service import _END


@pytest.mark.parametrize("name", ["news", "my news", "50% $HOME", 'a "b"'])
def test_systemd_accepts_the_unit(tmp_path: Path, name: str) -> None:
    analyze = require_program("systemd-analyze")
    unit = init_newsroom(tmp_path / name) / "tidings.service"
    # A container has neither this user nor systemd, so only problems of the file count.
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
    assert (keys["Type"], keys["WatchdogSec"], keys["UMask"]) == ("notify", "120", "0077")
    assert keys["User"] != "root"


CHOICES = {
    "arabic and french": OwnSettings(
        title='A: "B" & Ç', languages=("fr", "ar"), address="Rue 1: Genève", colour="#aa0000"
    ),
    "one language of the sample": OwnSettings(languages=("ru",), timezone="Asia/Almaty"),
    "spanish beside english": OwnSettings(languages=("es", "en"), timezone="Europe/Madrid"),
    "empty": OwnSettings(languages=("en", "de", "zh-Hans"), with_sample=False),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_newsroom_of_ones_own_has_no_problems(tmp_path: Path, name: str) -> None:
    own = CHOICES[name]
    root = init_newsroom(tmp_path / "news", own)
    expected = ("example.org", "words for readers", *(["site.address is a sample"] if own.address[0] == "W" else []))
    problems = [str(problem) for problem in check_newsroom(root)]
    assert [text for text in problems if not any(word in text for word in expected)] == []
    assert any("site.address is a sample" in text for text in problems) == (own.address[0] == "W")
    newsroom = load_newsroom(root).newsroom
    assert newsroom is not None
    site = newsroom.site
    assert (site.title.get("fr"), site.languages, site.colour) == (own.title, own.languages, own.colour)
    assert any((root / "content").iterdir()) == own.with_sample
    ignored = (root / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"secrets.env", "dkim.pem", "keys.json"} <= set(ignored)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("languages", "en,kz", "is a country. The language is written 'kk'"),
        ("timezone", "Almaty", "time zone"),
        ("colour", "blue", "Write six digits, like #0077b6"),
        ("title", " ", "cannot be empty"),
    ],
)
def test_a_wrong_choice_says_how_to_write_it(name: str, text: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        OwnSettings.read(name, text)


def test_a_yes_is_understood_in_each_language() -> None:
    assert [read_answer(text) for text in ("", "Y", "oui", "Да", "иә", "نعم", "sí", "是")] == [True] * 8
    assert [read_answer(text) for text in ("n", "Non", "нет", "жоқ", "لا", "否")] == [False] * 6
    assert read_answer("perhaps") is None
