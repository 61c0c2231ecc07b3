"""The folder source: files that it reads, sets aside, and does not read twice."""

from __future__ import annotations

import os
import shutil
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tidings.model.file_names import is_copy
from tidings.sources.base import SourceContext, Sweep
from tidings.sources.folder import source as folder
from tidings.sources.folder.source import FolderSource, Settings
from tidings.testing.source_contract import SourceCase, SourceContract

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = "---\ntitle: T\n---\nBody\n"


def source_of(root: Path, path: str = "content") -> FolderSource:
    context = SourceContext("newsroom", root, "https://news.example/", ("en", "ru", "kk"), ZoneInfo("Asia/Almaty"))
    return FolderSource(Settings(type="folder", path=path), context)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


def sweep(content: Path) -> Sweep:
    return source_of(content.parent).sweep(NOW)


def errors(swept: Sweep) -> dict[str, str]:
    return {
        problem.file: f"{problem.message} | {problem.mend}" for problem in swept.problems if problem.level == "error"
    }


class FolderCase(SourceCase):
    def __init__(self, root: Path) -> None:
        self.content = root / "content"
        self.content.mkdir()
        self.source = source_of(root)

    def write(self, name: str, language: str, title: str, body: str) -> None:
        (self.content / f"{name}.{language}.md").write_text(f"---\ntitle: {title}\n---\n{body}\n", encoding="utf-8")

    def spoil(self, name: str, language: str) -> None:
        (self.content / f"{name}.{language}.md").write_text("---\ntitle: half-writ", encoding="utf-8")

    def remove(self, name: str, language: str) -> None:
        (self.content / f"{name}.{language}.md").unlink()

    def break_down(self) -> None:
        shutil.rmtree(self.content)


