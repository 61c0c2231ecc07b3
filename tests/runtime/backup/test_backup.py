"""Backup files are complete, private and made while everything runs. Damaged and hostile ones are refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.newsroom import DAILY, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.errors import InputError, RefusedError
from tidings.runtime.backup.backup import make_backup
from tidings.runtime.backup.backup_file import FILES, MANIFEST, STORE, check_backup_file, is_backup_file
from tidings.runtime.backup.restore import restore
from tidings.store.people import subscribers


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}) as running:
        yield running


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as running:
        yield running


def quiet(what: str, done: int, total: int) -> None:
    """Show no progress bar."""


def refuse(question: str) -> None:
    raise RefusedError("no")


def test_the_members_of_a_backup(newsroom: RunningNewsroom) -> None:
    newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    root = newsroom.folder.root
    newsroom.folder.write("dkim.pem", "a key")
    newsroom.folder.write("secrets.env", "SMTP_PASSWORD=hunter22")
    newsroom.folder.write("templates/digest/note.txt", "ours")
    newsroom.folder.env["SMTP_USER"] = "news"
    newsroom.configure("mail: {host", "mail: {username: {env: SMTP_USER}, password: {file: dkim.pem}, host")
    (root / "content" / "link.md").symlink_to("/etc/passwd")
    messages: list[str] = []
    made = make_backup(
        root, root.parent / "b.tar.gz", lambda what, done, total: messages.append(what), newsroom.folder.env
    )

    assert made.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in made.path.parent.glob(".tidings-backup-*")] == []
    assert set(messages) == {"store", "files"}
    manifest = check_backup_file(made.path)
    assert manifest == made.manifest
    assert manifest.counts["deliveries"] >= 1
    assert manifest.counts["subscribers"] == 1
    assert manifest.clock == MONDAY
    assert set(manifest.environment) == {"DESK_SECRET", "DESK_URL", "SLACK_URL", "SMTP_USER"}
    with tarfile.open(made.path) as tar:
        names = tar.getnames()
        content = b"".join(file.read() for one in tar if (file := tar.extractfile(one)) is not None)
    assert names[-1] == MANIFEST
    files = {name.removeprefix(FILES) for name in names if name.startswith(FILES)}
    assert files == {
        "tidings.yaml", "keys.json", "dkim.pem", "schedules/daily.yaml", "content/one.en.md",
        "templates/digest/note.txt",
    }  # fmt: skip
    assert b"hunter22" not in content
    for name in ("DESK_URL", "DESK_SECRET", "SLACK_URL"):
        secret = newsroom.folder.env[name]
        assert secret.encode() not in content
    assert any("link.md" in line for line in made.left_out)


def test_a_backup_of_a_running_newsroom_is_consistent(newsroom: RunningNewsroom) -> None:
    """Readers are added in pairs. A backup of two moments would contain half a pair."""
    stop, begun = threading.Event(), threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with newsroom.runtime.store.write() as connection:
                for side in ("left", "right"):
                    subscribers.add(
                        connection, f"{side}{number}@example.org", "digest", language="en", frequency="daily",
                        now=MONDAY, confirmed=True,
                    )  # fmt: skip
            begun.set()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert begun.wait(120)
        made = make_backup(newsroom.folder.root, newsroom.folder.root.parent / "b.tar.gz", quiet, newsroom.folder.env)
    finally:
        stop.set()
        worker.join()
    counts = check_backup_file(made.path).counts
    assert counts["subscribers"] % 2 == 0
    assert counts["subscribers"] == counts["subscriptions"] >= 2


def test_a_backup_replaces_only_a_backup(small: RunningNewsroom) -> None:
    root = small.folder.root
    path = root.parent / "b.tar.gz"
    make_backup(root, path, quiet, small.folder.env)
    make_backup(root, path, quiet, small.folder.env)
    check_backup_file(path)
    for name, message in (
        ("tidings.yaml", "is not a backup"),
        ("content/b.tar.gz", "Other people read"),
        ("public/b.tar.gz", "Other people read"),
        ("nowhere/b.tar.gz", "cannot be a backup"),
        ("content", "cannot be a backup"),
    ):
        with pytest.raises(RefusedError, match=message):
            make_backup(root, root / name, quiet, small.folder.env)
    assert "site:" in (root / "tidings.yaml").read_text()


def test_an_interrupted_backup_keeps_the_old_one(small: RunningNewsroom) -> None:
    root = small.folder.root
    path = root.parent / "b.tar.gz"
    make_backup(root, path, quiet, small.folder.env)
    before = path.read_bytes()

    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_backup(root, path, stop, small.folder.env)
    assert path.read_bytes() == before
    assert sorted(one.name for one in path.parent.iterdir() if one.name.startswith(".")) == []


# -- refused backups --------------------------------------------------------------------------------------------------


def rewritten(path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None], *, sums: bool = True) -> None:
    """Rewrite a backup file with other members. `sums` writes a manifest that matches them."""
    members = []
    with tarfile.open(path) as tar:
        for info in tar:
            file = tar.extractfile(info)
            members.append((info, file.read() if file else b""))
    change(members)
    if sums:
        info, raw = members.pop()
        manifest = json.loads(raw)
        manifest["members"] = {
            one.name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for one, content in members
        }
        members.append((info, json.dumps(manifest).encode()))
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))


def added(name: str, **more: Any) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info = tarfile.TarInfo(name)
        for key, value in more.items():
            setattr(info, key, value)
        members.insert(2, (info, b"evil"))

    return change


HOSTILE: dict[str, tuple[Callable[[list[tuple[tarfile.TarInfo, bytes]]], None], str]] = {
    "above": (added("newsroom/../../evil"), "outside"),
    "absolute": (added("/tmp/evil"), "outside"),
    "absolute inside": (added("newsroom//etc/evil"), "outside"),
    "dot": (added("newsroom/./tidings.yaml"), "outside"),
    "beside": (added("evil"), "outside"),
    "its own workshop": (added("newsroom/.restoring/ready"), "outside"),
    "backslash": (added("newsroom/content\\..\\evil"), "outside"),
    "symbolic link": (added("newsroom/content/x", type=tarfile.SYMTYPE, linkname="/etc"), "not a regular file"),
    "hard link": (
        added("newsroom/content/x", type=tarfile.LNKTYPE, linkname="newsroom/keys.json"),
        "not a regular file",
    ),
    "device": (added("newsroom/content/x", type=tarfile.CHRTYPE), "not a regular file"),
    "pipe": (added("newsroom/content/x", type=tarfile.FIFOTYPE), "not a regular file"),
    "folder": (added("newsroom/content/x", type=tarfile.DIRTYPE), "not a regular file"),
    "no place of it": (added("newsroom/elsewhere/x"), "does not list the place"),
    "twice": (lambda members: members.insert(2, members[1]), "twice"),
    "no manifest": (lambda members: members.__delitem__(-1) or members.append(members[0]), "twice"),  # type: ignore[func-returns-value]
    "without its store": (lambda members: members.__delitem__(1), "no store.db"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_backup_writes_nothing(small: RunningNewsroom, what: str) -> None:
    change, message = HOSTILE[what]
    path = small.folder.root.parent / "b.tar.gz"
    make_backup(small.folder.root, path, quiet, small.folder.env)
    rewritten(path, change, sums=what != "no manifest")
    target = small.folder.root.parent / "deep" / "er" / "target"
    with pytest.raises(InputError, match=message):
        restore(path, target, agree=refuse, progress=quiet, env=small.folder.env)
    assert not target.parent.parent.exists()
    assert not Path("/tmp/evil").exists()


def test_a_place_outside_the_newsroom_is_refused(small: RunningNewsroom) -> None:
    path = small.folder.root.parent / "b.tar.gz"
    make_backup(small.folder.root, path, quiet, small.folder.env)

    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info, raw = members.pop()
        members.append((info, json.dumps({**json.loads(raw), "places": ["../n", "tidings.yaml"]}).encode()))

    rewritten(path, change)
    with pytest.raises(InputError, match="did not write"):
        check_backup_file(path)


def _damaged(path: Path) -> None:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[1] = (members[1][0], members[1][1][:-1] + b"!")

    rewritten(path, change, sums=False)


def _of_a_newer_form(path: Path) -> None:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info, raw = members.pop()
        members.append((info, json.dumps({**json.loads(raw), "format": 2}).encode()))

    rewritten(path, change, sums=False)


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "not a complete backup"),
    "empty": (lambda path: path.write_bytes(b""), "not a (complete )?backup"),
    "text": (lambda path: path.write_text("site:\n"), "not a (complete )?backup"),
    "other gzip": (lambda path: path.write_bytes(gzip.compress(b"hello" * 1000)), "not a (complete )?backup"),
    "a bit turned": (_damaged, "store.db differs from its checksum"),
    "newer form": (_of_a_newer_form, "Use a newer version"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_backup_is_refused(small: RunningNewsroom, what: str) -> None:
    harm, message = DAMAGED[what]
    path = small.folder.root.parent / "b.tar.gz"
    make_backup(small.folder.root, path, quiet, small.folder.env)
    harm(path)
    with pytest.raises(InputError, match=message):
        restore(path, small.folder.root.parent / "target", agree=refuse, progress=quiet, env=small.folder.env)
    assert not (small.folder.root.parent / "target").exists()


def test_an_unknown_store_address_is_not_guessed(small: RunningNewsroom) -> None:
    """If the variable of `store: {env: NAME}` is missing, another database would become a second newsroom."""
    env = {**small.folder.env, "NEWS_STORE": "sqlite:///tidings.db"}
    path = small.folder.root / "tidings.yaml"
    path.write_text(path.read_text().replace("store: sqlite:///tidings.db", "store: {env: NEWS_STORE}"))
    archive = small.folder.root.parent / "b.tar.gz"
    made = make_backup(small.folder.root, archive, quiet, env)
    assert STORE in made.manifest.members
    with pytest.raises(InputError, match="NEWS_STORE"):
        restore(archive, small.folder.root.parent / "target", agree=refuse, progress=quiet, env=small.folder.env)
    assert not (small.folder.root.parent / "target").exists()


def _extended(records: bytes) -> bytes:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    return header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)


@pytest.mark.parametrize(
    "headers",
    [_extended(b"10 x=yzzz\n") * 3000, _extended(b"23 GNU.sparse.size=abc\n"), _extended(b"22 GNU.sparse.map=a,b\n")],
    ids=["a chain of headers", "a size that is not a number", "a map that is not a map"],
)
def test_a_backup_with_senseless_headers_is_refused(tmp_path: Path, headers: bytes) -> None:
    path = tmp_path / "b.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(headers + tarfile.TarInfo("tidings-backup").tobuf() + bytes(1024))
    assert not is_backup_file(path)
    with pytest.raises(InputError, match="is not a complete backup"):
        check_backup_file(path)


@pytest.mark.parametrize("mtime", [float("nan"), float("inf"), 1e300])
def test_a_backup_with_an_impossible_time_is_refused(small: RunningNewsroom, mtime: float) -> None:
    root = small.folder.root
    path = root.parent / "b.tar.gz"
    make_backup(root, path, quiet, small.folder.env)

    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[2][0].pax_headers = {"mtime": str(mtime)}

    rewritten(path, change)
    with pytest.raises(InputError, match="is not a complete backup"):
        restore(path, root.parent / "target", agree=lambda _: True, progress=quiet, env=small.folder.env)


def test_a_backup_with_a_huge_header_is_refused(tmp_path: Path) -> None:
    """tarfile reads extended headers whole: 3 GB of zeros fit into 3 MB of gzip."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 3 << 30
    path = tmp_path / "b.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1 << 20))
    assert not is_backup_file(path)
    with pytest.raises(InputError, match="header of 3,221,225,472 bytes"):
        check_backup_file(path)
