"""`tidings demo`: the sample newsroom through a fortnight, told as it happens, and served at the end."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from rich.console import Console
from rich.table import Table

from tidings.net import GuardedSession
from tidings.runtime.demo.demo import ZONE, Demo, new_secret
from tidings.runtime.demo.mail_catcher import MailCatcher
from tidings.runtime.demo.post_receiver import PostReceiver
from tidings.runtime.newsroom import Runtime
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.people import subscribers
from tidings.web.app import newsroom_app
from tidings.web.inbox import inbox_router

FOLDER = Path(".demo") / "newsroom"


def run_demo(console: Console, *, once: bool, port: int) -> int:
    """Play it, print what went where, and serve the result until Ctrl-C; returns the exit code."""
    console.print("A fortnight in the sample newsroom. Mail goes to a catcher on this machine, and nowhere else.\n")
    secret = new_secret()
    listener = _listener(port)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def say(now: datetime, text: str) -> None:
        console.print(f"[dim]{now.astimezone(ZONE):%a %d %b %H:%M}[/]  {_escaped(text)}")

    def leave(address: str) -> None:
        session = GuardedSession(allow_private=True)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = session.post(base + urlsplit(address).path, b"List-Unsubscribe=One-Click", form)
        if answer.status != 200:
            raise AssertionError(f"leaving was answered with {answer.status}")

    with MailCatcher() as catcher, PostReceiver(secret) as receiver:
        demo = Demo(FOLDER.resolve(), catcher, receiver, secret, say, leave)
        with demo.prepare() as runtime:
            app = newsroom_app(runtime, extra=[inbox_router(catcher, receiver, runtime.newsroom.site.url)])
            server = uvicorn.Server(
                uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
            )
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            demo.play(runtime)
            _show(console, runtime, demo)
            wrong = demo.disagreements(runtime)
            for line in wrong:
                console.print(f"[bold]The ledger and what arrived differ:[/] {line}")
            if not wrong:
                count = len(catcher.mails) + len(receiver.posts)
                console.print(f"\nThe ledger and what arrived agree to the last of {count} messages.")
            if not once and not wrong:
                _serve(console, base)
            server.should_exit = True
            thread.join(timeout=5)
    return 1 if wrong else 0


def _show(console: Console, runtime: Runtime, demo: Demo) -> None:
    table = Table(
        title="\nWhat went where, and why the rest did not", title_justify="left", title_style="bold", box=None
    )
    for column in ("edition", "to", "stories", "en", "ru", "kk", "not sent, and why"):
        table.add_column(column, justify="right" if column in ("stories", "en", "ru", "kk") else "left")
    with runtime.store.read() as connection:
        people = {
            one.address: one.language
            for name in runtime.newsroom.lists
            for one in subscribers.subscriptions(connection, list_name=name)
        }
        for edition in editions.list_editions(connection):
            entries = list(ledger.entries(connection, edition=edition.name))
            for outlet in dict.fromkeys(entry.list or entry.channel for entry in entries):
                mine = [entry for entry in entries if (entry.list or entry.channel) == outlet]
                sent = Counter(people.get(entry.address, "en") for entry in mine if entry.state == "accepted")
                skipped = Counter(
                    (entry.reason or entry.state).replace("_", " ") for entry in mine if entry.state != "accepted"
                )
                table.add_row(
                    edition.name,
                    outlet,
                    str(len(edition.stories)),
                    *(str(sent[language] or "") for language in ("en", "ru", "kk")),
                    ", ".join(f"{count} {reason}" for reason, count in skipped.items()),
                )
    console.print(table)
    mails, posts = len(demo.catcher.mails), len(demo.receiver.posts)
    console.print(f"\n{mails} mails in the catcher, {posts} posts at the receiver.")


def _serve(console: Console, base: str) -> None:
    console.print(f"\nThe newsroom's pages and feeds:  {base}/")
    console.print(f"The inbox, to read every mail:    {base}/inbox/")
    console.print("Stop with Ctrl-C.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("\nGoodbye.")


def _listener(port: int) -> socket.socket:
    for candidate in (*range(port, port + 20), 0):
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError:
            continue
    raise AssertionError("no port is free")


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
