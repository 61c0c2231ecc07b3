"""A story is written, checked, made ready, corrected and restored in the room, and no text is lost."""

from __future__ import annotations

import html
import re

from tests.fixtures.newsroom import HOUR
from tests.web.room.conftest import BEFORE, Browser, RoomSite

FILE = "content/one.en.md"


def form_fields(page: str) -> dict[str, str]:
    """Return the fields that the editor's form would send unchanged."""
    fields = {
        name: html.unescape(value)
        for name, value in re.findall(
            r'<input (?:type="hidden"|class="[^"]*" id="[^"]*") name="([\w.]+)"[^>]*? value="([^"]*)"', page
        )
    }
    for name, value in re.findall(r'<textarea[^>]* name="(\w+)"[^>]*>(.*?)</textarea>', page, re.DOTALL):
        fields[name] = html.unescape(value)
    checked = re.search(r'name="state" value="(\w+)" checked', page)
    return fields | ({"state": checked[1]} if checked else {}) | {"do": "save"}


def edit_story(browser: Browser, name: str = FILE, **changes: str) -> tuple[int, str]:
    """Change fields of a story's form and press a button. Returns the status and the page after it."""
    fields = form_fields(browser.get("stories/edit", file=name).text) | changes
    del fields["csrf"]
    answer = browser.post("stories/edit", **fields)
    return answer.status_code, answer.text


def read_story_file(room: RoomSite, name: str = FILE) -> str:
    """Return the text of a story's file."""
    return (room.newsroom.folder.root / name).read_text(encoding="utf-8")


def test_an_unchanged_form_changes_no_byte(room: RoomSite) -> None:
    room.newsroom.folder.write(
        FILE, "---\n# ours\ntitle: A: b  \ntopics:\n- water # blue\n- own\n\nlead: yes\n---\n\n\nText.\n\n"
    )
    before = read_story_file(room)
    status, page = edit_story(room.browser("editor"), topic="water", lead="1")
    assert status == 200 and "Nothing was changed." in page
    assert read_story_file(room) == before


def test_only_the_changed_lines_of_a_file_change(room: RoomSite) -> None:
    room.newsroom.folder.write(
        FILE,
        "---\n# ours\nkind: story  # the kind\ntitle: Old\n  title\n"
        "published: 2026-03-01 # Sunday\nown: x\n---\nText.\n",
    )
    status, _ = edit_story(
        room.browser("editor"),
        title='"New": a #title',
        published="2026-02-28",
        correction='66: not "60"',
        contact="Ada, ada@un.example\r\nDesk, +7 727 000 00 00\r\n",
        body="More.\r\n",
    )
    assert status == 200
    assert read_story_file(room) == (
        '---\n# ours\nkind: story  # the kind\ntitle: "New": a #title\npublished: 2026-02-28 # Sunday\nown: x\n'
        'correction: "66: not \\"60\\""\ncontact: ["Ada, ada@un.example", "Desk, +7 727 000 00 00"]\n---\nMore.\n'
    )
    room.newsroom.tick(BEFORE + HOUR / 2)
    page = room.browser("viewer").get("stories/one").text
    assert "Correction: 66: not &#34;60&#34;" in page


def test_the_difference_is_shown_before_it_is_saved(room: RoomSite) -> None:
    before = read_story_file(room)
    status, page = edit_story(room.browser("editor"), title="Another", do="check")
    assert status == 200 and "<ins>title: Another</ins>" in page
    assert read_story_file(room) == before


def test_a_story_with_an_error_is_not_saved(room: RoomSite) -> None:
    before = read_story_file(room)
    status, page = edit_story(room.browser("editor"), published="tomorrow")
    assert status == 422 and "It was not saved" in page and "2023-09-27T10:00" in page
    assert 'value="tomorrow"' in page, "what was written is still in the form"
    assert read_story_file(room) == before
    russian = room.browser("editor")
    russian.client.headers["Accept-Language"] = "ru"
    _, page = edit_story(russian, published="tomorrow")
    field = page[page.index('id="published"') :][:500]
    assert 'aria-invalid="true"' in field and 'id="published-error"' in field
    assert "&#39;tomorrow&#39; – это не дата" in field and "напишите так: 2023-09-27 или 2023-09-27T10:00" in field