class TestFolderKeepsTheContract(SourceContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> SourceCase:
        return FolderCase(tmp_path)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.en.md", b"", "empty"),
        ("a.en.md", b"\xef\xbb\xbf  \n", "empty"),
        ("a.en.md", b"Just text\n", "does not begin with ---"),
        ("a.en.md", b"---\ntitle: T\nsumm", "no second ---"),
        ("a.en.md", b"---\n---\nBody", "no keys"),
        ("a.en.md", b"---\nkind: story\n---\nBody", "no title"),
        ("a.en.md", "---\ntitle: Привет\n---\n".encode("cp1251"), "UTF-8"),
        ("a.en.md", "---\ntitle: T\n---\nПривет".encode()[:-1], "UTF-8"),
        ("a.fr.md", GOOD.encode(), "'fr' in the file's name"),
        ("a.en.md", b"---\ntitle: T\n---\n" + b"x" * 5_000_000, "larger than 5 MB"),
        ("a (conflicted copy).en.md", GOOD.encode(), "copy"),
        ("a (Anna's conflicted copy 2023-09-26).en.md", GOOD.encode(), "copy"),
        ("a - Copy.en.md", GOOD.encode(), "copy"),
        ("a.en - Copy (2).md", GOOD.encode(), "copy"),
        ("a (1).en.md", GOOD.encode(), "copy"),
        ("a.sync-conflict-20230926-101010-ABCDEFG.en.md", GOOD.encode(), "copy"),
        ("a — копия.en.md", GOOD.encode(), "copy"),
        ("a.en 2.md", GOOD.encode(), "copy"),
        ("good 2.en.md", GOOD.encode(), "copy"),
        ("good.en copy 3.md", GOOD.encode(), "copy"),
        ("Copy of a.en.md", GOOD.encode(), "copy"),
        ("a.en.conflict.md", GOOD.encode(), "copy"),
        ("a.en_Ada-MBP_Nov-30-101010-2026_Conflict.md", GOOD.encode(), "copy"),
        ("a.en (# Name clash 2026-11-30 #).md", GOOD.encode(), "copy"),
        ("a.en (Recovered).md", GOOD.encode(), "copy"),
        ("a.en-MacBook-Air.md", GOOD.encode(), "copy"),
        ("good-copy.en.md", GOOD.encode(), "copy"),
        ("ru.a.md", GOOD.encode(), "not at its end"),
        ("a.en.2026-11-30.md", GOOD.encode(), "not at its end"),
        ("a.en - Shortcut.md", GOOD.encode(), "not at its end"),
        ("a.en_GB.md", GOOD.encode(), "not at its end"),
        ("Копия a.en.md", GOOD.encode(), "copy"),
        ("Kopie von a.en.md", GOOD.encode(), "copy"),
        ("Copie de a.en.md", GOOD.encode(), "copy"),
        ("a.en - Kopie.md", GOOD.encode(), "copy"),
        ("a.en - көшірмесі.md", GOOD.encode(), "copy"),
        ("نسخة من a.en.md", GOOD.encode(), "copy"),
        ("a.en 的副本.md", GOOD.encode(), "copy"),
        ("a.en(1).md", GOOD.encode(), "copy"),
        ("a.en (another copy).md", GOOD.encode(), "copy"),
        ("a.en (конфликтующая копия пользователя Анна 2026-11-29).md", GOOD.encode(), "copy"),
        ("a.en (In Konflikt stehende Kopie von Anna 2026-11-29).md", GOOD.encode(), "copy"),
        ("a.en (Copie en conflit de Anna 2026-11-29).md", GOOD.encode(), "copy"),
        ("a.en (Copia en conflicto de Anna 2026-11-29).md", GOOD.encode(), "copy"),
        ("a.en (Anna 的冲突副本 2026-11-29).md", GOOD.encode(), "copy"),
        ("a.en (SFConflict anna 2026-11-29-10-00-00).md", GOOD.encode(), "copy"),
        ("a.en-DESKTOP-1A2B3C4.md", GOOD.encode(), "copy"),
        ("a.en_conflict-20261129.md", GOOD.encode(), "copy"),
        ("a.en_BACKUP_4711.md", GOOD.encode(), "copy"),
        ("a.en.orig.md", GOOD.encode(), "copy"),
        ("a.en.bak.md", GOOD.encode(), "copy"),
        ("a.ру.md", GOOD.encode(), "rename the file to a.ru.md"),
        ("a.рус.md", GOOD.encode(), "rename the file to a.ru.md"),
        ("a.ru .md", GOOD.encode(), "rename the file to a.ru.md"),
        ("a_ru.md", GOOD.encode(), "rename the file to a.ru.md"),
        ("a.ru_RU.md", GOOD.encode(), "rename the file to a.ru.md"),
        ("a (kk).md", GOOD.encode(), "rename the file to a.kk.md"),
        ("a.қаз.md", GOOD.encode(), "rename the file to a.kk.md"),
        ("a.Russian.md", GOOD.encode(), "rename the file to a.ru.md"),
        ("a.中文.md", GOOD.encode(), "not one of the site's languages"),
    ],
)
def test_bad_files_are_set_aside_and_others_are_read(content: Path, name: str, raw: bytes, message: str) -> None:
    (content / name).write_bytes(raw)
    (content / "good.en.md").write_text(GOOD)
    swept = sweep(content)
    assert [item.name for item in swept.items] == ["good"]
    assert swept.set_aside == (f"content/{name}",)
    assert message in errors(swept)[f"content/{name}"]
    assert all(problem.mend for problem in swept.problems)


def test_what_a_program_added_after_the_language_is_a_copy(content: Path) -> None:
    """Each became a story of its own, and the digest named it again."""
    (content / "open-day.en.md").write_text(GOOD)
    names = (
        "open-day.en_1.md", "open-day.en-1.md", "open-day.en [1].md", "open-day.en.2.md", "open-day.en\u00a02.md",
        "open-day.en_old.md", "open-day.en-backup.md", "open-day.en_v2.md", "open-day.en (version 1).md",
        "open-day.en-ANNA-PC.md", "open-day.en-Anna’s MacBook Pro.md", "~open-day.en.md", "open-day.en.md.md",
        "open-day (Annas motstridiga kopia 2026-11-30).en.md", "open-day (case clash from Anna).en.md",
        "open-day.en (нұсқа).md", "open-day.en.20261130.md",
    )  # fmt: skip
    for name in names:
        (content / name).write_text(GOOD)
    swept = sweep(content)
    assert [item.name for item in swept.items] == ["open-day"]
    assert len(swept.set_aside) == len(names)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("a.en", "a.en.md"),
        ("a.ru", "a.ru.md"),
        ("a.en.md_", "a.en.md"),
        ("a.en.md2", "a.en.md"),
        ("a.en.мд", "a.en.md"),
        ("a.en.adoc", "a.en.md"),
    ],
)
def test_a_story_under_another_ending_was_ignored(content: Path, name: str, right: str) -> None:
    (content / name).write_text(GOOD)
    (content / "temporary.en.md~").write_text(GOOD)
    (content / "notes.xyz").write_text("no front matter")
    [problem] = sweep(content).problems
    assert (problem.file, problem.level) == (f"content/{name}", "error")
    assert f"rename it to {right}," in problem.mend


