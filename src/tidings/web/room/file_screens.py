"""Shared by the screens of stories and settings: open a file, save it, and restore a former version."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

from tidings.model.errors import RefusedError
from tidings.runtime.team import files
from tidings.runtime.team.files import OpenedFile
from tidings.store.service.clock import real_now
from tidings.web.room.visit import Visit


def open_file(visit: Visit, name: str) -> OpenedFile | Response:
    """Open a file of the newsroom, or return a page with the reason why it cannot be opened."""
    try:
        return files.open_file(visit.runtime.root, name)
    except RefusedError as error:
        return visit.message(visit.words.gettext("This file cannot be opened here"), str(error), status=409)


def save_file(visit: Visit, name: str, text: str, opened: str, action: str) -> None:
    """Save a file in the member's name and log it. `opened` is the digest of the text that the editor showed.

    Raises FileChangedError or RefusedError.
    """
    files.save_file(visit.runtime.root, name, text, opened=opened, who=visit.person.email, now=real_now())
    with visit.runtime.store.write() as connection:
        visit.record(connection, action, name)


def show_former(visit: Visit, opened: OpenedFile, folder: str, *, may_restore: bool) -> Response:
    """Show how a former version differs from the present one. `folder` is the path of the screens in the room."""
    version = visit.query.get("version", "")
    former = files.read_version(visit.runtime.root, opened.name, version)
    if former is None:
        return visit.not_found()
    return visit.page(
        "version.html.j2",
        opened.name,
        name=opened.name,
        file=quote(opened.name),
        version=version,
        opened=opened.digest,
        difference=files.difference(opened.text, former),
        back=f"{folder}/edit",
        action=f"{folder}/restore",
        may_restore=may_restore,
    )


def restore_former(visit: Visit, name: str, former: str, folder: str, action: str) -> Response:
    """Save the text of a former version as the present one."""
    try:
        save_file(visit, name, former, visit.field("opened", 64), action)
    except RefusedError as error:
        return visit.message(visit.words.gettext("Please try again"), str(error), status=409)
    return visit.redirect(f"{folder}/edit?file={quote(name)}", "restored")
