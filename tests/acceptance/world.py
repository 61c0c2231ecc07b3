"""A whole newsroom for tests: a folder, a real SMTP catcher and a real webhook receiver."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.testing.http_sink import HttpSink

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Caught:
    """One mail as it came over the wire."""

    sender: str
    recipient: str
    data: bytes

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.data, policy=email.policy.default)

    @property
    def text(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content())


@dataclass
class Mails:
    """An aiosmtpd handler that keeps everything."""

    caught: list[Caught] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.caught.append(Caught(envelope.mail_from, envelope.rcpt_tos[0], envelope.content))
        return f"250 OK queued as {len(self.caught)}"


@contextmanager
def smtp_server() -> Iterator[tuple[Mails, int]]:
    """A real SMTP server on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mails = Mails()
    controller = Controller(mails, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mails, port
    finally:
        controller.stop()


@dataclass
class World:
    """A newsroom's folder and what it reaches."""

    root: Path
    mails: Mails
    hook: HttpSink
    env: dict[str, str]

    def write(self, name: str, text: str) -> None:
        """A file of the newsroom."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def runtime(self) -> Runtime:
        """Open it, as every command does."""
        loaded = load_newsroom(self.root, self.env)
        assert loaded.newsroom is not None, [str(problem) for problem in loaded.problems]
        return Runtime(loaded.newsroom)


MAIN = """\
site:
  title: {{en: Newsroom, ru: Новости, kk: Жаңалықтар}}
  url: https://news.example.org/
  languages: [en, ru, kk]
  timezone: Asia/Almaty
  address: 10 Example Street, Almaty
store: {store}
topics: {{water: Water, youth: Youth, health: Health, climate: Climate}}
mail: {{host: 127.0.0.1, port: {port}, security: none, return_path: bounces@example.org, feedback_id: example}}
lists:
  digest: {{name: Digest, from: News <news@example.org>, fallback: [en], unsubscribe_mailto: leave@example.org}}
  press: {{name: Press, from: Press <press@example.org>, fallback: [en], default_frequency: now}}
channels:
  desk:
    type: webhook
    url: {{env: DESK_URL}}
    secret: {{env: DESK_SECRET}}
    languages: [en, ru, kk]
    allow_private: true
  team: {{type: slack, url: {{env: SLACK_URL}}, allow_private: true}}
notify: {{to: [comms@example.org]}}
"""


@contextmanager
def make_world(root: Path, store: str) -> Iterator[World]:
    """A newsroom with lists and channels but no schedule and no item yet."""
    with smtp_server() as (mails, port), HttpSink() as hook:
        env = {"DESK_URL": hook.url, "DESK_SECRET": SECRET, "SLACK_URL": hook.url.replace("/hook/", "/slack/")}
        world = World(root, mails, hook, env)
        world.write("tidings.yaml", MAIN.format(store=store, port=port))
        (root / "content").mkdir(parents=True, exist_ok=True)
        (root / "schedules").mkdir(exist_ok=True)
        yield world


def item(title: str, *, kind: str = "story", published: str = "", body: str = "", **fields: str) -> str:
    """The text of a content file."""
    lines = [f"title: {title}", f"kind: {kind}"]
    if published:
        lines.append(f"published: {published}")
    lines += [f"{key}: {value}" for key, value in fields.items()]
    return "---\n" + "\n".join(lines) + "\n---\n" + (body or f"What happened in {title}, in one paragraph.") + "\n"