def test_a_name_that_only_resembles_a_copy_is_read(content: Path) -> None:
    names = (
        "copyright.en.md", "a-copy-of-the-report.en.md", "conflict-and-peace.en.md", "photocopy.en.md", "part 2.en.md",
        "How to copy texts.en.md", "Copy editing.en.md", "Copie privée.en.md", "how-to-be.md", "v1.2.en.md",
        "2026.en.md",
    )  # fmt: skip
    for name in names:
        (content / name).write_text(GOOD)
    swept = sweep(content)
    assert (len(swept.items), swept.problems) == (len(names), ())


def test_a_text_in_another_script_is_a_warning(content: Path) -> None:
    russian = "Сегодня открылась новая библиотека, и все пришли посмотреть."
    (content / "a.md").write_text(f"---\ntitle: Новая библиотека\n---\n{russian}\n")
    (content / "b.kk.md").write_text("---\ntitle: Zhana kitapkhana ashyldy\n---\nA\n")
    (content / "c.en.md").write_text("---\ntitle: COVID-19 и мы\n---\nThe library in Алматы is open to all of us.\n")
    (content / "d.ru.md").write_text(f"---\ntitle: Новая библиотека\n---\n{russian} <https://un.example/library>\n")
    assert [(problem.file, problem.level) for problem in sweep(content).problems] == [("content/a.md", "warning")]
    assert "Cyrillic" in sweep(content).problems[0].message


def test_files_that_are_not_read_are_named(content: Path) -> None:
    (content / "media").mkdir()
    for name in ("a.en.md.txt", "b.en.markdown", "c.en.pdf", "notes.txt", "media/d.docx", "e.docx", "f.jpg"):
        (content / name).write_text("x")
    (content / "good.en.md").write_text("---\ntitle: T\n---\n[Brief](e.docx)\n")
    problems = {problem.file: (problem.level, problem.mend) for problem in sweep(content).problems}
    assert list(problems) == ["content/a.en.md.txt", "content/b.en.markdown", "content/c.en.pdf", "content/notes.txt"]
    assert [level for level, _ in problems.values()] == ["error", "error", "warning", "warning"]
    assert "rename it to a.en.md" in problems["content/a.en.md.txt"][1]


def test_a_story_that_icloud_keeps_away_is_named(content: Path) -> None:
    (content / ".a.en.md.icloud").write_bytes(b"bplist00")
    (content / ".photo.jpg.icloud").write_bytes(b"bplist00")
    [problem] = sweep(content).problems
    assert (problem.file, problem.level) == ("content/.a.en.md.icloud", "error")
    assert problem.message == "iCloud has a.en.md and has not downloaded it, so it is not read"


def test_temporary_files_of_editors_are_ignored(content: Path) -> None:
    for name in (
        ".a.en.md.swp",
        "a.en.md~",
        ".#a.en.md",
        "#a.en.md#",
        "~$a.en.md",
        ".DS_Store",
        "a.jpg",
        "a.en.md.tmp",
    ):
        (content / name).write_text("rubbish")
    (content / ".git").mkdir()
    (content / ".git" / "x.en.md").write_text("rubbish")
    assert sweep(content) == Sweep(())


def test_bom_and_crlf_are_fine(content: Path) -> None:
    (content / "a.en.md").write_bytes(b"\xef\xbb\xbf---\r\ntitle: T\r\nkind: event\r\n---\r\nOne\r\n\r\nTwo\r\n")
    [one] = sweep(content).items
    assert (one.title, one.kind, one.body) == ("T", "event", "<p>One</p>\n<p>Two</p>")


