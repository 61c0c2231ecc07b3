"""The screens "Stories": the list with filters, one story with its translations, the editor, and former versions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from tidings.model.errors import InputError, Problem, RefusedError
from tidings.model.text import one_line
from tidings.render.i18n import KINDS, kind_label
from tidings.render.room.room_pages import SCRIPT, RoomWords
from tidings.runtime.team import files, stories, story_pictures
from tidings.runtime.team.files import FileChangedError, OpenedFile
from tidings.runtime.team.paste import html_to_markdown
from tidings.runtime.team.story_pictures import StoryPicture
from tidings.sources.base import SourceItem
from tidings.sources.folder.source import FolderSource
from tidings.store.content import editions
from tidings.store.content.items import load_refused
from tidings.store.content.story_list import StoryVersion, find_stories, list_kinds
from tidings.store.people import team
from tidings.store.people.team import Role
from tidings.web.room import file_screens, preview_screens
from tidings.web.room.edition_screen import edition_states
from tidings.web.room.team_screens import action_texts
from tidings.web.room.today import schedule_title
from tidings.web.room.visit import HEADERS, Visit

LARGEST_STORY = 2_000_000
"""Largest form of the editor, in bytes. The form encodes each byte of a non-ASCII letter as three bytes."""
_MOST_PICTURES = 50
"""A picture after these is not looked for when one is replaced: the new one comes at the end."""
_PAGE = 40


def story_states(words: RoomWords) -> dict[str, str]:
    """Return the names of a story's states."""
    return {
        "draft": words.gettext("draft"),
        "waiting": words.gettext("waits for its time"),
        "out": words.gettext("published"),
        "corrected": words.gettext("corrected"),
        "withdrawn": words.gettext("withdrawn"),
    }


def show_list(visit: Visit) -> Response:
    """Show the stories that match the filters, in pages, and the files that could not be read."""
    query, newsroom, now = visit.query, visit.newsroom, visit.runtime.now()
    states = story_states(visit.words)
    chosen = {name: query.get(name, "")[:100] for name in ("text", "language", "kind", "state")}
    page = query.get("page", "0")
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 0
    with visit.runtime.store.read() as connection:
        found = find_stories(connection, now, offset=number * _PAGE, after=None, most=_PAGE + 1, **chosen)
        kinds = list_kinds(connection)
        refused = load_refused(connection) if number == 0 else []
    return visit.page(
        "stories.html.j2",
        visit.words.gettext("Stories"),
        stories=[_row(visit, versions, states) for versions in found[:_PAGE]],
        has_more=len(found) > _PAGE,
        page_number=number,
        chosen=chosen,
        filters="&".join(f"{key}={quote(value)}" for key, value in chosen.items() if value),
        languages=newsroom.site.languages,
        kinds=[(kind, kind_label(kind, visit.language, 1)) for kind in kinds],
        states=states,
        refused=[
            {"item": item, "edit": stories.find_source(visit.runtime, item.ref) is not None, "ref": quote(item.ref)}
            for item in refused
        ],
    )


def _row(visit: Visit, versions: list[StoryVersion], states: dict[str, str]) -> dict[str, Any]:
    now = visit.runtime.now()
    by_language = {version.language: version for version in versions}
    order = (visit.language, *visit.newsroom.site.languages, *by_language)
    first = next(by_language[language] for language in order if language in by_language)
    return {
        "key": first.story,
        "path": quote(first.story, safe=""),
        "title": first.title,
        "kind": kind_label(first.kind, visit.language, 1),
        "at": first.out_at or first.published,
        "versions": [
            {"language": version.language, "state": version.state(now), "name": states[version.state(now)]}
            for version in versions
        ],
    }


