"""People out as CSV, a page at a time. Cells that a spreadsheet would run get an apostrophe before them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from tidings.model.text import format_csv_line
from tidings.runtime.people_files.csv_format import COLUMNS, MORE
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.people.subscribers import Subscription


def export_people(
    store: Store, list_name: str | None, states: Sequence[str] = (subscribers.CONFIRMED,), *, everything: bool = False
) -> Iterator[str]:
    """Lines of a CSV: the people of a list (None: of every list, which is a column then) in these states.

    With `everything`, state, source and dates beside: so written it is taken in again as it was.
    """
    more = MORE if everything else () if list_name is not None else ("list",)
    yield format_csv_line([*COLUMNS, *more])
    with store.read() as connection:
        for one in subscribers.subscriptions(connection, list_name=list_name):
            if one.state in states:
                cells = _cells(one)
                yield format_csv_line([cells[column] for column in (*COLUMNS, *more)])


def _cells(one: Subscription) -> dict[str, str]:
    return {
        "email": one.address,
        "name": one.name,
        "language": one.language,
        "topics": ";".join(one.topics),
        "frequency": one.frequency,
        "list": one.list,
        "state": one.state,
        "source": one.source,
        "confirmed_at": _moment(one.confirmed_at),
        "left_at": _moment(one.left_at),
    }


def _moment(at: datetime | None) -> str:
    return at.isoformat().replace("+00:00", "Z") if at else ""