@pytest.mark.parametrize(
    ("name", "language", "expected"),
    [
        ("a.ru.md", "", ("a", "ru")),
        ("a.RU.md", "", ("a", "ru")),
        ("a.md", "", ("a", "en")),
        ("2023.09.26-a.kk.md", "", ("2023.09.26-a", "kk")),
        ("report-v1.2.md", "", ("report-v1.2", "en")),
        ("a.en.md", "kk", ("a", "kk")),
        ("a.fr.md", "ru", ("a.fr", "ru")),
        ("a.ru.MD", "", ("a", "ru")),
    ],
)
def test_the_key_then_the_name_then_the_site_set_language(
    content: Path, name: str, language: str, expected: tuple[str, str]
) -> None:
    (content / name).write_text(f"---\ntitle: T\nlanguage: {language}\n---\n")
    [one] = sweep(content).items
    assert (one.name, one.language) == expected


def test_subfolders_are_read_and_refs_are_paths(content: Path) -> None:
    (content / "2023" / "09").mkdir(parents=True)
    (content / "2023" / "09" / "a.en.md").write_text(GOOD)
    [one] = sweep(content).items
    assert (one.ref, one.name) == ("content/2023/09/a.en.md", "a")


def test_symlinks_that_lead_out_are_refused(content: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("secret")
    (tmp_path / "outside.en.md").write_text(GOOD)
    (content / "inside.en.md").write_text(GOOD)
    (content / "out.en.md").symlink_to(tmp_path / "outside.en.md")
    (content / "nowhere.en.md").symlink_to(tmp_path / "nothing")
    (content / "loop.en.md").symlink_to(content / "loop.en.md")
    (content / "folder").symlink_to(tmp_path)
    (content / "alias.ru.md").symlink_to(content / "inside.en.md")
    (content / "brief.pdf").symlink_to(tmp_path / "keys.json")
    (content / "media.en.md").write_text("---\ntitle: T\nattachments: [{src: brief.pdf}]\n---\n[x](../keys.json)\n")
    swept = sweep(content)
    assert {item.ref for item in swept.items} == {"content/inside.en.md", "content/alias.ru.md"}
    assert set(errors(swept)) == {
        f"content/{name}" for name in ("out.en.md", "nowhere.en.md", "loop.en.md", "folder", "media.en.md")
    }
    assert "leads out" in errors(swept)["content/media.en.md"]


@pytest.mark.parametrize("path", [".", "..", "../elsewhere", "/etc", "nothing"])
def test_an_outside_or_missing_folder_is_unreadable(tmp_path: Path, path: str) -> None:
    swept = source_of(tmp_path, path).sweep(NOW)
    assert not swept.is_readable and swept.problems[0].mend


def test_an_unlistable_subfolder_removes_nothing(content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (content / "sub").mkdir()
    real = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(folder.os, "scandir", refuse)
    swept = sweep(content)
    assert not swept.is_readable and swept.problems[0].file == "content/sub"


def test_a_pipe_is_not_waited_for(content: Path) -> None:
    os.mkfifo(content / "a.en.md")
    assert "plain file" in errors(sweep(content))["content/a.en.md"]


def test_a_file_is_read_anew_with_its_media(content: Path) -> None:
    Image.new("RGB", (40, 30)).save(content / "a.png")
    (content / "a.en.md").write_text('---\ntitle: T\n---\n![A](a.png "x") [later](later.pdf)\n')
    source = source_of(content.parent)
    first = source.sweep(NOW)
    assert source.sweep(NOW) == first
    Image.new("RGB", (50, 30)).save(content / "a.png")
    assert source.sweep(NOW).items[0].fingerprint != first.items[0].fingerprint
    (content / "later.pdf").write_bytes(b"%PDF")
    assert len(source.sweep(NOW).items[0].media) == 2
    (content / "a.en.md").rename(content / "b.en.md")
    [moved] = source.sweep(NOW).items
    assert moved.ref == "content/b.en.md"


def test_a_file_written_just_now_is_read_again(content: Path) -> None:
    """File times have steps of a few milliseconds, so two writes of equal length could look the same."""
    source = source_of(content.parent)
    path = content / "a.en.md"
    path.write_text(GOOD)
    status = path.stat()
    assert source.sweep(NOW).items[0].title == "T"
    path.write_text(GOOD.replace("title: T", "title: U"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source.sweep(NOW).items[0].title == "U"


def test_an_unreadable_picture_sets_the_item_aside(content: Path) -> None:
    (content / "a.jpg").write_bytes(b"no picture")
    Image.new("RGB", (400, 300)).save(content / "b.jpg")
    (content / "b.jpg").write_bytes((content / "b.jpg").read_bytes()[:-200])
    for name in "ab":
        (content / f"{name}.en.md").write_text(f"---\ntitle: T\nimages: [{{src: {name}.jpg, alt: A}}]\n---\n")
    assert len(errors(sweep(content))) == 2


def test_a_picture_of_too_many_pixels_is_not_decoded(content: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    (content / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    (content / "a.en.md").write_text("---\ntitle: T\n---\n![A](a.png)\n")
    assert "pixels" in errors(sweep(content))["content/a.en.md"]


def test_the_result_is_the_same_on_another_machine(content: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    Image.new("RGB", (4, 3)).save(content / "a.png")
    (content / "a.en.md").write_text("---\ntitle: T\n---\n![A](a.png)\n")
    other = tmp_path_factory.mktemp("other") / "content"
    shutil.copytree(content, other)
    assert sweep(content) == sweep(other)


FRAGMENTS = st.sampled_from(
    ["---\n", "title: ", "summary: >\n", "images: [{", "}]\n", "published: ", "2023-09-27", "\x00", "\r\n", "<p",
     "![](", ")", "&#11;", "<a href='//[", "'", '"', "\\", "|", "- ", "\t", "é", "\ufffe", "javascript:", "  ",
     "x", ": ", "#", "*", "&a "]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=300), st.lists(FRAGMENTS, max_size=30).map(lambda parts: "".join(parts).encode())))
def test_any_bytes_never_raise(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    content = tmp_path_factory.mktemp("any") / "content"
    content.mkdir()
    for name, data in (
        ("a.en.md", raw),
        ("b.en.md", b"---\ntitle: T\n" + raw),
        ("c.en.md", b"---\ntitle: T\n---\n" + raw),
    ):
        (content / name).write_bytes(data)
    swept = sweep(content)
    assert len(swept.items) + len(swept.set_aside) == 3
    for item in swept.items:
        for text in (item.title, item.summary, item.body):
            text.encode()
            assert not any(character < " " and character not in "\n\t" for character in text)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("<div>" * 400_000, marks=pytest.mark.slow),
        "[" * 20_000,
        "> " * 5_000,
        "*a " * 10_000,
        "![" * 5_000,
        "<![CDATA[" * 3000,
    ],
)
def test_hostile_bodies_are_survived(content: Path, body: str) -> None:
    (content / "a.en.md").write_text(f"---\ntitle: T\n---\n{body}\n")
    (content / "b.en.md").write_text(GOOD)
    assert "content/b.en.md" in {item.ref for item in sweep(content).items}


def test_merge_markers_set_the_file_aside(content: Path) -> None:
    text = "---\ntitle: T\n---\nA\n<<<<<<< HEAD\nOne\n=======\nTwo\n>>>>>>> theirs\n"
    (content / "a.en.md").write_text(text)
    (content / "b.en.md").write_text("---\ntitle: T\n---\nHeading\n=======\n\n> > > quoted\n")
    swept = sweep(content)
    assert [item.ref for item in swept.items] == ["content/b.en.md"]
    assert [(problem.line, problem.level) for problem in swept.problems] == [(5, "error")]


@pytest.mark.parametrize("word", ["false", "no", "~", "None", "off", "null", "нет", "Жоқ", "لا", "non", "0", "—"])
def test_a_word_for_no_withdraws_and_corrects_nothing(content: Path, word: str) -> None:
    (content / "a.en.md").write_text(f"---\ntitle: T\nwithdrawn: {word}\ncorrection: {word}\n---\nA\n")
    (item,) = sweep(content).items
    assert (item.withdrawn, item.correction) == ("", "")


@pytest.mark.parametrize(("word", "level"), [("да", "warning"), ("oui", "warning"), ("TBD", "error"), ("?!", "error")])
def test_a_word_that_gives_no_reason_is_named(content: Path, word: str, level: str) -> None:
    (content / "a.en.md").write_text(f"---\ntitle: T\nwithdrawn: '{word}'\n---\nA\n")
    assert [problem.level for problem in sweep(content).problems] == [level]


def test_null_was_a_summary_and_an_author(content: Path) -> None:
    front = "title: T\nsummary: null\nauthors: ~\nembargo: null\nurl: null\ndraft: null"
    (content / "a.en.md").write_text(f"---\n{front}\n---\nA\n")
    (item,) = sweep(content).items
    assert (item.summary, item.authors, item.embargo, item.draft) == ("A", (), None, False)


def test_a_lost_picture_names_its_line(content: Path) -> None:
    text = "---\ntitle: T\n---\nA\n\n![x](C:\\pictures\\a.png)\n\n<iframe src='https://vimeo.com/1?a=1&amp;b=2'></iframe>\n"
    (content / "a.en.md").write_text(text)
    assert {(problem.line, problem.level) for problem in sweep(content).problems} >= {(6, "error"), (8, "warning")}


@pytest.mark.parametrize(
    "address", ["/media/logo.png", "media/logo.png", "/content/media/logo.png", "content/media/logo.png"]
)
def test_a_picture_is_found_as_a_cms_writes_it(content: Path, address: str) -> None:
    (content / "media").mkdir()
    Image.new("RGB", (4, 3)).save(content / "media" / "logo.png")
    (content / "a.en.md").write_text(f"---\ntitle: T\nimages: [{{src: {address}, alt: L}}]\n---\n![L]({address})\n")
    swept = sweep(content)
    assert swept.problems == ()
    (item,) = swept.items
    assert "/media/" in item.images[0].src
    assert item.images[0].width == 4
    assert item.images[0].src in item.body


def test_a_picture_of_obsidian_is_found_by_its_name(content: Path) -> None:
    (content / "media").mkdir()
    Image.new("RGB", (4, 3)).save(content / "media" / "well 1.png")
    (content / "a.en.md").write_text("---\ntitle: T\n---\n![[well 1.png|A well]]\n")
    swept = sweep(content)
    assert swept.problems == ()
    assert "well%201.png" in swept.items[0].body


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://localhost:3000/a.png", "readers cannot open"),
        ("http://192.168.1.5/a.png", "readers cannot open"),
        ("https://intranet/a.png", "readers cannot open"),
        ("https://nas.local/a.png", "readers cannot open"),
        ("#", "is left out"),
    ],
)
def test_a_picture_that_only_its_author_sees_is_named(content: Path, address: str, said: str) -> None:
    (content / "a.en.md").write_text(f"---\ntitle: T\n---\n![A well]({address})\n")
    assert [said in problem.message for problem in sweep(content).problems] == [True]


def test_markdown_with_spaces_in_a_name_is_a_picture(content: Path) -> None:
    (content / "media").mkdir()
    Image.new("RGB", (4, 3)).save(content / "media" / "my photo.png")
    (content / "media" / "My report 2.pdf").write_bytes(b"%PDF-1.7")
    text = "![A well](media/my photo.png)\n\n[Report](media/My report 2.pdf)\n\n`[x](a b.pdf)` [see](the next page)\n"
    (content / "a.en.md").write_text(f"---\ntitle: T\n---\n{text}")
    (content / "b.en.md").write_text("---\ntitle: T\n---\n![A well](D:/Photos/a well.png)\n")
    swept = sweep(content)
    assert [problem.message for problem in swept.problems] == ["the picture 'D:/Photos/a well.png' is left out"]
    body = swept.items[0].body
    assert "my%20photo.png" in body and "My%20report%202.pdf" in body
    assert "[x](a b.pdf)" in body and "[see](the next page)" in body


@pytest.mark.parametrize(
    ("address", "is_page"),
    [
        ("https://drive.google.com/file/d/1abc/view?usp=sharing", True),
        ("https://www.dropbox.com/scl/fi/abc/well.png?rlkey=x&dl=0", True),
        ("https://1drv.ms/i/s!abc", True),
        ("https://commons.wikimedia.org/wiki/File:Well.jpg", True),
        ("https://www.dropbox.com/scl/fi/abc/well.png?rlkey=x&raw=1", False),
        ("https://upload.wikimedia.org/wikipedia/commons/a/a1/Well.jpg", False),
    ],
)
def test_a_page_around_a_picture_is_no_picture(content: Path, address: str, is_page: bool) -> None:
    (content / "a.en.md").write_text(f"---\ntitle: T\n---\n![A well]({address}) and [a link]({address})\n")
    assert ["a page around a picture" in problem.message for problem in sweep(content).problems] == [True] * is_page


def test_a_rooted_picture_that_is_missing_is_a_fault(content: Path) -> None:
    (content / "a.en.md").write_text("---\ntitle: T\nimages: [{src: /media/logo.png}]\n---\n[News](/en/news/)\n")
    (content / "b.en.md").write_text("---\ntitle: T\n---\n![L](/media/logo.png)\n")
    matching = {(problem.file, problem.level) for problem in sweep(content).problems if "no file" in problem.message}
    assert matching == {("content/a.en.md", "error"), ("content/b.en.md", "warning")}


@pytest.mark.parametrize("name", ["Report #3.pdf", "what?.pdf", "50%20.pdf", "a b.pdf", "100%.pdf", "при вет.pdf"])
def test_a_file_with_an_odd_name_is_found(content: Path, name: str) -> None:
    (content / "media").mkdir()
    (content / "media" / name).write_bytes(b"%PDF-1.7")
    front = f"---\ntitle: T\nattachments: [{{src: 'media/{name}'}}]\n---\n"
    (content / "a.en.md").write_text(f"{front}[x](<media/{name}>)\n")
    swept = sweep(content)
    assert swept.problems == ()
    (item,) = swept.items
    assert [media.name for media in item.media] == [name]
    assert item.attachments[0].src in item.body


@pytest.mark.parametrize(("stored", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_picture_is_found_in_either_unicode_form(content: Path, stored: str, written: str) -> None:
    Image.new("RGB", (4, 3)).save(content / unicodedata.normalize(stored, "район.png"))  # type: ignore[arg-type]
    text = unicodedata.normalize(written, "---\ntitle: T\n---\n![x](район.png)\n")  # type: ignore[arg-type]
    (content / "a.en.md").write_text(text)
    assert sweep(content).problems == ()


def test_pictures_as_phones_and_editors_write_them(content: Path) -> None:
    small = Image.new("RGB", (40, 30))
    small.save(content / "phone.jpg", "MPO", save_all=True, append_images=[small])
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * 2_000_000, zip=True)
    small.save(content / "editor.png", pnginfo=info)
    small.save(content / "new.avif")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0" + b"6\0\0\0" + b"\0\0\0\0"
    small.save(content / "turned.jpg", exif=exif)
    names = ("phone.jpg", "editor.png", "new.avif", "turned.jpg")
    body = "".join(f"![A]({name})\n" for name in names)
    (content / "a.en.md").write_text(f"---\ntitle: T\n---\n{body}")
    swept = sweep(content)
    assert swept.problems == ()
    assert {media.media_type for media in swept.items[0].media} == {"image/jpeg", "image/png", "image/avif"}
    assert 'width="30" height="40"' in swept.items[0].body


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("contact: {name: Jane Doe, email: jane@un.example, phone: +7 (727) 250-00-00}",
         [("Jane Doe", "", "jane@un.example", "+7 (727) 250-00-00")]),
        ("contact:\n  - {name: Айгуль, role: Пресс-секретарь, email: a@un.example}\n  - {phone: 8 800 555 35 35}",
         [("Айгуль", "Пресс-секретарь", "a@un.example", ""), ("", "", "", "8 800 555 35 35")]),
        ("contact: Jane Doe, Press officer, jane@un.example, +7 727 250 00 00",
         [("Jane Doe", "Press officer", "jane@un.example", "+7 727 250 00 00")]),
        ("contacts: Jane Doe <jane@un.example>", [("Jane Doe", "", "jane@un.example", "")]),
        ("contact: press@un.example", [("", "", "press@un.example", "")]),
        ("contact: \"\"", []),
    ],
)  # fmt: skip
def test_a_contact_is_read_as_people_write_it(content: Path, written: str, expected: list[tuple[str, ...]]) -> None:
    (content / "a.en.md").write_text(f"---\ntitle: T\n{written}\n---\nBody\n")
    (item,) = sweep(content).items
    assert [(each.name, each.role, each.email, each.phone) for each in item.contacts] == expected


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{email: jane at un.example}", "not an e-mail address"),
        ("{phone: call me}", "not a phone number"),
        ("{mail: jane@un.example}", "there is no key `mail` in `contact`"),
    ],
)
def test_a_contact_that_nobody_can_reach_is_named(content: Path, written: str, message: str) -> None:
    (content / "a.en.md").write_text(f"---\ntitle: T\ncontact: {written}\n---\nBody\n")
    assert message in errors(sweep(content))["content/a.en.md"]


