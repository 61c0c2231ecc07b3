"""`/api/v1/stories/.../text`, `/versions` and `/pictures`: a story's file, its former versions, and its pictures."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated

from pydantic import Field

from tidings.runtime.team import files, stories, story_pictures
from tidings.runtime.team.files import OpenedFile
from tidings.runtime.team.story_pictures import StoryPicture
from tidings.store.people.team import Role
from tidings.web.api.v1.access import ApiModel, ApiRefusal, ApiRoute, Caller, ReadVersion, VersionedModel, Who
from tidings.web.api.v1.stories import Key, Word, open_story, save_file, save_story

_ONLY_EDITORS = "only an editor adds pictures to a story that is ready. Make it a draft first."
Former = Annotated[str, Field(max_length=80, description="`id` of a former version.")]
PictureNumber = Annotated[int, Field(ge=1, lt=1_000, description="`number` of the picture.")]
Credit = Annotated[str, Field(max_length=300)]
Alt = Annotated[str, Field(min_length=1, max_length=1_000, description="What the picture shows, in words.")]


class FileText(VersionedModel):
    """A file of the newsroom as text."""

    file: str
    text: str


class FileEdit(ApiModel):
    """A new text for a file."""

    version: ReadVersion = ""
    text: str = Field(max_length=2_000_000)


class FormerVersion(ApiModel):
    """A version of a file that is kept."""

    id: str
    at: datetime
    who: str = Field(description="Who replaced this version, or wrote it if the folder is a git repository.")


class FormerText(ApiModel):
    """The text of a former version."""

    file: str
    id: str
    text: str
    difference: str = Field(description="What would change if it is restored, in lines with `+`, `-` or a space.")


class FileRestore(ApiModel):
    """The present version of the file, which is replaced by a former one."""

    version: ReadVersion = ""


class PictureInfo(ApiModel):
    """A picture of a story."""

    number: int
    src: str = Field(description="Its path beside the story, or its address.")
    alt: str
    credit: str
    in_text: bool = Field(description="Whether it is in the text. Otherwise it is the story's own picture.")


class StoryPictures(VersionedModel):
    """The pictures of a story in one language, in order. The version is that of its file."""

    file: str
    pictures: list[PictureInfo]


class NewPicture(ApiModel):
    """A picture for a story. It is made smaller, and its metadata (place, camera, time) is removed."""

    version: ReadVersion = ""
    name: str = Field(min_length=1, max_length=200, description="The name of the file, such as bridge.jpg.")
    data: str = Field(description="The bytes of the file in base64: JPEG, PNG, WebP or GIF, at most 20 MB.")
    alt: Alt
    credit: Credit = ""


class PictureChange(ApiModel):
    """New texts for a picture. A field that is not named stays as it is."""

    version: ReadVersion = ""
    alt: Alt | None = None
    credit: Credit | None = None


def show_file(caller: Who, story: Key, language: Word) -> FileText:
    """Show the whole file of a story, front matter and text."""
    _, opened = open_story(caller, story, language)
    return describe_file(opened)


def replace_file(caller: Who, story: Key, language: Word, edit: FileEdit) -> FileText:
    """Replace the whole file of a story, if it passes the check."""
    source, opened = open_story(caller, story, language)
    caller.check_version(opened.name, opened.digest, edit.version)
    action = stories.describe_change(stories.read_story(opened.text), stories.read_story(edit.text))
    save_story(caller, source, opened, edit.text, action)
    return describe_file(files.open_file(caller.runtime.root, opened.name))


def list_story_versions(caller: Who, story: Key, language: Word) -> list[FormerVersion]:
    """List the kept versions of a story's file, the newest first."""
    _, opened = open_story(caller, story, language)
    return list_versions(caller, opened)


def show_story_version(caller: Who, story: Key, language: Word, former: Former) -> FormerText:
    """Show a former version, and how it differs from the present one."""
    _, opened = open_story(caller, story, language)
    return show_version(caller, opened, former)


def restore_story_version(caller: Who, story: Key, language: Word, former: Former, restore: FileRestore) -> FileText:
    """Restore a former version. The present one becomes a former version."""
    _, opened = open_story(caller, story, language)
    caller.check_version(opened.name, opened.digest, restore.version)
    text = read_version(caller, opened, former)
    if text != opened.text:
        save_file(caller, opened, text, "story.restored")
    return describe_file(files.open_file(caller.runtime.root, opened.name))


def list_pictures(caller: Who, story: Key, language: Word) -> StoryPictures:
    """List the pictures of a story: its own pictures first, then those in its text."""
    _, opened = open_story(caller, story, language)
    return _describe_pictures(opened)