def show_story(visit: Visit) -> Response:
    """Show one story: its state in each language, missing parts, and the editions that used it."""
    story, now, newsroom = visit.params["story"], visit.runtime.now(), visit.newsroom
    with visit.runtime.store.read() as connection:
        found = find_stories(connection, now, story=story)
        used = editions.editions_with_story(connection, story)
        about = [version.ref for versions in found for version in versions]
        entries = team.log_entries(connection, kinds=["story"], about=about) if about else []
    if not found:
        return visit.not_found()
    states, names = story_states(visit.words), edition_states(visit.words)
    versions = found[0]
    row = _row(visit, versions, states)
    have = {version.language for version in versions}
    actions, languages = action_texts(visit.words), {version.ref: version.language for version in versions}
    return visit.page(
        "story.html.j2",
        row["title"],
        script=SCRIPT,
        story=row,
        versions=[
            {
                "version": version,
                "state": states[version.state(now)],
                "page": visit.local(version.url),
                "is_out": version.state(now) in ("out", "corrected"),
                "edit": quote(version.ref) if stories.find_source(visit.runtime, version.ref) else "",
                "waits": version.state(now) == "waiting",
                "gaps": preview_screens.describe_gaps(visit, version.ref)
                if stories.find_source(visit.runtime, version.ref)
                else [],
            }
            for version in versions
        ],
        missing=[language for language in newsroom.site.languages if language not in have],
        now=now,
        entries=[(entry, actions.get(entry.action, entry.action), languages.get(entry.about, "")) for entry in entries],
        editions=[
            {
                "title": f"{schedule_title(visit, edition.schedule)} {edition.number}",
                "path": f"editions/{edition.name}",
                "state": names[edition.state],
                "at": edition.starts,
            }
            for edition in used
        ],
    )


# -- the editor -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Editing:
    """A file in the editor, with the member's unsaved changes."""

    opened: OpenedFile
    source: FolderSource
    text: str
    form: stories.StoryForm | None
    is_whole: bool
    changed_pictures: str = ""
    """The story's own pictures, if they were changed and are not saved yet."""
    said: str = ""


def show_editor(visit: Visit) -> Response:
    """Show the editor of one file: as fields, or the whole file as text."""
    editing = _open(visit, visit.query.get("file", ""))
    if isinstance(editing, Response):
        return editing
    editing.is_whole = editing.form is None or visit.query.get("as") == "text"
    return _editor_page(visit, editing)


def submit_editor(visit: Visit) -> Response:
    """Check the story and show the difference, or save it, depending on the button's `do`."""
    words = visit.words
    editing = _open(visit, visit.field("file", 300))
    if isinstance(editing, Response):
        return editing
    editing.is_whole = visit.field("as") == "text" or editing.form is None
    wrong = _take_form(visit, editing)
    opened = visit.field("opened", 64)
    refused = _refuse_writer(visit, editing)
    if "picture" in visit.files and not wrong and not refused:
        wrong = _take_picture(visit, editing)
    item, problems = stories.check_story(editing.source, editing.opened.name, editing.text)
    if wrong:
        return _editor_page(visit, editing, problems, wrong=wrong, status=422, is_checked=True)
    if visit.field("do") == "preview":
        return _editor_page(visit, editing, problems, previewed=item)
    if opened != editing.opened.digest and visit.field("do") == "save" and editing.text == editing.opened.text:
        # A second press of Save, before the first was answered.
        return visit.redirect(f"stories/edit?file={quote(editing.opened.name)}", "saved")
    if opened != editing.opened.digest:
        text = words.gettext("Somebody else changed this story meanwhile. Below is how yours differs from theirs.")
        return _editor_page(visit, editing, problems, wrong=text, status=409, is_checked=True)
    if refused:
        return _editor_page(visit, editing, problems, wrong=refused, status=403, is_checked=True)
    if visit.field("do") == "picture":
        return _editor_page(visit, editing, problems)
    if visit.field("do") != "save" or item is None:
        has_error = item is None and visit.field("do") == "save"
        text = words.gettext("It was not saved. Correct the errors below.") if has_error else ""
        return _editor_page(visit, editing, problems, wrong=text, status=422 if has_error else 200, is_checked=True)
    if editing.text == editing.opened.text:
        return visit.redirect(f"stories/edit?file={quote(editing.opened.name)}", "unchanged")
    try:
        before, after = stories.read_story(editing.opened.text), stories.read_story(editing.text)
        action = stories.describe_change(before, after)
        file_screens.save_file(visit, editing.opened.name, editing.text, opened, action)
    except FileChangedError:
        again = _open(visit, editing.opened.name)
        if isinstance(again, Response):
            return again
        editing.opened = again.opened
        text = words.gettext("Somebody else changed this story meanwhile. Below is how yours differs from theirs.")
        return _editor_page(visit, editing, problems, wrong=text, status=409, is_checked=True)
    except RefusedError as error:
        return _editor_page(visit, editing, problems, wrong=str(error), status=409, is_checked=True)
    is_draft = editing.form is not None and editing.form.draft
    said = {"story.corrected": "corrected", "story.withdrawn": "withdrawn", "story.ready": "ready"}.get(action, "saved")
    if said == "corrected" and stories.is_text_unchanged(before, after):
        said = "corrected_only"
    said = "saved_draft" if said == "saved" and is_draft else said
    return visit.redirect(f"stories/edit?file={quote(editing.opened.name)}", said)