def test_words_that_resemble_a_key_stay_own_keys(content: Path) -> None:
    (content / "a.en.md").write_text("---\ntitle: T\ncontract: A-17\ncontext: water\n---\nBody\n")
    (item,) = sweep(content).items
    assert item.extra == {"contract": "A-17", "context": "water"}


def test_a_storys_folder_names_it(content: Path) -> None:
    for name in ("open-day", "new-well"):
        (content / name).mkdir()
        (content / name / "index.en.md").write_text(GOOD, encoding="utf-8")
        (content / name / "index.ru.md").write_text(GOOD.replace("Body", "Текст"), encoding="utf-8")
    (content / "index.en.md").write_text(GOOD, encoding="utf-8")
    names = sorted((item.name, item.language) for item in sweep(content).items)
    assert names == [("index", "en"), ("new-well", "en"), ("new-well", "ru"), ("open-day", "en"), ("open-day", "ru")]


@pytest.mark.parametrize(
    "name",
    [
        "the-hard-copy",
        "win-win-results",
        "data-conflict-2026",
        "climate-conflict",
        "copyright-day",
        "mine-action",
        "sdg 6",
    ],
)
def test_a_title_that_sounds_like_a_copy_is_a_story(name: str) -> None:
    assert not is_copy(f"{name}.en.md", {f"{name}.en.md", "other.en.md"})


