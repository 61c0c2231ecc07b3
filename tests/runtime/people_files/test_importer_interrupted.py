"""An import that was killed and is run again gives the same store as one that was never interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from tests.fixtures.people import NOW, ImportWorld
from tidings.runtime.people_files.importer import CHUNK, ImportOptions, ImportSummary, import_people
from tidings.store import schema as t
from tidings.store.people import consent


def people(count: int) -> tuple[str, dict[str, list[int]]]:
    """Return a file of `count` lines, and the numbers of its bad lines by kind."""
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


def count_subscriptions(world: ImportWorld) -> int:
    with world.store.read() as connection:
        return connection.execute(select(func.count()).select_from(t.subscriptions)).scalar_one()


def prepare(world: ImportWorld, count: int) -> tuple[Path, dict[str, list[int]]]:
    text, odd = people(count)
    world.run("email\n" + "".join(f"there{number}@example.org\n" for number in odd["there"]), name="there.csv")
    with world.store.write() as connection:
        hashes = [consent.address_hash(f"left{number % 1_000}x{number}@example.org") for number in odd["left"]]
        consent.suppress_all(connection, hashes, "digest", "unsubscribed", NOW)
    return world.write(text), odd


def import_uncut(tmp_path: Path, count: int) -> tuple[ImportSummary, ImportWorld]:
    uncut = ImportWorld(f"sqlite:///{tmp_path / 'uncut.db'}", tmp_path / "uncut")
    path, _ = prepare(uncut, count)
    return uncut.run(path), uncut


def run_child(world: ImportWorld, path: Path, point: str, chunk: int) -> int:
    url = world.store.engine.url.render_as_string(hide_password=False)
    module = "tests.runtime.people_files.import_child"
    command = [sys.executable, "-m", module, url, str(world.root), str(path), point, str(chunk)]
    return subprocess.run(command, capture_output=True, timeout=120).returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "chunk"),
    [
        ("before-commit", 2),
        pytest.param("before-commit", 1, marks=pytest.mark.slow),
        pytest.param("after-commit", 3, marks=pytest.mark.slow),
        pytest.param("after-commit", 4, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_import_can_be_run_again(world: ImportWorld, tmp_path: Path, point: str, chunk: int) -> None:
    path, odd = prepare(world, 4 * CHUNK)
    whole, uncut = import_uncut(tmp_path, 4 * CHUNK)
    before = count_subscriptions(world)
    assert run_child(world, path, point, chunk) == -signal.SIGKILL
    added = count_subscriptions(world) - before
    with world.store.read() as connection:
        loose = select(func.count()).select_from(t.subscribers)
        loose = loose.where(t.subscribers.c.id.not_in(select(t.subscriptions.c.subscriber)))
        assert connection.execute(loose).scalar_one() == 0
    assert (added > 0) is (chunk > 1)
    assert added < whole.counts["added"]
    again = world.run(path)
    assert world.rows() == uncut.rows()
    assert again.counts == whole.counts + Counter(exists=added) - Counter(added=added)
    assert {line: world.refused[line] for line in uncut.refused} == uncut.refused
    assert sorted(uncut.refused) == sorted(number for numbers in odd.values() for number in numbers)
    others = {reason for line, reason in world.refused.items() if line not in uncut.refused}
    assert others == ({"is on the list already"} if added else set())
    assert list(world.refused) == sorted(world.refused)
    uncut.store.close()


def test_two_imports_at_once_add_each_person_once(
    world: ImportWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = prepare(world, 4 * CHUNK)
    whole, uncut = import_uncut(tmp_path, 4 * CHUNK)
    calls = 0
    write = world.store.write
    other: list[ImportSummary] = []

    @contextmanager
    def overtaken() -> Iterator[Connection]:
        nonlocal calls
        calls += 1
        if calls == 3:
            options = ImportOptions("digest", True, "fair")
            other.append(import_people(world.store, world.newsroom, path, options, now=NOW))
        with write() as connection:
            yield connection

    monkeypatch.setattr(world.store, "write", overtaken)
    first = world.run(path)
    assert world.rows() == uncut.rows()
    assert first.counts["added"] + other[0].counts["added"] == whole.counts["added"]
    uncut.store.close()


@pytest.mark.slow
def test_a_hundred_thousand_lines_in_one_go(world: ImportWorld) -> None:
    path, odd = prepare(world, 100_000)
    done = world.run(path)
    assert list(world.refused) == sorted(number for numbers in odd.values() for number in numbers)
    expected = {"bad": "is not an e-mail address", "topic": "unknown topic", "twice": "is in line"}
    expected |= {"left": "has left this list", "there": "is on the list already"}
    for kind, numbers in odd.items():
        assert numbers and all(expected[kind] in world.refused[number] for number in numbers), kind
    assert done.counts["added"] == 100_000 - len(world.refused)
