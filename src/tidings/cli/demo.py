"""`demo`: play two weeks of the sample newsroom, report as it happens, and serve the result."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvicorn

from tidings.cli.session import console, format_counts, make_table, say
from tidings.model.plurals import count_noun
from tidings.net import GuardedSession
from tidings.runtime.demo.demo import EDITOR, ZONE, Demo, new_secret
from tidings.runtime.demo.fleet import WORKERS, DemoFleet
from tidings.runtime.demo.mail_catcher import MailCatcher
from tidings.runtime.demo.post_receiver import PostReceiver
from tidings.runtime.newsroom import Runtime
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.people import subscribers
from tidings.web.app import newsroom_app
from tidings.web.inbox import inbox_router
from tidings.web.room.demo import demo_room_router

_EVERY = 2.0
"""Seconds between two ticks while the result is served."""
FOLDER = Path(".demo") / "newsroom"
LANGUAGES = ("en", "ru", "kk")


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit at the end instead of serving the result.")] = False,
    port: Annotated[int, typer.Option("--port", help="Where to serve. If it is taken, the next free one.")] = 8080,
    fleet: Annotated[
        bool, typer.Option("--fleet", help="Send by three workers, on a private RabbitMQ and PostgreSQL.")
    ] = False,
) -> None:
    """Play two weeks of the sample newsroom on this machine.

    Mail and posts are sent for real, to a mail catcher and a receiver.
    """
    with _open_fleet() if fleet else nullcontext() as workers:
        differences = _play(once, port, workers)
    raise typer.Exit(1 if differences else 0)


@contextmanager
def _open_fleet() -> Iterator[DemoFleet]:
    """Start the servers of the fleet. They are stopped on SIGTERM too."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    log = FOLDER.with_name("workers.log")
    with DemoFleet(log.resolve()) as fleet:
        say(f"PostgreSQL, RabbitMQ and {WORKERS} workers run on this machine. The log of the workers: {log}")
        yield fleet


def _play(once: bool, port: int, fleet: DemoFleet | None) -> list[str]:
    """Play, and serve the result unless `once`. Returns differences between the ledger and the received messages."""
    say("Two weeks in the sample newsroom. All mail goes to a mail catcher on this machine.\n")
    secret = new_secret()
    listener = _listen(port)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def report(now: datetime, text: str) -> None:
        say(f"{now.astimezone(ZONE):%a %d %b %H:%M}  {text}")

    def unsubscribe(url: str) -> None:
        http = GuardedSession(allow_private=True)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = http.post(base + urlsplit(url).path, b"List-Unsubscribe=One-Click", form)
        if answer.status != 200:
            raise AssertionError(f"unsubscribing was answered with {answer.status}")

    with MailCatcher() as catcher, PostReceiver(secret) as receiver:
        sample = Demo(FOLDER.resolve(), catcher, receiver, secret, report, unsubscribe, fleet)
        with sample.prepare() as runtime:
            site = runtime.newsroom.site
            inbox = inbox_router(catcher, receiver, site.url, runtime.newsroom.lists, site.timezone)
            app = newsroom_app(runtime, extra=[inbox, demo_room_router(runtime, EDITOR)])
            server = uvicorn.Server(
                uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
            )
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            sample.play(runtime)
            sample.prepare_first_look(runtime)
            _print_deliveries(runtime)
            mails, posts = len(catcher.mails), len(receiver.posts)
            say(f"\n{count_noun(mails, 'mail')} in the catcher, {count_noun(posts, 'post')} at the receiver.")
            differences = sample.disagreements(runtime)
            for line in differences:
                say(f"The ledger and what arrived differ: {line}")
            if not differences:
                say(f"\nThe ledger agrees with what arrived, all {count_noun(mails + posts, 'message')}.")
                if fleet is not None:
                    say(f"{WORKERS} workers sent them. The broker and the database end with the demo.")
                if fleet is None or not once:
                    say(f"Look into this newsroom: tidings status -C {FOLDER}")
                if once:
                    say(f"Without --once, the comms room opens at {base}/room/")
                else:
                    _serve(sample, runtime, base)
            server.should_exit = True
            thread.join(timeout=5)
    return differences


def _print_deliveries(runtime: Runtime) -> None:
    columns = ("edition", "to", "stories", *LANGUAGES, "not sent, and why")
    table = make_table("\nWhat went where, and why the rest did not", *columns)
    for column in table.columns[2:-1]:
        column.justify = "right"
    with runtime.store.read() as connection:
        language_of = {
            subscription.address: subscription.language
            for name in runtime.newsroom.lists
            for subscription in subscribers.subscriptions(connection, list_name=name)
        }
        for edition in editions.list_editions(connection):
            entries = list(ledger.entries(connection, edition=edition.name))
            for outlet in dict.fromkeys(entry.list or entry.channel for entry in entries):
                mine = [entry for entry in entries if (entry.list or entry.channel) == outlet]
                sent = Counter(language_of.get(entry.address, "en") for entry in mine if entry.state == "accepted")
                skipped = Counter(entry.reason or entry.state for entry in mine if entry.state != "accepted")
                counts = (str(sent[language] or "") for language in LANGUAGES)
                table.add_row(edition.name, outlet, str(len(edition.stories)), *counts, format_counts(skipped, ""))
    console().print(table)


def _serve(sample: Demo, runtime: Runtime, base: str) -> None:
    """Serve until Ctrl-C. The newsroom's clock runs on, so that editions that are released in the room are sent."""
    say(f"\nThe comms room, as a demo editor:  {base}/room/   two editions wait for you")
    say(f"The newsroom's pages and feeds:    {base}/")
    say(f"The inbox, to read every mail:     {base}/inbox/")
    say("Stop with Ctrl-C.")
    start, began = runtime.now(), time.monotonic()
    try:
        while True:
            time.sleep(_EVERY)
            now = start + timedelta(seconds=time.monotonic() - began)
            runtime.set_clock(now)
            sample.tick(runtime, now)
    except KeyboardInterrupt:
        say("\nGoodbye.")


def _listen(port: int) -> socket.socket:
    for candidate in (*range(port, port + 20), 0):
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError:
            continue
    raise AssertionError("no port is free")
