"""The benchmarks of sending run, and a run that did not do its work is no figure."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest
from bench.runs import CheckError, token_of
from bench.senders import reader

from tests.conftest import missing

ROOT = Path(__file__).parents[1]


def mail(number: int, *, token: str = "", link: str = "k1.mine") -> bytes:
    """A reader's mail, with `link` in its header and `token` in its bodies."""
    address, name = reader(number)
    made = EmailMessage()
    made["To"] = f"{name} <{address}>"
    made["List-Unsubscribe"] = f"<https://news.example.org/unsubscribe/{link}>"
    made.set_content(f"https://news.example.org/unsubscribe/{token or link}")
    made.add_alternative(f'<a href="https://news.example.org/unsubscribe/{token or link}">x</a>', subtype="html")
    return made.as_bytes()


def test_a_mail_is_its_readers_own() -> None:
    assert token_of(mail(7), reader(7)[0]) == "k1.mine"
    with pytest.raises(CheckError, match="has a mail to"):
        token_of(mail(7), reader(8)[0])
    with pytest.raises(CheckError, match="lacks its own link"):
        token_of(mail(7, token="k1.another"), reader(7)[0])


def run(module: str, *words: str) -> dict[str, object]:
    """A benchmark's JSON."""
    if not (shutil.which("cc") or shutil.which("gcc")):
        missing("a C compiler")
    command = [sys.executable, "-m", module, *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] | list[dict[str, object]] = json.loads(done.stdout)
    return found if isinstance(found, dict) else found[0]


@pytest.mark.slow
def test_the_benchmark_of_delivery() -> None:
    found = run("bench.delivery", "--case", "far", "--rounds", "1", "--recipients", "1000")
    assert found["recipients"] == 300
    assert [row["sender"] for row in found["rows"]] == ["tidings", "tidings, no pipelining"]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_benchmark_of_a_million() -> None:
    found = run("bench.million", "--readers", "600", "--few", "60", "--rounds", "1")
    assert [one["messages"] for one in found["sending"]] == [60, 600]  # type: ignore[attr-defined]
    assert found["addressing"]["bare"][0]["messages"] == 600  # type: ignore[index]