def add_picture(caller: Who, story: Key, language: Word, picture: NewPicture) -> StoryPictures:
    """Add a picture: as the story's own picture if it has none yet, else at the end of its text."""
    source, opened = open_story(caller, story, language)
    caller.check_version(opened.name, opened.digest, picture.version)
    form = stories.read_story(opened.text)
    # Checked before the file of the picture is written.
    if form is not None and not form.draft and not caller.may(Role.EDITOR):
        raise ApiRefusal(403, _ONLY_EDITORS)
    try:
        data = base64.b64decode(picture.data, validate=True)
    except (ValueError, binascii.Error):
        raise ApiRefusal(422, "data: this is not base64.") from None
    path = story_pictures.add_picture(caller.runtime, source, picture.name, data, caller.person.email)
    try:
        text = story_pictures.place_picture(opened.text, path, picture.alt, picture.credit)
    except ValueError as error:
        raise ApiRefusal(409, f"{opened.name}: {error}") from None
    save_story(caller, source, opened, text, "story.picture")
    return _describe_pictures(files.open_file(caller.runtime.root, opened.name))


def change_picture(
    caller: Who, story: Key, language: Word, number: PictureNumber, change: PictureChange
) -> StoryPictures:
    """Change the alt text or the credit of a picture."""
    return _replace_picture(caller, story, language, number, change.version, change)


def remove_picture(
    caller: Who, story: Key, language: Word, number: PictureNumber, version: ReadVersion = ""
) -> StoryPictures:
    """Take a picture out of a story. Its file stays, because other stories may show it."""
    return _replace_picture(caller, story, language, number, version, None)


def _replace_picture(
    caller: Caller, story: str, language: str, number: int, version: str, change: PictureChange | None
) -> StoryPictures:
    source, opened = open_story(caller, story, language)
    caller.check_version(opened.name, opened.digest, version)
    pictures = _read_pictures(opened)
    if number > len(pictures):
        raise ApiRefusal(404, f"{opened.name} has no picture {number}.")
    picture = pictures[number - 1]
    if change is not None and change.credit and picture.in_text:
        raise ApiRefusal(422, "credit: a picture in the text has none. Write it into its alt text or below it.")
    wanted = None
    if change is not None:
        alt = picture.alt if change.alt is None else change.alt
        wanted = StoryPicture(picture.src, alt, picture.credit if change.credit is None else change.credit)
    try:
        text = story_pictures.replace_picture(opened.text, number - 1, wanted)
    except ValueError as error:
        raise ApiRefusal(409, f"{opened.name}: {error}") from None
    save_story(caller, source, opened, text, "story.saved")
    return _describe_pictures(files.open_file(caller.runtime.root, opened.name))


def _read_pictures(opened: OpenedFile) -> list[StoryPicture]:
    try:
        return story_pictures.list_pictures(opened.text)
    except ValueError as error:
        raise ApiRefusal(409, f"{opened.name}: {error}") from None


def _describe_pictures(opened: OpenedFile) -> StoryPictures:
    pictures = [
        PictureInfo(number=number, src=one.src, alt=one.alt, credit=one.credit, in_text=one.in_text)
        for number, one in enumerate(_read_pictures(opened), 1)
    ]
    return StoryPictures(file=opened.name, version=opened.digest, pictures=pictures)


# -- files of any kind ------------------------------------------------------------------------------------------------


def describe_file(opened: OpenedFile) -> FileText:
    """Return a file as the API shows it."""
    return FileText(file=opened.name, version=opened.digest, text=opened.text)


def list_versions(caller: Caller, opened: OpenedFile) -> list[FormerVersion]:
    """Return the kept versions of a file, the newest first."""
    return [FormerVersion.model_validate(one) for one in files.list_versions(caller.runtime.root, opened.name)]


def show_version(caller: Caller, opened: OpenedFile, former: str) -> FormerText:
    """Return a former version of a file. Raises ApiRefusal."""
    text = read_version(caller, opened, former)
    difference = "\n".join(sign + line for sign, line in files.difference(opened.text, text))
    return FormerText(file=opened.name, id=former, text=text, difference=difference)


def read_version(caller: Caller, opened: OpenedFile, former: str) -> str:
    """Return the text of a former version of a file. Raises ApiRefusal."""
    text = files.read_version(caller.runtime.root, opened.name, former)
    if text is None:
        raise ApiRefusal(404, f"there is no version {former!r} of {opened.name}.")
    return text


_FILE = "/stories/{story}/{language}"
ROUTES = (
    ApiRoute("GET", f"{_FILE}/text", "GET stories/edit", show_file),
    ApiRoute("PUT", f"{_FILE}/text", "POST stories/edit", replace_file, is_versioned=True),
    ApiRoute("GET", f"{_FILE}/versions", "GET stories/version", list_story_versions),
    ApiRoute("GET", f"{_FILE}/versions/{{former}}", "GET stories/version", show_story_version),
    ApiRoute(
        "POST", f"{_FILE}/versions/{{former}}/restore", "POST stories/restore", restore_story_version, is_versioned=True
    ),
    ApiRoute("GET", f"{_FILE}/pictures", "GET stories/edit", list_pictures),
    ApiRoute("POST", f"{_FILE}/pictures", "POST stories/edit", add_picture, 201, is_versioned=True),
    ApiRoute("PATCH", f"{_FILE}/pictures/{{number}}", "POST stories/edit", change_picture, is_versioned=True),
    ApiRoute("DELETE", f"{_FILE}/pictures/{{number}}", "POST stories/edit", remove_picture, is_versioned=True),
)
