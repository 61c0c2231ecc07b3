"""Import people from a CSV file or a pasted table, after a dry run, and export the people of a list."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from tidings.model.errors import InputError
from tidings.render.room.room_pages import RoomWords
from tidings.runtime.people_files.csv_format import export_people
from tidings.runtime.people_files.importer import (
    DUPLICATE,
    REFUSED,
    ImportOptions,
    ImportSummary,
    ImportWatcher,
    import_text,
)
from tidings.runtime.people_files.person_record import RefusedLine
from tidings.store.people.bulk_import import ImportResult
from tidings.web.room.visit import HEADERS, Visit

LARGEST_IMPORT = 6_000_000
"""Largest form with its file, in bytes: about 50,000 lines."""
_MOST_REFUSED = 100
_SHOWN = 20_000
"""Most characters of a table that the page shows again for corrections. A larger one stays on the server."""


def show_import(visit: Visit) -> Response:
    """Show the form: list, consent, and the table as a file or as text."""
    return _page(visit)


def submit_import(visit: Visit) -> Response:
    """Show what each line would do, or import them, depending on the button's `do`. An import sends no mail."""
    words, name, source = visit.words, visit.field("list"), visit.field("source", 300)
    table = _read_table(visit)
    if name not in _lists(visit):
        return _page(visit, wrong=words.gettext("Choose a list."), status=422)
    if not table.strip():
        if visit.field("kept"):
            gone = words.gettext("The table is no longer stored. Choose the file again, or paste the lines again.")
            return _page(visit, wrong=gone, status=422)
        return _page(visit, wrong=words.gettext("Choose a file, or paste the lines of a table."), status=422)
    if not source:
        return _page(
            visit, wrong=words.gettext("Say how these people agreed, in case somebody asks later."), status=422
        )
    is_dry = visit.field("do") != "import"
    options = ImportOptions(name, visit.field("agreed") == "yes", source, dry_run=is_dry)
    refused: list[RefusedLine] = []
    try:
        summary = import_text(
            visit.runtime.store,
            visit.newsroom,
            table,
            options,
            now=visit.runtime.now(),
            watcher=ImportWatcher(refused=refused.append),
        )
    except InputError as error:
        return _page(visit, wrong=str(error), status=422)
    if not is_dry:
        with visit.runtime.store.write() as connection:
            counts = ", ".join(f"{count} {result}" for result, count in summary.counts.items() if count)
            visit.record(connection, "subscriber.imported", name, counts)
        visit.previews.drop(visit.person.id, visit.field("kept"))
    return _page(visit, summary=summary, refused=refused, is_done=not is_dry)


def export(visit: Visit) -> Response:
    """Export the confirmed people of one list as CSV, and log it."""
    name = visit.field("list")
    if name not in _lists(visit):
        return visit.not_found()
    body = "".join(export_people(visit.runtime.store, name))
    with visit.runtime.store.write() as connection:
        visit.record(connection, "subscriber.exported", name)
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(body, media_type="text/csv; charset=utf-8", headers=headers)


def _read_table(visit: Visit) -> bytes:
    """Return the chosen file, else the pasted lines, else the table of the last dry run, else an empty text."""
    upload = visit.files.get("file")
    if upload is not None:
        return upload.data
    pasted = visit.fields.get("table", [""])[0]
    return pasted.encode() if pasted.strip() else _find_kept(visit, "table")


def _find_kept(visit: Visit, part: str) -> bytes:
    return visit.previews.find(visit.person.id, visit.field("kept"), part) or b""


def _keep_table(visit: Visit) -> dict[str, str]:
    """Return the form's values for importing the table of the dry run: its text, or the name of a large table."""
    table, shown = _read_table(visit), {"table": "", "kept": "", "kept_file": ""}
    try:
        text = table.decode("utf-8-sig")
    except UnicodeDecodeError:
        return shown
    if len(text) <= _SHOWN:
        return shown | {"table": text}
    upload = visit.files.get("file")
    file = upload.name[:100].encode() if upload is not None else _find_kept(visit, "file")
    visit.previews.drop(visit.person.id, visit.field("kept"))
    kept = visit.previews.keep(visit.person.id, {"table": table, "file": file})
    return shown | {"kept": kept, "kept_file": file.decode()}


def _lists(visit: Visit) -> dict[str, str]:
    default = visit.newsroom.site.languages[0]
    return {
        name: settings.name.get(visit.language, default)
        for name, settings in visit.newsroom.lists.items()
        if visit.person.may_see_list(name)
    }


def _page(
    visit: Visit,
    *,
    wrong: str = "",
    status: int = 200,
    summary: ImportSummary | None = None,
    refused: Sequence[RefusedLine] = (),
    is_done: bool = False,
) -> Response:
    results, counts = _results(visit.words), summary.counts if summary is not None else {}
    return visit.page(
        "import.html.j2",
        visit.words.gettext("Import people"),
        status,
        wrong=wrong,
        lists=_lists(visit),
        chosen=visit.field("list"),
        source=visit.field("source", 300),
        is_agreed=visit.field("agreed") != "no",
        **({"table": "", "kept": "", "kept_file": ""} if is_done else _keep_table(visit)),
        counts=[(label, counts[key]) for key, label in results.items() if counts.get(key)],
        taken=counts.get(ImportResult.ADDED, 0) + counts.get(ImportResult.CONFIRMED, 0),
        is_checked=summary is not None,
        is_done=is_done,
        refused=[
            {"line": each, "who": next((cell for cell in each.cells if "@" in cell and cell not in each.reason), "")}
            for each in refused[:_MOST_REFUSED]
        ],
        more_refused=max(0, len(refused) - _MOST_REFUSED),
    )


def _results(words: RoomWords) -> dict[str, str]:
    """Return the name of each result of a line."""
    return {
        str(ImportResult.ADDED): words.gettext("added"),
        str(ImportResult.CONFIRMED): words.gettext("now confirmed"),
        str(ImportResult.EXISTS): words.gettext("on the list already"),
        str(ImportResult.LEFT): words.gettext("left before, not added again"),
        str(ImportResult.LAPSED): words.gettext("did not confirm again, not changed"),
        str(ImportResult.SUPPRESSED): words.gettext("must not be mailed"),
        str(ImportResult.AWAY): words.gettext("left in the other tool, never mailed here"),
        str(ImportResult.KNOWN_AWAY): words.gettext("left in the other tool, known here"),
        str(ImportResult.SINCE): words.gettext("agreed here later, not changed"),
        DUPLICATE: words.gettext("twice in the table"),
        REFUSED: words.gettext("refused, with a reason"),
    }
