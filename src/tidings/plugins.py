"""The table of adapters, as dotted names: an adapter is imported when it is used.

A third party adds a source, a channel or a mail sender with an entry point of its own package (`tidings.sources`,
`tidings.channels`, `tidings.mail`). The entry point names a module with `Settings` and `make`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

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


class Adapters(Mapping[str, ModuleType]):
    """Adapter modules by type. Each is imported when it is looked up."""

    def __init__(self, group: str, built_in: Mapping[str, str]) -> None:
        self._built_in = built_in
        self._installed = {entry.name: entry for entry in _entry_points(group)}

    def __getitem__(self, name: str) -> ModuleType:
        if name in self._built_in:  # an entry point never replaces a built-in adapter
            return import_module(self._built_in[name])
        module: ModuleType = self._installed[name].load()
        return module

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._built_in, *self._installed)))

    def __len__(self) -> int:
        return len({*self._built_in, *self._installed})


class AdapterSettings(Mapping[str, Any]):
    """The `Settings` class of each adapter, by type."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters

    def __getitem__(self, name: str) -> Any:
        return self._adapters[name].Settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._adapters)

    def __len__(self) -> int:
        return len(self._adapters)


def sources() -> Adapters:
    """Return the source adapters: the built-in ones and those of installed packages."""
    return Adapters("tidings.sources", SOURCES)


def channels() -> Adapters:
    return Adapters("tidings.channels", CHANNELS)


def senders() -> Adapters:
    """Return the adapters that send mail."""
    return Adapters("tidings.mail", MAIL)


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    # Cached: this reads a file of every installed package.
    return tuple(entry_points(group=group))