def show_new(visit: Visit) -> Response:
    """Show the form for a new story or translation."""
    return _new_page(visit)


def _new_page(visit: Visit, wrong: str = "", status: int = 200) -> Response:
    query, site = visit.query, visit.newsroom.site
    story = (visit.field("story") or query.get("story", ""))[:200]
    language = visit.field("language") or query.get("language", "") or site.languages[0]
    return visit.page(
        "story_new.html.j2",
        visit.words.gettext("New story"),
        status,
        wrong=wrong,
        story=story,
        language=language,
        new_title=visit.field("title"),
        languages=site.languages,
    )


def submit_new(visit: Visit) -> Response:
    """Create the file of a new draft and open it in the editor."""
    words, runtime = visit.words, visit.runtime
    title, language, story = visit.field("title", 300), visit.field("language"), visit.field("story", 200)
    source = next((one for one in runtime.sources.values() if isinstance(one, FolderSource)), None)
    if source is None:
        return _new_page(visit, words.gettext("This newsroom has no folder of stories of its own."), 409)
    if not title or language not in visit.newsroom.site.languages:
        return _new_page(visit, words.gettext("Write a title and choose a language."), 422)
    kind = ""
    if story:
        with runtime.store.read() as connection:
            found = find_stories(connection, runtime.now(), story=story)
        # The store does not have a draft that was created a moment ago.
        written = stories.find_story_file(runtime, source, story)
        if not found and written is None:
            return visit.not_found()
        kind = found[0][0].kind if found else written.texts["kind"] if written is not None else ""
    name, text = stories.new_story(source, title=title, language=language, story=story, kind=kind)
    try:
        file_screens.save_file(visit, name, text, "", "story.created")
    except FileChangedError:
        return _new_page(visit, words.gettext("There is a story of this name already. Choose another title."), 409)
    except RefusedError as error:
        return _new_page(visit, str(error), 409)
    return visit.redirect(f"stories/edit?file={quote(name)}", "added")


def show_version(visit: Visit) -> Response:
    """Show how a former version differs from the present one."""
    editing = _open(visit, visit.query.get("file", ""))
    if isinstance(editing, Response):
        return editing
    return file_screens.show_former(visit, editing.opened, "stories", may_restore=visit.may(Role.EDITOR))


def restore_version(visit: Visit) -> Response:
    """Restore a former version. The present one becomes a former version."""
    editing = _open(visit, visit.field("file", 300))
    if isinstance(editing, Response):
        return editing
    name = editing.opened.name
    former = files.read_version(visit.runtime.root, name, visit.field("version", 80))
    if former is None:
        return visit.not_found()
    return file_screens.restore_former(visit, name, former, "stories", "story.restored")


def _open(visit: Visit, name: str) -> _Editing | Response:
    source = stories.find_source(visit.runtime, name)
    if source is None:
        return visit.not_found()
    opened = file_screens.open_file(visit, name)
    if isinstance(opened, Response):
        return opened
    if not opened.digest:
        return visit.not_found()
    return _Editing(opened, source, opened.text, stories.read_story(opened.text), False)


