"""An import that is killed and given again ends as one that was never cut: same rows, same lines told."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.fixtures.people import NOW, Roll
from tidings.model.errors import RefusedError
from tidings.runtime.people_files.importer import CHUNK
from tidings.store import schema as t
from tidings.store.people import consent, import_progress


@pytest.fixture
def roll(database_url: str, tmp_path: Path) -> Iterator[Roll]:
    found = Roll(database_url, tmp_path / "n")
    yield found
    found.store.close()


def people(count: int) -> tuple[str, dict[str, list[int]]]:
    """A file of so many lines, and the lines of each odd kind."""
    lines = ["email,name,language,topics,frequency"]
    odd: dict[str, list[int]] = {"bad": [], "topic": [], "twice": [], "left": [], "there": []}
    for number in range(2, count + 2):
        match number % 50:
            case 3:
                odd["bad"].append(number)
                lines.append(f"bad{number},,,,")
            case 7:
                odd["topic"].append(number)
                lines.append(f"topic{number}@example.org,,,nothing,")
            case 11 if number > 60:
                odd["twice"].append(number)
                lines.append(f"Reader{number - 51}@example.org,,,,")
            case 13:
                odd["left"].append(number)
                lines.append(f"left{number % 1_000}x{number}@example.org,,,,")
            case 17:
                odd["there"].append(number)
                lines.append(f"there{number}@example.org,,,,")
            case _:
                lines.append(f"reader{number}@example.org,Reader {number},ru,water;youth,daily")
    return "\n".join(lines) + "\n", odd


def prepare(roll: Roll, count: int) -> tuple[Path, dict[str, list[int]]]:
    text, odd = people(count)
    roll.take("email\n" + "".join(f"there{number}@example.org\n" for number in odd["there"]), name="there.csv")
    with roll.store.write() as connection:
        hashes = [consent.address_hash(f"left{number % 1_000}x{number}@example.org") for number in odd["left"]]
        consent.suppress_all(connection, hashes, "digest", "unsubscribed", NOW)
    return roll.write(text), odd


def told_lines(odd: dict[str, list[int]]) -> list[int]:
    return sorted(number for numbers in odd.values() for number in numbers)


def run_child(roll: Roll, path: Path, point: str, nth: int) -> int:
    url = roll.store.engine.url.render_as_string(hide_password=False)
    command = [
        sys.executable,
        "-m",
        "tests.runtime.people_files.import_child",
        url,
        str(roll.root),
        str(path),
        point,
        str(nth),
    ]
    return subprocess.run(command, capture_output=True, timeout=120).returncode


@pytest.mark.parametrize("point", ["before-commit", pytest.param("after-commit", marks=pytest.mark.slow)])
def test_killed_and_given_again(roll: Roll, tmp_path: Path, point: str) -> None:
    path, odd = prepare(roll, 4 * CHUNK)
    uncut = Roll(f"sqlite:///{tmp_path / 'uncut.db'}", tmp_path / "uncut")
    prepare(uncut, 4 * CHUNK)
    whole = uncut.take(path)
    for nth in (2, 2):
        assert run_child(roll, path, point, nth) == -signal.SIGKILL
    assert roll.state()["imports"]
    with roll.store.read() as connection:
        added = connection.execute(select(func.count()).select_from(t.subscriptions)).scalar_one()
        loose = select(func.count()).select_from(t.subscribers)
        loose = loose.where(t.subscribers.c.id.not_in(select(t.subscriptions.c.subscriber)))
        assert connection.execute(loose).scalar_one() == 0
    assert len(odd["there"]) < added < len(uncut.state()["subscriptions"])
    done = roll.take(path)
    assert done.resumed > CHUNK
    assert (done.counts, roll.told) == (whole.counts, uncut.told)
    assert list(roll.told) == told_lines(odd)
    assert roll.state() == uncut.state()
    uncut.store.close()


@pytest.mark.slow
def test_killed_at_any_moment(roll: Roll, tmp_path: Path) -> None:
    """By the clock, from outside, again and again."""
    path, odd = prepare(roll, 8_000)
    uncut = Roll(f"sqlite:///{tmp_path / 'uncut.db'}", tmp_path / "uncut")
    prepare(uncut, 8_000)
    whole = uncut.take(path)
    url = roll.store.engine.url.render_as_string(hide_password=False)
    command = [
        sys.executable,
        "-m",
        "tests.runtime.people_files.import_child",
        url,
        str(roll.root),
        str(path),
        "never",
        "1",
    ]
    chance, killed = random.Random(4), 0
    for _ in range(15):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        time.sleep(chance.uniform(0.5, 2.5))
        process.kill()
        output, _ = process.communicate()
        if b"done" in output:
            break
        killed += 1
    assert killed
    done = roll.take(path)
    # Once it had come to its end, all of it is there already.
    if done.resumed:
        assert (done.counts, list(roll.told)) == (whole.counts, told_lines(odd))
    assert roll.state() == uncut.state()
    uncut.store.close()


@pytest.mark.slow
def test_a_hundred_thousand_lines_in_one_go(roll: Roll) -> None:
    path, odd = prepare(roll, 100_000)
    done = roll.take(path)
    assert list(roll.told) == told_lines(odd)
    expected = {"bad": "is no e-mail address", "topic": "unknown topic", "twice": "stands in line"}
    expected |= {"left": "has left this list", "there": "is on the list already"}
    for kind, numbers in odd.items():
        assert numbers and all(expected[kind] in roll.told[number] for number in numbers), kind
    assert done.counts["added"] == 100_000 - len(roll.told)
    assert roll.state()["imports"] == []


def test_two_at_once_do_not_mix(roll: Roll, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = prepare(roll, 2 * CHUNK)
    advance = import_progress.advance

    def overtaken(connection: object, key: str, *args: object) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(import_progress, "advance", advance)
            assert advance(connection, key, 0, 5, {}, NOW)  # type: ignore[arg-type]
        return advance(connection, key, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(import_progress, "advance", overtaken)
    before = roll.state()
    with pytest.raises(RefusedError, match="somebody else"):
        roll.take(path)
    assert roll.state() == before