def test_two_editors_of_one_story_lose_nothing(room: RoomSite) -> None:
    ann, ben = room.browser("editor"), room.browser("admin")
    theirs = form_fields(ben.get("stories/edit", file=FILE).text)
    assert edit_story(ann, summary="By Ann")[0] == 200
    del theirs["csrf"]
    answer = ben.post("stories/edit", **theirs | {"summary": "By Ben"})
    assert answer.status_code == 409 and "Somebody else changed this story" in answer.text
    assert "summary: By Ann" in read_story_file(room)
    twice = ben.post("stories/edit", **theirs | {"summary": "By Ann"})
    assert twice.status_code == 200 and "Saved." in twice.text, "the same again, as by a second press of Save"
    assert "<del>summary: By Ann</del><ins>summary: By Ben</ins>" in answer.text.replace("\n", "")
    again = form_fields(answer.text)
    del again["csrf"]
    assert ben.post("stories/edit", **again).status_code == 200
    assert "summary: By Ben" in read_story_file(room)


def test_a_former_version_is_brought_back(room: RoomSite) -> None:
    editor, before = room.browser("editor"), read_story_file(room)
    _, page = edit_story(editor, title="Wrong")
    version = re.search(r'stories/version\?file=[^"]*?version=([^"]+)"', page)
    assert version is not None
    shown = editor.get("stories/version", file=FILE, version=version[1].replace("%20", " ")).text
    assert "<del>title: Wrong</del>" in shown
    opened = form_fields(shown)["opened"]
    answer = editor.post("stories/restore", file=FILE, version=version[1], opened=opened)
    assert "The earlier version is back" in answer.text
    assert read_story_file(room) == before
    assert [entry.action for entry in room.log()] == ["story.restored", "story.saved"]


def test_a_writer_drafts_and_an_editor_makes_it_ready(room: RoomSite) -> None:
    writer, editor = room.browser("writer"), room.browser("editor")
    page = writer.post("stories/new", title="A new bridge", language="en").text
    assert "Draft: only the team sees it" in page
    name = "content/a-new-bridge.en.md"
    assert edit_story(writer, name, body="It stands.")[0] == 200
    status, page = edit_story(writer, name, state="ready")
    assert status == 403 and "Only an editor" in page
    assert edit_story(writer, FILE, title="Mine")[0] == 403
    assert edit_story(editor, name, state="ready")[0] == 200
    assert read_story_file(room, name) == "---\ntitle: A new bridge\n---\nIt stands.\n"
    assert writer.post("stories/new", title="A new bridge", language="en").status_code == 409


def test_a_missing_translation_is_begun_from_the_story(room: RoomSite) -> None:
    writer = room.browser("writer")
    page = writer.get("stories/one").text
    assert "stories/new?story=one&amp;language=kk" in page
    writer.post("stories/new", story="one", language="kk", title="Құдық")
    assert writer.post("stories/new", story="none", language="kk", title="x").status_code == 404
    writer.post("stories/new", title="Fresh", language="en")
    assert "Saved." not in writer.post("stories/new", story="fresh", language="ru", title="Свежее").text
    assert read_story_file(room, "content/fresh.ru.md").startswith("---\ntitle: Свежее\n"), "before any tick"
    assert read_story_file(room, "content/one.kk.md").startswith("---\ntitle: Құдық\nkind: story\ndraft: true\n---\n")


def test_a_file_that_was_set_aside_is_mended_as_text(room: RoomSite) -> None:
    room.newsroom.folder.write("content/broken.en.md", "---\ntitle: A\npublished: never\n---\nText\n")
    room.newsroom.tick(BEFORE + HOUR / 2)
    editor = room.browser("editor")
    assert "content/broken.en.md" in editor.get("stories").text
    text = "---\ntitle: A\n---\nText\n"
    page = editor.get("stories/edit", file="content/broken.en.md")
    fields = {"file": "content/broken.en.md", "as": "text", "text": text, "do": "save"}
    answer = editor.post("stories/edit", opened=form_fields(page.text)["opened"], **fields)
    assert answer.status_code == 200 and read_story_file(room, "content/broken.en.md") == text


def test_the_editor_opens_stories_only(room: RoomSite) -> None:
    admin = room.browser("admin")
    for name in ("tidings.yaml", "content/../keys.json", "content/a.txt", "/etc/passwd", "content/no.md"):
        assert admin.get("stories/edit", file=name).status_code == 404, name


def test_stories_are_found_by_title_state_and_language(room: RoomSite) -> None:
    room.newsroom.item("two", title="Second", draft="true")
    room.newsroom.tick(BEFORE + HOUR / 2)
    viewer = room.browser("viewer")
    assert "Second" in viewer.get("stories").text and "колодец" not in viewer.get("stories", text="Second").text.lower()
    assert "stories/one" in viewer.get("stories", text="колодец").text
    assert "stories/one" not in viewer.get("stories", state="draft").text
    assert "stories/two" not in viewer.get("stories", language="ru").text
    assert "No story fits" in viewer.get("stories", kind="video").text
