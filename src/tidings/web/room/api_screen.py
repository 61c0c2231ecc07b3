"""The screen "API": the keys of programs, and the webhooks that receive events."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import Response

from tidings.model.delivery import WEBHOOK_LANE, EventType
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.webhooks import queue_test
from tidings.runtime.monitoring.health import read_health
from tidings.store.people import api_keys
from tidings.store.people.team import Role, describe_access
from tidings.store.service import events
from tidings.store.service.clock import real_now
from tidings.web.room.edition_screen import delivery_states
from tidings.web.room.team_screens import describe_roles, role_name
from tidings.web.room.today import list_title
from tidings.web.room.visit import Visit


def show(visit: Visit) -> Response:
    """Show the keys, the form for a new one, and the webhooks with their newest messages."""
    return _page(visit)


def _page(visit: Visit, status: int = 200, *, wrong: str = "", secret: str = "", made: str = "") -> Response:
    newsroom, states = visit.newsroom, delivery_states(visit.words)
    stalled = read_health(visit.runtime, real_now()).stalled
    with visit.runtime.store.read() as connection:
        keys = api_keys.list_keys(connection)
        told = {name: events.recent_deliveries(connection, f"{WEBHOOK_LANE}{name}") for name in newsroom.webhooks}
    return visit.page(
        "api.html.j2",
        visit.words.gettext("API"),
        status,
        keys=[{"key": key, "role": role_name(visit.words, key.role)} for key in keys],
        roles=describe_roles(visit.words),
        chosen=visit.field("role") or Role.VIEWER.value,
        lists={name: list_title(visit, name) for name in sorted(newsroom.lists)},
        error=wrong,
        entered=visit.field("name", 60) if wrong else "",
        secret=secret,
        made=made,
        address=f"{newsroom.site.url}api/v1/",
        webhooks=[
            {
                "name": name,
                "host": urlsplit(settings.url.get_secret_value()).hostname or "",
                "events": settings.events or tuple(EventType),
                "stalled": stalled.get(f"{WEBHOOK_LANE}{name}", ""),
                "told": [
                    {
                        "event": event,
                        "state": states.get(event.state, event.state),
                        "is_good": event.state == "accepted",
                    }
                    for event in told[name]
                ],
            }
            for name, settings in newsroom.webhooks.items()
        ],
    )


def add_key(visit: Visit) -> Response:
    """Make a key and show it, once."""
    words, name, role = visit.words, visit.field("name", 60), visit.field("role")
    if role not in list(Role):
        return _page(visit, 422, wrong=words.gettext("Choose a role."))
    chosen = [one for one in visit.fields.get("list", []) if one in visit.newsroom.lists]
    lists = [] if role == Role.ADMIN else chosen
    try:
        with visit.runtime.store.write() as connection:
            who = visit.person.email
            secret = api_keys.add_key(connection, name, Role(role), lists, who=who, now=real_now())
            if secret is not None:
                visit.record(connection, "key.added", name, describe_access(role, lists))
    except InputError:
        text = words.gettext("A name has small letters a-z, digits, - and _, such as website.")
        return _page(visit, 422, wrong=text)
    if secret is None:
        return _page(visit, 422, wrong=words.gettext("There is a key of this name already."))
    return _page(visit, secret=secret, made=name)


def remove_key(visit: Visit) -> Response:
    """Revoke a key. It stops working at once."""
    name = visit.field("name", 60)
    with visit.runtime.store.write() as connection:
        if not api_keys.remove_key(connection, name):
            return visit.not_found()
        visit.record(connection, "key.removed", name)
    return visit.redirect("api", "removed")


def send_test(visit: Visit) -> Response:
    """Send a test event to a webhook."""
    name = visit.field("name")
    try:
        with visit.runtime.store.write() as connection:
            queue_test(connection, visit.newsroom.webhooks, name, visit.runtime.now())
            visit.record(connection, "webhook.tested", name)
    except RefusedError:
        return visit.not_found()
    return visit.redirect("api", "event")
