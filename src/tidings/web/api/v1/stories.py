"""`/api/v1/stories`: list, read, write, make ready and withdraw stories.

Stories stay files of the newsroom: a change writes the same Markdown that a person would. Each change names the version
that it replaces, so that no other person's change is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from tidings.model.text import one_line
from tidings.runtime.team import files, stories
from tidings.runtime.team.files import FileChangedError, OpenedFile
from tidings.runtime.team.rights import may_see_schedule
from tidings.runtime.team.stories import StoryForm
from tidings.sources.folder.source import FolderSource
from tidings.store.content import editions
from tidings.store.content.story_list import StoryVersion, find_stories, story_time
from tidings.store.people.team import Role
from tidings.store.service.clock import real_now
from tidings.web.api.v1.access import (
    ApiModel,
    ApiRefusal,
    ApiRoute,
    Caller,
    Cursor,
    Limit,
    Page,
    ReadVersion,
    VersionedModel,
    Who,
    make_cursor,
    read_cursor,
)

Key = Annotated[str, Field(max_length=300)]
Topic = Annotated[str, Field(max_length=100, pattern=r"^[\w-]+$")]
Line = Annotated[str, Field(max_length=2_000)]
State = Literal["", "draft", "waiting", "out", "corrected", "withdrawn"]
Word = Annotated[str, Field(max_length=100)]


class StoryTranslation(ApiModel):
    """A story in one language."""

    language: str
    title: str
    state: Literal["draft", "waiting", "out", "corrected", "withdrawn"]
    url: str
    source: str
    file: str = Field(description="Its file in the newsroom, or its name at its source.")
    published: datetime
    out: datetime | None = Field(description="When it is or was new to schedules.")


class StoryInfo(ApiModel):
    """A story with its translations."""

    story: str
    kind: str
    translations: list[StoryTranslation]


class StoryDetails(StoryInfo):
    """A story, its missing languages, and the editions that used it."""

    missing: list[str] = Field(description="Languages of the site without a translation.")
    editions: list[str]


class StoryFile(VersionedModel):
    """The file of a story in one language."""

    story: str
    language: str
    file: str
    title: str
    summary: str
    kind: str
    published: str
    embargo: str
    expires: str
    starts: str = Field(description="For events: begin, end and place.")
    ends: str
    place: str
    correction: str
    withdrawn: str
    topics: list[str]
    contact: list[str] = Field(description="Who answers the press, each in one line.")
    draft: bool
    lead: bool
    body: str
    problems: list[str] = Field(description="What `tidings check` says about it.")


class StoryFields(ApiModel):
    """Fields of a story. A field that is not named stays as it is."""

    title: Line | None = None
    summary: Line | None = None
    kind: Line | None = None
    published: Line | None = Field(default=None, description="As in the file: 2026-12-01T09:00 in the site's zone.")
    embargo: Line | None = None
    expires: Line | None = None
    starts: Line | None = Field(default=None, description="For events, as in the file.")
    ends: Line | None = None
    place: Line | None = None
    correction: Line | None = Field(default=None, description="What was wrong, for readers who had the story.")
    topics: list[Topic] | None = Field(default=None, max_length=100)
    contact: list[Line] | None = Field(
        default=None, max_length=20, description="Who answers the press, each in one line: name, role, e-mail, phone."
    )
    lead: bool | None = None
    body: str | None = Field(default=None, max_length=1_000_000, description="Markdown or HTML.")
    draft: bool | None = None

    def put_into(self, form: StoryForm) -> StoryForm:
        """Return the editor's form with these fields filled in."""
        given = self.model_dump(exclude_none=True)
        texts = {key: one_line(str(value)) for key, value in given.items() if key in stories.TEXTS}
        others = {key: value for key, value in given.items() if key in ("lead", "body", "draft")}
        topics = form.topics if self.topics is None else tuple(self.topics)
        lines = form.contact if self.contact is None else tuple(filter(None, map(one_line, self.contact)))
        return replace(form, texts=form.texts | texts, topics=topics, contact=lines, **others)


class NewStory(StoryFields):
    """A new story, or the translation of one. It is a draft unless `draft` is false."""

    title: Line
    language: Word
    story: Annotated[str, Field(max_length=200)] = Field(
        default="", description="For a translation: the name of the story."
    )
    draft: bool | None = True


class StoryEdit(StoryFields):
    """A change of a story in one language."""

    version: ReadVersion = ""


class StoryReady(ApiModel):
    """The version of the file that is made ready."""

    version: ReadVersion = ""


class StoryWithdrawal(ApiModel):
    """The reason for taking a story down everywhere. Readers see it."""

    version: ReadVersion = ""
    reason: str = Field(min_length=1, max_length=2_000)


