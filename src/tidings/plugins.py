"""The table of adapters: dotted names only, so that nothing is imported before it is used.

A third party adds a source, a channel or a way for mail to leave by an entry point of its own package
(`tidings.sources`, `tidings.channels`, `tidings.mail`) that names a module with `Settings` and `make`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

SOURCES = {
    "folder": "tidings.sources.folder",
    "feed": "tidings.sources.feed",
    "page": "tidings.sources.page",
    "push": "tidings.sources.push",
    "wordpress": "tidings.sources.wordpress",
    "drupal": "tidings.sources.drupal",
}
CHANNELS = {
    "webhook": "tidings.channels.webhook",
    "slack": "tidings.channels.slack",
    "teams": "tidings.channels.teams",
    "discord": "tidings.channels.discord",
    "mattermost": "tidings.channels.mattermost",
    "rocketchat": "tidings.channels.rocketchat",
    "telegram": "tidings.channels.telegram",
    "mastodon": "tidings.channels.mastodon",
    "bluesky": "tidings.channels.bluesky",
    "matrix": "tidings.channels.matrix",
    "ntfy": "tidings.channels.ntfy",
    "linkedin": "tidings.channels.linkedin",
    "facebook": "tidings.channels.facebook",
    "x": "tidings.channels.x",
    "apprise": "tidings.channels.apprise",
    "websub": "tidings.channels.websub",
}
MAIL = {
    "smtp": "tidings.channels.smtp_sender",
    "ses": "tidings.channels.ses",
    "postmark": "tidings.channels.postmark",
    "mailgun": "tidings.channels.mailgun",
    "sendgrid": "tidings.channels.sendgrid",
}


def load_adapters(group: str, built_in: dict[str, str]) -> dict[str, ModuleType]:
    """Modules by type: the built-in ones, then those of entry points in `group`; a built-in name is never replaced."""
    found = {name: import_module(module) for name, module in built_in.items()}
    for entry in _installed(group):
        found.setdefault(entry.name, entry.load())
    return found


@cache
def _installed(group: str) -> tuple[EntryPoint, ...]:
    """Looked for once: it reads a file of every installed package."""
    return tuple(entry_points(group=group))