def _take_form(visit: Visit, editing: _Editing) -> str:
    """Put the values of the form into `editing`. Returns an error message, or nothing."""
    raw = visit.fields
    if editing.is_whole:
        text = raw.get("text", [""])[0]
        has_crlf = "\r\n" in editing.opened.text
        editing.text = text if has_crlf else text.replace("\r\n", "\n")
        editing.form = stories.read_story(editing.text)
        return ""
    before = editing.form
    assert before is not None
    known = visit.newsroom.topics
    others = tuple(topic for topic in before.topics if topic not in known)
    form = stories.StoryForm(
        texts={key: visit.field(key, LARGEST_STORY) if key in raw else before.texts[key] for key in stories.TEXTS},
        topics=(*(topic for topic in known if topic in raw.get("topic", [])), *others),
        contact=tuple(filter(None, map(one_line, visit.field("contact", LARGEST_STORY).splitlines()))),
        draft=visit.field("state") != "ready",
        lead=bool(visit.field("lead")),
        body=raw.get("body", [""])[0],
    )
    if set(form.topics) == set(before.topics):
        form.topics = before.topics
    try:
        editing.text = stories.write_story(editing.opened.text, form)
        if pictures := visit.field("pictures", LARGEST_STORY):  # they were changed, and the text is not saved yet
            editing.text = story_pictures.set_pictures(editing.text, pictures)
            editing.changed_pictures = pictures
        described = _describe_pictures(visit, editing.text)
        if described != editing.text:
            editing.text = described
            editing.changed_pictures = story_pictures.read_pictures(described) or "[]"
    except ValueError as error:
        return str(error)
    finally:
        editing.form = form
    return ""


def _describe_pictures(visit: Visit, text: str) -> str:
    """Return the text with the words of the form for the story's own pictures, without those that are taken out."""
    pictures = _list_pictures(text)
    for number in reversed(range(sum(not picture.in_text for picture in pictures))):
        picture, prefix = pictures[number], f"picture.{number}."
        if visit.field(f"{prefix}src", LARGEST_STORY) != picture.src:
            continue  # the form showed another one here
        alt, credit = (visit.field(f"{prefix}{key}", LARGEST_STORY) for key in ("alt", "credit"))
        words = replace(picture, alt=alt, credit=credit)
        if visit.field(f"{prefix}drop"):
            text = story_pictures.replace_picture(text, number, None)
        elif words != picture:
            text = story_pictures.replace_picture(text, number, words)
    return text


def _take_picture(visit: Visit, editing: _Editing) -> str:
    """Write the uploaded picture beside the story and add it to the text. Returns an error message, or nothing."""
    words, upload, alt = visit.words, visit.files["picture"], visit.field("alt", LARGEST_STORY)
    # It comes in place of the one that is taken out at the same time.
    place = next((at for at in range(_MOST_PICTURES) if visit.field(f"picture.{at}.drop")), None)
    if not alt:
        return words.gettext("Say in words what the picture shows. Then choose the picture again.")
    try:
        path = story_pictures.add_picture(visit.runtime, editing.source, upload.name, upload.data, visit.person.email)
        editing.text = story_pictures.place_picture(
            editing.text, path, alt, visit.field("credit", LARGEST_STORY), place
        )
    except (InputError, RefusedError, ValueError) as error:
        return str(error)
    editing.form = stories.read_story(editing.text)
    editing.changed_pictures = story_pictures.read_pictures(editing.text)
    editing.said = visit.words.gettext("The picture belongs to the story now. Save the story to keep it.")
    with visit.runtime.store.write() as connection:
        visit.record(connection, "story.picture", editing.opened.name, path)
    return ""


