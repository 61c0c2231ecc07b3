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
    "folder": "tidings.sources.folder.source",
    "feed": "tidings.sources.web.feed",
    "page": "tidings.sources.web.page",
    "push": "tidings.sources.web.push",
    "wordpress": "tidings.sources.cms.wordpress",
    "drupal": "tidings.sources.cms.drupal",
}
CHANNELS = {
    "webhook": "tidings.channels.chat.webhook",
    "slack": "tidings.channels.chat.slack",
    "teams": "tidings.channels.chat.teams",
    "discord": "tidings.channels.chat.discord",
    "mattermost": "tidings.channels.chat.mattermost",
    "rocketchat": "tidings.channels.chat.rocketchat",
    "telegram": "tidings.channels.chat.telegram",
    "mastodon": "tidings.channels.social.mastodon.channel",
    "bluesky": "tidings.channels.social.bluesky",
    "matrix": "tidings.channels.chat.matrix",
    "ntfy": "tidings.channels.chat.ntfy",
    "linkedin": "tidings.channels.social.linkedin",
    "facebook": "tidings.channels.social.facebook",
    "x": "tidings.channels.social.x",
    "apprise": "tidings.channels.chat.apprise",
    "websub": "tidings.channels.websub",
}
MAIL = {
    "smtp": "tidings.channels.smtp.relay",
    "ses": "tidings.channels.mail_api.ses",
    "postmark": "tidings.channels.mail_api.postmark",
    "mailgun": "tidings.channels.mail_api.mailgun",
    "sendgrid": "tidings.channels.mail_api.sendgrid",
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
