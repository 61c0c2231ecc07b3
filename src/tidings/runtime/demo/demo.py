"""Play two weeks of the sample newsroom on its own clock: mail goes to the catcher, posts to the receiver."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from tidings.config.file_reader import SECRETS
from tidings.model.cadence import load_zone
from tidings.model.edition import EditionState
from tidings.model.plurals import count_noun
from tidings.runtime.demo.fleet import SETTINGS as FLEET_SETTINGS
from tidings.runtime.demo.fleet import DemoFleet
from tidings.runtime.demo.mail_catcher import MailCatcher
from tidings.runtime.demo.post_receiver import PostReceiver
from tidings.runtime.init import find_sample_newsroom
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.runtime.tick import TickResult, tick
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.people import subscribers, team
from tidings.store.people.team import Role
from tidings.store.service.clock import real_now

FIRST, LAST = date(2026, 8, 31), date(2026, 9, 13)
ZONE = load_zone("Asia/Almaty")
EDITOR = "editor@example.org"
"""The member of the team who the visitor is."""
LEAVER = "aigerim.07@example.org"
Say = Callable[[datetime, str], None]

_FIRST_LOOK = Path(__file__).with_name("first_look")
"""Two stories and a schedule for a visitor of the comms room: one edition to mend, and one to approve."""
_COMMENTED = re.compile(r"^# (channels:|  desk:|  team:|  - channel:|    per:|    max_posts:)", re.MULTILINE)
_EMBARGO = re.compile(r"^embargo: (\S+)", re.MULTILINE)
_STORE = re.compile(r"^store: .*$", re.MULTILINE)
_PUBLISHED = re.compile(r"^published: (\S+)", re.MULTILINE)
_NAMES = ["Aigerim", "Bolat", "Camila", "Daniyar", "Elena", "Farida", "Gulnara", "Hanna", "Ivan", "Jamilya"]
_TOPICS = ("sdg-3", "sdg-4", "sdg-5", "sdg-6", "sdg-13", "youth")


def local(day: date, clock: str) -> datetime:
    """Return a local time of the newsroom in UTC."""
    return datetime.combine(day, time.fromisoformat(clock), ZONE).astimezone(UTC)


@dataclass
class Demo:
    """A newsroom in `folder`, with the receivers of its mail and posts."""

    folder: Path
    catcher: MailCatcher
    receiver: PostReceiver
    secret: str
    say: Say
    leave: Callable[[str], None]
    """Sends the POST of a one-click unsubscribe, as a mail program does."""
    fleet: DemoFleet | None = None
    """The workers that send, on a broker and PostgreSQL; None if this process sends."""
    mended: list[str] = field(default_factory=list)
    """Editions that were held and then recomposed."""

    def prepare(self) -> Runtime:
        """Create the folder as `tidings init` does, without items, and with the catcher as mail server."""
        sample = find_sample_newsroom()
        if self.folder.exists():
            shutil.rmtree(self.folder)
        (self.folder / "content").mkdir(parents=True)
        shutil.copytree(sample / "schedules", self.folder / "schedules")
        shutil.copytree(sample / "content" / "media", self.folder / "content" / "media")
        text = (sample / "tidings.yaml").read_text(encoding="utf-8")
        text = re.sub(r"^(  port:) 1025", rf"\1 {self.catcher.port}", text, flags=re.MULTILINE)
        if self.fleet is not None:
            text = _STORE.sub(FLEET_SETTINGS, text)
        (self.folder / "tidings.yaml").write_text(_COMMENTED.sub(r"\1", text), encoding="utf-8")
        for path in (self.folder / "schedules").glob("*.yaml"):
            path.write_text(_COMMENTED.sub(r"\1", path.read_text(encoding="utf-8")), encoding="utf-8")
        env = {
            "DESK_URL": self.receiver.url("desk"),
            "DESK_SECRET": self.secret,
            "SLACK_URL": self.receiver.url("team"),
            **(self.fleet.env if self.fleet is not None else {}),
        }
        # So that every command can look at this newsroom afterwards.
        descriptor = os.open(self.folder / SECRETS, os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in env.items())
        loaded = load_newsroom(self.folder, env)
        if loaded.newsroom is None:
            raise AssertionError("\n".join(map(str, loaded.problems)))
        runtime = Runtime(loaded.newsroom, looks_up_links=False)
        runtime.is_demo = True
        with runtime.store.write() as connection:
            team.add_member(connection, EDITOR, Role.EDITOR, (), real_now(), "Demo Editor")
        if self.fleet is not None:
            self.fleet.start_workers(runtime)
        return runtime

    def tick(self, runtime: Runtime, now: datetime) -> TickResult:
        """Do everything that is due at `now`, by this process or by the fleet."""
        return tick(runtime, now) if self.fleet is None else self.fleet.tick(runtime, now)

    def play(self, runtime: Runtime) -> None:
        """Play the two weeks, tick by tick."""
        self._add_subscribers(runtime)
        arrivals = dict(_arrivals(find_sample_newsroom() / "content"))
        moments = {local(FIRST + timedelta(days=n), clock) for n in range(14) for clock in ("08:00", "09:00", "09:30")}
        moments |= {moment for moment, _ in arrivals.values()}
        for moment, text in arrivals.values():
            embargo = _EMBARGO.search(text)
            out = datetime.fromisoformat(embargo[1]).replace(tzinfo=ZONE).astimezone(UTC) if embargo else moment
            moments |= {out, out + timedelta(minutes=10)}
        events = self._events(runtime)
        moments |= set(events)
        for now in sorted(moments):
            runtime.set_clock(now)
            arrived = [name for name, (moment, _) in arrivals.items() if moment <= now]
            for name in arrived:
                (self.folder / "content" / name).write_text(arrivals.pop(name)[1], encoding="utf-8")
            if arrived:
                self.say(now, f"new files: {', '.join(arrived)}")
            if now in events:
                events[now](now)
            self._report(now, self.tick(runtime, now))

    def prepare_first_look(self, runtime: Runtime) -> None:
        """Let two editions wait for the visitor: one with a mistake to mend, and one to approve."""
        runtime.set_clock(local(LAST, "16:00"))
        shutil.copy(_FIRST_LOOK / "reports.yaml", self.folder / "schedules")
        loaded = load_newsroom(self.folder)
        if loaded.newsroom is None:
            raise AssertionError("\n".join(map(str, loaded.problems)))
        runtime.apply_configuration(loaded.newsroom)
        monday = LAST + timedelta(days=1)
        for number, moment in enumerate((local(LAST, "16:00"), local(LAST, "18:10"), *_hours(monday, 9, 11))):
            runtime.set_clock(moment)
            if number == 1:
                arrived = sorted(_FIRST_LOOK.glob("*.md"))
                for path in arrived:
                    shutil.copy(path, self.folder / "content")
                self.say(moment, f"new files: {', '.join(path.name for path in arrived)}")
            self._report(moment, self.tick(runtime, moment))

    def _add_subscribers(self, runtime: Runtime) -> None:
        start = local(FIRST, "07:00")
        runtime.set_clock(start)
        with runtime.store.write() as connection:
            for number in range(30):
                language = ("en", "ru", "kk")[number // 10]
                name = _NAMES[number % 10]
                address = f"{name.lower()}.{number:02}@example.org"
                subscribers.add(
                    connection,
                    LEAVER if number == 7 else address,
                    "digest",
                    language=language,
                    frequency="daily" if number % 5 == 4 else "weekly",
                    now=start,
                    name=name,
                    topics=[] if number % 3 == 0 else [_TOPICS[number % 6], _TOPICS[(number + 2) % 6]],
                    confirmed=True,
                    source="demo",
                )
                if number % 4 == 0:
                    subscribers.add(
                        connection,
                        address,
                        "press",
                        language=language,
                        frequency=runtime.newsroom.lists["press"].default_frequency,
                        now=start,
                        confirmed=True,
                        source="demo",
                    )
        self.say(
            start, "30 readers: 10 in English, 10 in Russian, 10 in Kazakh, with their own topics, weekly or daily"
        )

    def _events(self, runtime: Runtime) -> dict[datetime, Callable[[datetime], None]]:
        content = self.folder / "content"

        def forget_alt(now: datetime) -> None:
            _edit(content / "girls-code.en.md", r"^    alt: .*$", '    alt: ""')
            self.say(now, "an editor forgets the alt text of a picture in girls-code.en.md")

        def mend(now: datetime) -> None:
            shutil.copy(find_sample_newsroom() / "content" / "girls-code.en.md", content)
            self.tick(runtime, now)
            with runtime.store.read() as connection:
                held = editions.list_editions(connection, states=[EditionState.HELD])
            for edition in held:
                schedule = runtime.newsroom.schedules[edition.schedule]
                state = runtime.composer.recompose(edition, schedule, now, "an editor").state
                self.mended.append(edition.name)
                self.say(now, f"the editor adds the alt text and recomposes {edition.name}: {state.value}")

        def leave(now: datetime) -> None:
            mail = next(mail for mail in self.catcher.mails if mail.recipient == LEAVER)
            address = re.findall(r"<(https?://[^<>]+)>", str(mail.message["List-Unsubscribe"]))[0]
            self.leave(address)
            self.say(now, f"{LEAVER} clicks 'unsubscribe' in her mail program")

        def correct(now: datetime) -> None:
            for path in (find_sample_newsroom() / "content").glob("mobile-clinics.*.md"):
                shutil.copy(path, content)
            self.say(now, "mobile-clinics is corrected: 4,180 people, not 4,810")

        def withdraw(now: datetime) -> None:
            _edit(
                content / "intern-questions.en.md",
                r"^kind: .*$",
                "kind: story\nwithdrawn: The numbers need a second look.",
            )
            self.say(now, "intern-questions is withdrawn")

        return {
            local(date(2026, 9, 6), "12:00"): forget_alt,
            local(date(2026, 9, 7), "09:50"): mend,
            local(date(2026, 9, 7), "20:00"): leave,
            local(date(2026, 9, 8), "11:00"): correct,
            local(date(2026, 9, 10), "10:30"): withdraw,
        }

    def _report(self, now: datetime, ticked: TickResult) -> None:
        for composed in ticked.composed:
            edition = composed.edition
            if edition is None:
                continue
            if edition.holds:
                self.say(now, f"{edition.name} is HELD: {edition.holds[0].detail}")
            else:
                counts = ", ".join(f"{count} {state}" for state, count in sorted(ticked.delivered.items()))
                stories = count_noun(len(edition.stories), "story", "stories")
                self.say(now, f"{edition.name}: {stories}; {counts or 'nothing to send'}")

    def disagreements(self, runtime: Runtime) -> list[str]:
        """Return the differences between the ledger and the received messages, or an empty list."""
        return self._compare(runtime) if self.fleet is None else self.fleet.agree(lambda: self._compare(runtime))

    def _compare(self, runtime: Runtime) -> list[str]:
        with runtime.store.read() as connection:
            accepted = [entry for entry in ledger.entries(connection) if entry.state == "accepted"]
        mails = sorted(entry.address for entry in accepted if not entry.channel)
        posts = sorted(entry.channel for entry in accepted if entry.channel)
        problems = []
        if mails != sorted(mail.recipient for mail in self.catcher.mails):
            problems.append(f"the ledger has {len(mails)} accepted mails, the catcher {len(self.catcher.mails)}")
        if posts != sorted(post.channel for post in self.receiver.posts):
            problems.append(f"the ledger has {len(posts)} accepted posts, the receiver {len(self.receiver.posts)}")
        ids = [str(mail.message["Message-ID"]) for mail in self.catcher.mails]
        if len(ids) != len(set(ids)):
            problems.append("a message arrived twice")
        return problems


def _hours(day: date, first: int, last: int) -> list[datetime]:
    """Return every half hour from `first` to `last`."""
    start = local(day, f"{first:02}:00")
    return [start + n * timedelta(minutes=30) for n in range(2 * (last - first) + 1)]


def _arrivals(content: Path) -> Iterator[tuple[str, tuple[datetime, str]]]:
    """Yield (file name, (time of arrival, text)). The story that is corrected later arrives with its mistake."""
    for path in sorted(content.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        published = _PUBLISHED.search(text)
        assert published is not None
        moment = datetime.fromisoformat(published[1])
        if path.name.startswith("mobile-clinics"):
            text = re.sub(r"^(updated|correction): .*\n", "", text, flags=re.MULTILINE)
            text = text.replace("4,180", "4,810").replace("4180", "4810").replace("4 180", "4 810")
        yield path.name, (moment.replace(tzinfo=ZONE).astimezone(UTC), text)


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE), encoding="utf-8")


def new_secret() -> str:
    """Return a signing secret for the webhook."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()