def show_thumbnail(visit: Visit) -> Response:
    """Return a picture of a story, small. It may be new, so that the story on the disk does not name it yet."""
    name, source = visit.query.get("file", ""), stories.find_source(visit.runtime, visit.query.get("file", ""))
    src = visit.query.get("picture", "")[:2_000]
    data = story_pictures.make_thumbnail(visit.runtime, source, name, src) if source is not None else None
    if data is None:
        return visit.not_found()
    headers = HEADERS | {"Cache-Control": "private, max-age=600"}
    return Response(data, headers=headers, media_type="image/jpeg")


def _list_pictures(text: str) -> list[StoryPicture]:
    """Return the pictures of a story, its own ones first; none if the form cannot change them."""
    try:
        return story_pictures.list_pictures(text)
    except ValueError:
        return []


def paste(visit: Visit) -> Response:
    """Convert HTML of the clipboard to Markdown, for the editor's script."""
    text = html_to_markdown(visit.fields.get("html", [""])[0])
    return Response(text, headers=HEADERS, media_type="text/plain; charset=utf-8")


def _refuse_writer(visit: Visit, editing: _Editing) -> str:
    """Return the reason why a writer may not save this: only an editor may publish, or change published stories."""
    before, after = stories.read_story(editing.opened.text), stories.read_story(editing.text)
    was_public = before is not None and not before.draft
    if visit.may(Role.EDITOR) or (not was_public and (after is None or after.draft)):
        return ""
    return visit.words.gettext("Only an editor changes a story that is ready, or makes one ready. Keep it a draft.")


def _editor_page(
    visit: Visit,
    editing: _Editing,
    problems: list[Problem] | None = None,
    *,
    wrong: str = "",
    status: int = 200,
    is_checked: bool = False,
    previewed: SourceItem | None = None,
) -> Response:
    name, now = editing.opened.name, visit.runtime.now()
    item, found = stories.check_story(editing.source, name, editing.text)
    problems = found if problems is None else problems
    form = editing.form
    starts = [moment for moment in (item.published, item.embargo) if moment is not None] if item is not None else []
    others = tuple(topic for topic in form.topics if topic not in visit.newsroom.topics) if form else ()
    default = visit.newsroom.site.languages[0]
    language = name.removesuffix(".md").rpartition(".")[2]
    wrong_fields = {stories.find_field(editing.text, each): each for each in problems if each.level == "error"}
    with visit.runtime.store.read() as connection:
        kinds = dict.fromkeys([*KINDS, *list_kinds(connection), *filter(None, [form.texts["kind"] if form else ""])])
    return visit.page(
        "story_edit.html.j2",
        (form.texts.get("title") if form else "") or name,
        status,
        wrong=wrong,
        script=SCRIPT,
        name=name,
        file=quote(name),
        opened=editing.opened.digest,
        text=editing.text,
        errors=wrong_fields,
        kinds=sorted(((kind, kind_label(kind, visit.language, 1)) for kind in kinds), key=lambda each: each[1]),
        form=form,
        is_whole=editing.is_whole,
        problems=problems,
        difference=files.difference(editing.opened.text, editing.text) if is_checked else [],
        is_checked=is_checked,
        is_unsaved=editing.text != editing.opened.text,
        language=language if language in visit.newsroom.site.languages else default,
        topics=[
            {"key": key, "label": label.get(visit.language, default), "chosen": form is not None and key in form.topics}
            for key, label in visit.newsroom.topics.items()
        ],
        other_topics=others,
        versions=files.list_versions(visit.runtime.root, name)[:20],
        changed_pictures=editing.changed_pictures,
        picture_said=editing.said,
        pictures=_list_pictures(editing.text),
        alt=visit.field("alt", LARGEST_STORY) if wrong else "",
        credit=visit.field("credit", LARGEST_STORY) if wrong else "",
        comes_out=max(starts) if starts and max(starts) > now else None,
        is_embargo=item is not None and item.embargo is not None and item.embargo > now,
        now=now,
        preview=preview_screens.make_preview(visit, previewed) if previewed is not None else None,
        translations=preview_screens.show_translations(
            visit, name, form, visit.query.get("beside", "") or visit.field("beside")
        )
        if form is not None
        else None,
        site_language=visit.language,
    )
