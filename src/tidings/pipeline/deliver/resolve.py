"""A person says what became of a delivery in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from tidings.channels.base import Channel, KnowsAddresses
from tidings.model.errors import RefusedError
from tidings.store.delivery import ledger, threads
from tidings.store.engine import Store


def resolve_in_doubt(
    store: Store,
    channels: Mapping[str, Channel],
    delivery: int,
    how: Literal["accepted", "resend", "cancel"],
    now: datetime,
    *,
    url: str = "",
    alone: bool = False,
) -> None:
    """`url` is where the post stands; what answers it in a thread can do so only by the id that this tells.

    `alone` lets the answers be. Raises InputError for an unknown id, RefusedError for one that is in no doubt and for a
    post that is to be answered and has no id.
    """
    receipt = ""
    if how == "accepted":
        with store.read() as connection:
            name, answers = threads.count_replies(connection, delivery)
        channel = channels.get(name)
        knows = channel if isinstance(channel, KnowsAddresses) else None
        if knows is not None and url:
            receipt = knows.receipt_at(url)
        if answers and not receipt and not alone:
            raise RefusedError(_unanswerable(delivery, name, answers, url, knows=knows is not None))
    with store.write() as connection:
        ledger.resolve(connection, delivery, how, now, url=url, receipt=receipt)


def _unanswerable(delivery: int, channel: str, answers: int, url: str, *, knows: bool) -> str:
    waits = f"{answers} further posts of its thread wait to answer" if answers > 1 else "a further post waits to answer"
    if not knows:
        why = f"channel {channel!r} cannot tell a post by its address"
    elif url:
        why = f"{url} leads to no post of channel {channel!r}; give the address that a browser shows of the post itself"
    else:
        why = f"give the address of the post: tidings resolve {delivery} --accepted URL"
    return f"{waits} delivery {delivery}, and {why}. To let them be: --accepted --alone"