@pytest.mark.parametrize("name", ["news.zh-Hant.md", "news.pt-BR.md", "news.sr-Latn-RS.md"])
def test_a_language_with_its_script_or_country_is_no_copy(name: str) -> None:
    """It left the feeds where a file in the plain language was beside it."""
    assert not is_copy(name, {name, "news.zh.md", "news.pt.md", "news.sr.md"})


def test_a_file_becomes_a_copy_once_its_original_is_there(content: Path) -> None:
    """The names of a folder are only checked again when one of them has changed."""
    source = source_of(content.parent)
    (content / "sdg 6.en.md").write_text(GOOD, encoding="utf-8")
    ref = "content/sdg 6.en.md"
    assert "copy" not in [source.list_files().documents[ref] for _ in range(2)]
    (content / "sdg.en.md").write_text(GOOD, encoding="utf-8")
    assert source.list_files().documents[ref] == "copy"


def test_only_changed_folders_are_listed_again(content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle service with 50,000 files spent most of its time on their names."""
    monkeypatch.setattr("tidings.sources.folder.source._RECENT", -(10**12))
    (content / "old").mkdir()
    for path in (content / "a.en.md", content / "old" / "b.en.md"):
        path.write_text(GOOD, encoding="utf-8")
    source = source_of(content.parent)
    first = source.list_files()
    assert source.list_files() is first
    old = source._listed[(content / "old").resolve()]
    (content / "a.en.md").write_text(GOOD + "more", encoding="utf-8")
    second = source.list_files()
    assert second.digest != first.digest and second.documents.keys() == first.documents.keys()
    assert source._listed[(content / "old").resolve()] is old
    (content / "old" / "b.en.md").unlink()
    assert source.list_files().documents.keys() == {"content/a.en.md"}
    monkeypatch.setattr("tidings.sources.folder.source._RECENT", 10**12)
    (content / "a.en.md").write_text(GOOD, encoding="utf-8")
    assert source.list_files().digest == "", "a file that was written just now is read again"


def test_an_address_without_its_scheme_leads_out_of_the_site(content: Path) -> None:
    (content / "a.en.md").write_text("---\ntitle: T\n---\n[UN](www.un.example/a) [us](office@un.example)\n")
    swept = sweep(content)
    assert 'href="https://www.un.example/a"' in swept.items[0].body
    assert 'href="mailto:office@un.example"' in swept.items[0].body
    assert not swept.problems


def test_a_file_with_an_at_sign_is_no_mail_address(content: Path) -> None:
    (content / "photo@2x.pdf").write_bytes(b"%PDF-1.7")
    (content / "a.en.md").write_text("---\ntitle: T\n---\n[Plan](photo@2x.pdf)\n")
    body = sweep(content).items[0].body
    assert "mailto" not in body and "/photo%402x.pdf" in body
