"""The benchmarks of sending run, and a run with wrong messages fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest
from bench.cases import reader_of
from bench.runs import RunError, check_message

from tests.conftest import missing

ROOT = Path(__file__).parents[1]


def mail(number: int, *, token: str = "", link: str = "k1.mine") -> bytes:
    """Make a reader's mail, with `link` in its header and `token` in its bodies."""
    address, name = reader_of(number)
    message = EmailMessage()
    message["To"] = f"{name} <{address}>"
    message["List-Unsubscribe"] = f"<https://news.example.org/unsubscribe/{link}>"
    message.set_content(f"https://news.example.org/unsubscribe/{token or link}")
    message.add_alternative(f'<a href="https://news.example.org/unsubscribe/{token or link}">x</a>', subtype="html")
    return message.as_bytes()


def test_each_mail_must_be_its_readers_own() -> None:
    assert check_message(mail(7), reader_of(7)[0]) == "k1.mine"
    with pytest.raises(RunError, match="received a mail to"):
        check_message(mail(7), reader_of(8)[0])
    with pytest.raises(RunError, match="lacks its own link"):
        check_message(mail(7, token="k1.another"), reader_of(7)[0])


def run(module: str, *words: str) -> dict[str, object]:
    """Run a benchmark; returns its JSON."""
    if not (shutil.which("cc") or shutil.which("gcc")):
        missing("a C compiler")
    command = [sys.executable, "-m", module, *words, "--json"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert process.returncode == 0, process.stderr
    result: dict[str, object] | list[dict[str, object]] = json.loads(process.stdout)
    return result if isinstance(result, dict) else result[0]


@pytest.mark.slow
def test_delivery_benchmark_runs() -> None:
    result = run("bench.delivery", "--case", "far", "--rounds", "1", "--recipients", "1000")
    assert result["recipients"] == 300
    assert [row["sender"] for row in result["rows"]] == ["tidings", "tidings, no pipelining"]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_million_benchmark_runs() -> None:
    result = run("bench.million", "--readers", "600", "--few", "60", "--rounds", "1")
    assert [sending["messages"] for sending in result["sending"]] == [60, 600]  # type: ignore[attr-defined]
    assert result["addressing"]["bare"][0]["messages"] == 600  # type: ignore[index]
