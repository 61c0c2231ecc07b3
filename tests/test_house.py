"""The rules of the code that a machine can check: layers, sizes, names, and no path of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

import tidings

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "tidings"
LONGEST = 601
SHORTEST = 60
MOST_ENTRIES = 20
MOST_SHORT_MODULES = 20
SHAPELESS = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
NEWSROOM = ("tidings.yaml", "content", "schedules", "templates")

REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "yarn" + "pkg.com")
OF_A_MACHINE = re.compile(rb"(?<![\w.:/}~-])/(?:" + b"|".join([b"work", b"root", b"Users", rb"home/\w+"]) + rb")/[\w.]")


def _tracked() -> list[Path]:
    """Return every file that is committed, or would be."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def _trees() -> dict[str, ast.Module]:
    """Return each module, parsed once for all tests."""
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in _modules()}


def test_modules_are_of_a_size_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): n
        for path in _modules()
        # Alembic writes migrations, and they never change.
        if path.parent.name != "versions" and (n := len(path.read_text().splitlines())) >= LONGEST
    }
    assert not long, f"split these by what they do: {long}"


def test_no_folder_has_too_many_entries() -> None:
    crowded = {}
    for folder in {path.parent for path in _modules()}:
        entries = [entry for entry in folder.iterdir() if entry.name not in ("__init__.py", "__pycache__")]
        if len(entries) > MOST_ENTRIES:
            crowded[str(folder.relative_to(ROOT))] = len(entries)
    assert not crowded


def test_few_modules_are_short() -> None:
    """Migrations do not count: they are never changed or merged."""
    short = [
        str(path.relative_to(ROOT))
        for path in _modules()
        if path.name != "__init__.py"
        and path.parent.name != "versions"
        and len(path.read_text().splitlines()) < SHORTEST
    ]
    assert len(short) <= MOST_SHORT_MODULES, f"{len(short)} modules are short; merge some: {short}"


def test_no_two_classes_share_a_name() -> None:
    """`Settings` does not count: every adapter has this class."""
    files: dict[str, list[str]] = {}
    for name, tree in _trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name != "Settings":
                files.setdefault(node.name, []).append(name)
    assert not {name: places for name, places in files.items() if len(places) > 1}


def test_modules_can_be_guessed_by_name() -> None:
    named = [path.relative_to(ROOT) for path in _modules() if SHAPELESS & {path.stem, *path.relative_to(PACKAGE).parts}]
    assert not named


def test_every_module_has_a_docstring() -> None:
    assert not [name for name, tree in _trees().items() if not ast.get_docstring(tree)]


@pytest.mark.slow
def test_import_contracts_hold() -> None:
    """`make lint` checks them before the tests of `make test`."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_in_the_tree_belongs_to_one_machine() -> None:
    """No address of a package registry, and no personal folder: a clone works anywhere, with any index."""
    lines = []
    for path in _tracked():
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if b"\0" in line:
                break  # a picture or a PDF
            if any(host.encode() in line for host in REGISTRIES) or OF_A_MACHINE.search(line):
                lines.append(f"{path.relative_to(ROOT)}:{number}: {line[:120]!r}")
    assert not lines


def _pins(name: str) -> dict[str, str]:
    """Return name and version of every package in a lock file."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_package_has_hashes(name: str) -> None:
    pins = re.split(r"^(?=[A-Za-z0-9])", (ROOT / name).read_text(), flags=re.MULTILINE)[1:]
    assert len(pins) > 30
    assert [pin.split()[0] for pin in pins if "==" not in pin.split()[0] or "--hash=sha256:" not in pin] == []


def test_the_lock_covers_the_project() -> None:
    """Everything that pyproject.toml requires is locked. After a change, run `make lock`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    runtime = [*project["dependencies"], *extras["build"]]
    developing = [*runtime, *extras["dev"], *extras["bench"]]
    for name, wanted in {"requirements.lock": runtime, "requirements-dev.lock": developing}.items():
        names = {re.split(r"[\[<>=~! ]", requirement)[0].lower().replace(".", "-") for requirement in wanted}
        lacking = sorted(names - set(_pins(name)))
        assert not lacking, f"{name}: run `make lock`"


def test_both_locks_agree() -> None:
    """The demo and the tests run on the same versions."""
    tested = _pins("requirements-dev.lock")
    differing = {
        name: (pin, tested.get(name)) for name, pin in _pins("requirements.lock").items() if tested.get(name) != pin
    }
    assert not differing


def test_the_version_is_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert tidings.__version__ == project["version"]


def test_the_wheel_carries_the_newsroom(tmp_path: Path) -> None:
    """`tidings init` works without a clone: the wheel contains the sample newsroom, byte for byte."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    [wheel] = tmp_path.glob("*.whl")
    wanted = {path.relative_to(ROOT).as_posix(): path for path in _tracked()}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name, path in wanted.items():
            if PurePosixPath(name).parts[0] in NEWSROOM:
                inside = f"tidings/_newsroom/{name}"
                assert inside in names
                assert archive.read(inside) == path.read_bytes()
            elif name.startswith("src/tidings/"):
                assert name.removeprefix("src/") in names
        assert "tidings/py.typed" in names
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        assert "tidings = tidings.cli:main" in archive.read(entry).decode()
