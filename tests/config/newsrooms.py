"""Newsrooms on disk, as a press office would write them, to load or to break."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tidings import plugins
from tidings.channels.smtp.relay import Settings
from tidings.config.load import LoadResult, load_config
from tidings.config.settings import Newsroom

MAIN = """\
site:
  title: {en: Steppe Office, ru: Степное бюро, kk: Дала кеңсесі}
  url: https://steppe.example.org/
  languages: [en, ru, kk]
  timezone: Asia/Almaty
  address: 7 Orchard Lane, Almaty
  colour: "#0077b6"
store: sqlite:///tidings.db
web: {host: 127.0.0.1, port: 8080, trust: [127.0.0.1]}
sources:
  newsroom: {type: folder, path: content}
topics:
  sdg-4: {en: Education, ru: Образование, kk: Білім}
feeds:
  press: {title: Press, select: {kinds: [press-release], topics: [sdg-4]}}
mail:
  host: localhost
  port: 1025
  security: none
  username: {env: SMTP_USER}
  password: {env: SMTP_PASSWORD}
  connections: 4
  rate: 50/s
  return_path: bounces@example.org
  feedback_id: steppe
lists:
  digest:
    name: {en: Digest, ru: Дайджест, kk: Дайджест}
    from: Steppe Office <news@example.org>
    reply_to: comms@example.org
    unsubscribe_mailto: leave@example.org
    public: true
    fallback: [en]
    default_frequency: weekly
    resend_in_doubt: once
channels:
  desk: {type: webhook, url: {env: DESK_URL}, secret: {env: DESK_SECRET}, languages: [en]}
  team: {type: slack, url: {file: slack.txt}, allow_private: true}
notify: {to: [comms@example.org], channel: team}
"""

WEEKLY = """\
title: Weekly digest
cadence:
  weekly: fri 09:00
  timezone: Asia/Almaty
  window: "08:00-20:00"
  skip_dates: [2026-12-16, 2026-12-24..2027-01-08]
  holidays: KZ
  max_late: 6h
approval: none
select:
  kinds: [story, press-release]
  topics: []
  languages: []
  stories: []
  min_items: 1
  max_items: 12
  overflow: titles
  order: newest
deliver:
  - list: digest
    frequency: weekly
    template: digest
    subject: "{{ lead.title }}"
    everyone: false
  - channel: team
    per: edition
    max_posts: 5
was: friday
"""

ENV = {
    "SMTP_USER": "relay-user",
    "SMTP_PASSWORD": "hunter2-is-long",
    "DESK_URL": "https://desk.example/hook/of/mine",
    "DESK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
SLACK = "https://hooks.slack.example/services/T0/B0/qwertyuiop"


def write(root: Path, main: str | bytes = MAIN, schedules: Mapping[str, str] | None = None) -> Path:
    """Write a newsroom at `root`. `schedules` are by file name; a name without ending means NAME.yaml."""
    (root / "schedules").mkdir(exist_ok=True)
    (root / "slack.txt").write_text(SLACK + "\n")
    (root / "tidings.yaml").write_bytes(main if isinstance(main, bytes) else main.encode())
    for name, text in ({"weekly": WEEKLY} if schedules is None else schedules).items():
        (root / "schedules" / (name if "." in name else f"{name}.yaml")).write_text(text, encoding="utf-8")
    return root


def read(root: Path, env: Mapping[str, str] = ENV, *, lenient: bool = False) -> LoadResult:
    """Load with the adapters that come with the product."""
    return load_config(
        root,
        channel_settings=plugins.AdapterSettings(plugins.channels()),
        source_settings=plugins.AdapterSettings(plugins.sources()),
        sender_settings=plugins.AdapterSettings(plugins.senders()),
        env=env,
        lenient=lenient,
    )


def said(loaded: LoadResult) -> list[str]:
    """Return the problems as a person reads them."""
    return [str(problem) for problem in loaded.problems]


def spoilt(text: str, good: str, bad: str) -> str:
    """Return `text` with one mistake. Fails if `good` is not in it."""
    assert good in text
    return text.replace(good, bad, 1)


def relay(newsroom: Newsroom | None) -> Settings:
    """Return its only sender, which is a relay."""
    assert newsroom is not None
    [sender] = newsroom.mail
    assert isinstance(sender, Settings)
    return sender