def list_stories(
    caller: Who,
    text: Annotated[str, Field(max_length=200, description="A part of a title.")] = "",
    language: Word = "",
    kind: Word = "",
    state: State = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Page[StoryInfo]:
    """List stories, the newest first. A story is listed if one of its translations matches all filters."""
    now, position = caller.runtime.now(), read_cursor(cursor, str, str)
    after = None
    if position:
        try:
            after = datetime.fromisoformat(position[0]).astimezone(UTC), position[1]
        except (ValueError, OverflowError):
            raise ApiRefusal(422, "this cursor does not belong to this list. Take `next` of the page before.") from None
    with caller.runtime.store.read() as connection:
        found = find_stories(
            connection, now, text=text, language=language, kind=kind, state=state, after=after, most=limit + 1
        )
        shown = found[:limit]
        last = shown[-1][0].story if len(found) > limit else ""
        at = story_time(connection, last) if last else None
    return Page(
        items=[_story(versions, now) for versions in shown],
        next=make_cursor(at.isoformat(), last) if at is not None else None,
    )


def show_story(caller: Who, story: Key) -> StoryDetails:
    """Show a story, its missing languages, and the editions that used it."""
    now = caller.runtime.now()
    with caller.runtime.store.read() as connection:
        found = find_stories(connection, now, story=story)
        used = editions.editions_with_story(connection, story)
    if not found:
        raise _no_story(story)
    have = {version.language for version in found[0]}
    shown = _story(found[0], now)
    return StoryDetails(
        story=shown.story,
        kind=shown.kind,
        translations=shown.translations,
        missing=[language for language in caller.newsroom.site.languages if language not in have],
        editions=[edition.name for edition in used if may_see_schedule(caller, edition.schedule)],
    )


def show_text(caller: Who, story: Key, language: Word) -> StoryFile:
    """Show the file of a story in one language, as the room's editor does."""
    source, opened = open_story(caller, story, language)
    return _describe(source, story, language, opened)


def add_story(caller: Who, fields: NewStory) -> StoryFile:
    """Create a draft, or a translation of a story. The next sweep reads it."""
    folder = next((one for one in caller.runtime.sources.values() if isinstance(one, FolderSource)), None)
    if folder is None:
        raise ApiRefusal(409, "This newsroom has no folder of stories of its own.")
    languages = caller.newsroom.site.languages
    if fields.language not in languages:
        raise ApiRefusal(422, f"language: {fields.language!r} is not a language of the site: {', '.join(languages)}.")
    title, kind = one_line(fields.title), ""
    if not title:
        raise ApiRefusal(422, "title: a story needs a title.")
    if fields.story:
        with caller.runtime.store.read() as connection:
            found = find_stories(connection, caller.runtime.now(), story=fields.story)
        if not found:
            raise _no_story(fields.story)
        kind = found[0][0].kind
    name, text = stories.new_story(folder, title=title, language=fields.language, story=fields.story, kind=kind)
    if files.open_file(caller.runtime.root, name).digest:
        raise ApiRefusal(409, f"there is a file {name} already. Change that one, or choose another title.")
    form = stories.read_story(text)
    assert form is not None
    _save(caller, folder, OpenedFile(name, text, ""), fields.put_into(form), "story.created")
    key = name.rpartition("/")[2].removesuffix(f".{fields.language}.md")
    return _describe(folder, key, fields.language, files.open_file(caller.runtime.root, name))


def edit_story(caller: Who, story: Key, language: Word, edit: StoryEdit) -> StoryFile:
    """Change fields of a story in one language. Nothing else in its file changes."""
    return _change(caller, story, language, edit.version, edit.put_into)


def make_story_ready(caller: Who, story: Key, language: Word, ready: StoryReady) -> StoryFile:
    """Make a draft ready. It is published at its date, and the next edition includes it."""
    return _change(caller, story, language, ready.version, lambda form: replace(form, draft=False))


def withdraw_story(caller: Who, story: Key, language: Word, withdrawal: StoryWithdrawal) -> StoryFile:
    """Take a story down everywhere, in one language. Editions that contain it are held."""
    reason = one_line(withdrawal.reason)

    def withdraw(form: StoryForm) -> StoryForm:
        return replace(form, texts=form.texts | {"withdrawn": reason})

    return _change(caller, story, language, withdrawal.version, withdraw)


def _change(
    caller: Caller, story: str, language: str, version: str, apply: Callable[[StoryForm], StoryForm]
) -> StoryFile:
    source, opened = open_story(caller, story, language)
    caller.check_version(opened.name, opened.digest, version)
    form = stories.read_story(opened.text)
    if form is None:
        raise ApiRefusal(409, f"the front matter of {opened.name} cannot be read. Mend it as text.")
    _save(caller, source, opened, apply(form), "story.saved")
    return _describe(source, story, language, files.open_file(caller.runtime.root, opened.name))


def _save(caller: Caller, source: FolderSource, opened: OpenedFile, form: StoryForm, action: str) -> None:
    """Check the story and save its file. Raises ApiRefusal or RefusedError."""
    try:
        text = stories.write_story(opened.text, form)
    except ValueError as error:
        raise ApiRefusal(422, f"{opened.name}: {error}") from None
    save_story(caller, source, opened, text, action)


def save_story(caller: Caller, source: FolderSource, opened: OpenedFile, text: str, action: str) -> None:
    """Check the text of a story and save its file, if the key may. Raises ApiRefusal or RefusedError."""
    before, after = stories.read_story(opened.text), stories.read_story(text)
    is_public = any(form is not None and not form.draft for form in (before, after))
    if is_public and not caller.may(Role.EDITOR):
        raise ApiRefusal(403, _ONLY_EDITORS)
    item, problems = stories.check_story(source, opened.name, text)
    if item is None:
        wrong = "; ".join(str(found) for found in problems if found.level == "error")
        raise ApiRefusal(422, f"it was not saved: {wrong}")
    if text != opened.text or not opened.digest:
        save_file(caller, opened, text, action)


def save_file(caller: Caller, opened: OpenedFile, text: str, action: str) -> None:
    """Save a file of the newsroom in the key's name and log it. Raises ApiRefusal or RefusedError."""
    who = caller.person.email
    try:
        files.save_file(caller.runtime.root, opened.name, text, opened=opened.digest, who=who, now=real_now())
    except FileChangedError as error:
        raise ApiRefusal(412 if opened.digest else 409, str(error)) from None
    with caller.runtime.store.write() as connection:
        caller.record(connection, action, opened.name)


def _story(versions: list[StoryVersion], now: datetime) -> StoryInfo:
    return StoryInfo(
        story=versions[0].story,
        kind=versions[0].kind,
        translations=[
            StoryTranslation.model_validate(
                {
                    "language": version.language,
                    "title": version.title,
                    "state": version.state(now),
                    "url": version.url,
                    "source": version.source,
                    "file": version.ref,
                    "published": version.published,
                    "out": version.out_at,
                }
            )
            for version in versions
        ],
    )


def open_story(caller: Caller, story: str, language: str) -> tuple[FolderSource, OpenedFile]:
    """Open the file of a story. A new file that no sweep has read yet is found by its name."""
    with caller.runtime.store.read() as connection:
        found = find_stories(connection, caller.runtime.now(), story=story)
    names = [version.ref for version in (found[0] if found else ()) if version.language == language]
    folders = [source for source in caller.runtime.sources.values() if isinstance(source, FolderSource)]
    names += [f"{source.settings.path.strip('/')}/{story}.{language}.md" for source in folders]
    for name in names:
        source = stories.find_source(caller.runtime, name)
        if source is None:
            continue
        opened = files.open_file(caller.runtime.root, name)
        if opened.digest:
            return source, opened
    raise ApiRefusal(404, f"there is no file of the story {story!r} in {language!r} in the folder of this newsroom.")


def _describe(source: FolderSource, story: str, language: str, opened: OpenedFile) -> StoryFile:
    form = stories.read_story(opened.text)
    if form is None:
        raise ApiRefusal(409, f"the front matter of {opened.name} cannot be read. Mend it as text.")
    _, problems = stories.check_story(source, opened.name, opened.text)
    return StoryFile(
        story=story,
        language=language,
        file=opened.name,
        version=opened.digest,
        **{key: form.texts[key] for key in stories.TEXTS},
        topics=list(form.topics),
        contact=list(form.contact),
        draft=form.draft,
        lead=form.lead,
        body=form.body,
        problems=[str(found) for found in problems],
    )


def _no_story(story: str) -> ApiRefusal:
    return ApiRefusal(404, f"there is no story {story!r}. Its name is that of its file without language and `.md`.")


_ONLY_EDITORS = "only an editor changes a story that is ready, or makes one ready. Keep it a draft."
_TEXT = "/stories/{story}/{language}"
ROUTES = (
    ApiRoute("POST", "/stories", "POST stories/new", add_story, 201),
    ApiRoute("PATCH", _TEXT, "POST stories/edit", edit_story, is_versioned=True),
    # In the room these are fields of the editor's form, which only an editor may set.
    ApiRoute("POST", f"{_TEXT}/ready", Role.EDITOR, make_story_ready, is_versioned=True),
    ApiRoute("POST", f"{_TEXT}/withdraw", Role.EDITOR, withdraw_story, is_versioned=True),
    ApiRoute("GET", "/stories", "GET stories", list_stories),
    ApiRoute("GET", "/stories/{story}", "GET stories/{story}", show_story),
    ApiRoute("GET", _TEXT, "GET stories/edit", show_text),
)
