"""`/api/v1/stories`: list and read stories."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from tidings.runtime.team import files, stories
from tidings.runtime.team.files import OpenedFile
from tidings.sources.folder.source import FolderSource
from tidings.store.content import editions
from tidings.store.content.items import StoryVersion, find_stories, story_time
from tidings.web.api.v1.access import (
    ApiModel,
    ApiRefusal,
    ApiRoute,
    Caller,
    Cursor,
    Limit,
    Page,
    Who,
    make_cursor,
    read_cursor,
)
from tidings.web.room.today import may_see_schedule

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
    """A story, what it lacks, and where it was used."""

    missing: list[str] = Field(description="Languages of the site without a translation.")
    editions: list[str]


class StoryFile(ApiModel):
    """The file of a story in one language."""

    story: str
    language: str
    file: str
    version: str = Field(description="Send it back with a change, so that nothing of others is lost.")
    title: str
    summary: str
    kind: str
    published: str
    embargo: str
    expires: str
    correction: str
    withdrawn: str
    topics: list[str]
    draft: bool
    lead: bool
    body: str
    problems: list[str] = Field(description="What `tidings check` says about it.")


def list_stories(
    caller: Who,
    text: Annotated[str, Field(max_length=200, description="A part of a title.")] = "",
    language: Word = "",
    kind: Word = "",
    state: State = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Page[StoryInfo]:
    """List stories, the newest first. A story is found if one of its translations fits all filters."""
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


def show_story(caller: Who, story: Annotated[str, Field(max_length=300)]) -> StoryDetails:
    """Show a story, the languages that it lacks, and the editions that it was in."""
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


def show_text(caller: Who, story: Annotated[str, Field(max_length=300)], language: Word) -> StoryFile:
    """Show the file of a story in one language, as the room's editor does."""
    source, opened = _open(caller, story, language)
    return _describe(source, story, language, opened)


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


def _open(caller: Caller, story: str, language: str) -> tuple[FolderSource, OpenedFile]:
    """Open the file of a story. One that was just written is found by its name, before the next sweep reads it."""
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
        raise ApiRefusal(409, f"the front matter of {opened.name} cannot be read. Mend it in the room, as text.")
    _, problems = stories.check_story(source, opened.name, opened.text)
    return StoryFile(
        story=story,
        language=language,
        file=opened.name,
        version=opened.digest,
        **{key: form.texts[key] for key in stories.TEXTS},
        topics=list(form.topics),
        draft=form.draft,
        lead=form.lead,
        body=form.body,
        problems=[str(found) for found in problems],
    )


def _no_story(story: str) -> ApiRefusal:
    return ApiRefusal(404, f"there is no story {story!r}. Its name is that of its file, without language and ending.")


ROUTES = (
    ApiRoute("GET", "/stories", "GET stories", list_stories),
    ApiRoute("GET", "/stories/{story}", "GET stories/{story}", show_story),
    ApiRoute("GET", "/stories/{story}/{language}", "GET stories/edit", show_text),
)
