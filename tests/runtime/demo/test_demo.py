"""`tidings demo --once` plays the two weeks that the README promises."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import typer
from fastapi import FastAPI

from tests.conftest import missing
from tests.fixtures.waiting import wait_until
from tests.web.server import served
from tidings.cli.demo import demo
from tidings.model.errors import InputError
from tidings.runtime.demo.demo import new_secret
from tidings.runtime.demo.fleet import DemoFleet
from tidings.runtime.demo.mail_catcher import MailCatcher
from tidings.runtime.demo.post_receiver import PostReceiver
from tidings.runtime.demo.servers import PrivatePostgres, PrivateRabbitMq, Watchman
from tidings.runtime.rehearsal.stand_ins import CatchAll
from tidings.web.app import create_app
from tidings.web.inbox import inbox_router


@pytest.mark.slow
@pytest.mark.needs_postgresql
def test_the_demo_of_a_fleet_ends_with_all_agreeing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three workers send the same as one process, with RabbitMQ and PostgreSQL, and no process stays."""
    if not PrivateRabbitMq.is_installed():
        missing("RabbitMQ")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(typer.Exit) as ended:
            demo(once=True, port=18300, fleet=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    output = capsys.readouterr().out
    assert ended.value.exit_code == 0, output
    assert "The ledger agrees with what arrived, all 124 messages." in output
    assert "3 workers sent them" in output
    log = (tmp_path / ".demo" / "workers.log").read_text()
    assert log.count("Warm shutdown") == 3 and "tidings.social" in log


_KILLED = """
import os, signal, sys
from tidings.runtime.demo.servers import PrivatePostgres, Watchman
server = PrivatePostgres()
server.start()
Watchman(f"touch {sys.argv[1]}")
print(server._folder, server.port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.needs_postgresql
def test_a_killed_demo_leaves_no_servers(tmp_path: Path) -> None:
    """`kill -9` of the demo left PostgreSQL running, and its folder in /tmp."""
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "seen")]
    killed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder, port = killed.stdout.split()
    wait_until(lambda: not Path(folder).exists() and (tmp_path / "seen").exists())
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) != 0


_KILLED_WITH_A_WORKER = """
import os, signal, sys
from tidings.runtime.demo.servers import Watchman, kill_group
Watchman(kill_group(int(sys.argv[1])))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_demo_leaves_no_workers() -> None:
    """The `kill` of Debian's sh refused `--`, so that workers and broker went on."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as worker:
        subprocess.run([sys.executable, "-c", _KILLED_WITH_A_WORKER, str(worker.pid)], check=False)
        assert worker.wait() == -signal.SIGKILL


def test_a_dismissed_watch_process_does_nothing(tmp_path: Path) -> None:
    watchman = Watchman(f"touch {tmp_path / 'seen'}")
    watchman.dismiss()
    assert not (tmp_path / "seen").exists()


def test_a_demo_without_a_broker_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tidings.runtime.demo.servers._find_program", lambda name: None)
    with pytest.raises(InputError, match=r"RabbitMQ is not installed.* apt install rabbitmq-server"):
        DemoFleet(tmp_path / "log")
    monkeypatch.undo()
    monkeypatch.setattr(PrivatePostgres, "find_programs", staticmethod(lambda: None))
    with pytest.raises(InputError, match=r"PostgreSQL is not installed.* apt install postgresql"):
        DemoFleet(tmp_path / "log")
    monkeypatch.undo()
    monkeypatch.setattr("tidings.runtime.demo.fleet.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'needs celery and psycopg. .* -m pip install "tidings\[cluster\]"'):
        DemoFleet(tmp_path / "log")


@pytest.mark.slow
def test_the_demo_ends_with_ledger_and_catcher_agreeing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    with pytest.raises(typer.Exit) as ended:
        demo(once=True, port=18200)
    assert ended.value.exit_code == 0
    output = capsys.readouterr().out
    assert "The ledger agrees with what arrived" in output
    assert "HELD" in output
    assert "recomposes daily/5: sending" in output
    assert "clicks 'unsubscribe'" in output
    assert "reports/1 is HELD: waits for editor@example.org" in output and "daily/10 is HELD" in output
    assert re.search(r"the comms room opens at http://127\.0\.0\.1:\d+/room/", output)
    weekly = [line for line in output.splitlines() if re.match(r"\s*weekly/[12]\s+digest", line)]
    assert [re.findall(r"\d+", line)[2:5] for line in weekly] == [["8", "8", "8"], ["7", "8", "8"]]
    public = tmp_path / ".demo" / "newsroom" / "public"
    assert "4,180" in (public / "en" / "mobile-clinics" / "index.html").read_text(encoding="utf-8")
    assert "withdrawn" in (public / "en" / "intern-questions" / "index.html").read_text(encoding="utf-8")


def test_the_inbox_shows_a_mail_in_a_sandbox_without_scripts(tmp_path: Path) -> None:
    from smtplib import SMTP

    from tests.render.mail.samples import document, many, message
    from tidings.model.edition import Selection
    from tidings.store.engine import Store

    items = many(3)
    raw = message(document(items, template="digest"), Selection("en", items[0], tuple(items[1:])))
    store = Store("sqlite:///x.db", tmp_path)
    with MailCatcher() as catcher, PostReceiver(new_secret()) as receiver:
        with SMTP("127.0.0.1", catcher.port) as smtp:
            smtp.sendmail("news@example.org", ["reader@example.org"], raw)
        app = create_app(store, tmp_path, routers=[inbox_router(catcher, receiver, "https://news.example.org/")])
        with served(app) as url:
            assert "reader@example.org" in httpx.get(f"{url}inbox/").text
            page = httpx.get(f"{url}inbox/1?view=html&width=narrow&light=dark")
            assert "<script" not in page.text
            assert 'sandbox src="1/html"' in page.text
            mail = httpx.get(f"{url}inbox/1/html")
            assert mail.headers["content-security-policy"].startswith("sandbox")
            assert "List-Unsubscribe" in httpx.get(f"{url}inbox/1?view=source").text
            assert httpx.get(f"{url}inbox/2").status_code == 404
            assert httpx.get(f"{url}inbox/1?view=x").status_code == 404
    store.close()


def test_the_receiver_refuses_an_unsigned_post() -> None:
    with PostReceiver(new_secret()) as receiver:
        answer = httpx.post(receiver.url("desk"), json={"data": {}})
        assert answer.status_code == 401
        assert not receiver.posts


def test_the_inbox_shows_the_text_of_a_notice(tmp_path: Path) -> None:
    from smtplib import SMTP

    link = "https://x.example/?a=1&b=2"
    webhook = {"type": "post", "data": {"title": "T", "items": [{"title": "One & two", "url": link}]}}
    slack = {"text": "T", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*Bold* news"}}]}
    with MailCatcher() as catcher:
        with SMTP("127.0.0.1", catcher.port) as smtp:
            smtp.sendmail("a@example.org", ["b@example.org"], b"Subject: Held\r\n\r\nweekly/1 is <held>.\r\n")
        caught = CatchAll(catcher.port)
        caught.keep(("desk", json.dumps(webhook).encode(), json.dumps(webhook)))
        caught.keep(("team", json.dumps(slack).encode(), "Bold news"))
        caught.keep(("toots", b"status=Hi", "Hi, https://x.example/1"))
        app = FastAPI()
        app.include_router(inbox_router(catcher, caught, "https://news.example.org/"))
        with served(app) as url:
            page = httpx.get(f"{url}inbox/1").text.partition("</head>")[2]
            assert "weekly/1 is &lt;held&gt;." in page and "iframe" not in page
            posts = httpx.get(f"{url}inbox/posts").text
            assert httpx.get(f"{url}inbox").headers["location"] == "/inbox/"
    assert '<a href="https://x.example/?a=1&amp;b=2" rel="noreferrer">' in posts and "*Bold* news</p>" in posts
    assert "Hi, <a href=" in posts


def test_the_inbox_names_a_list_in_the_mails_language(tmp_path: Path) -> None:
    from smtplib import SMTP

    from tidings.config.settings import MailingList

    name = {"en": "News digest", "ar": "نشرة الأخبار"}
    news = MailingList.model_validate({"name": name, "from": "News <news@example.org>"})
    mail = "List-Id: News digest <digest.example.org>\r\nContent-Language: ar\r\nSubject: x\r\n\r\nx\r\n"
    with MailCatcher() as catcher:
        with SMTP("127.0.0.1", catcher.port) as smtp:
            smtp.sendmail("a@example.org", ["b@example.org"], mail.encode())
        for lists, shown in (({"digest": news}, name["ar"]), ({}, name["en"])):
            app = FastAPI()
            app.include_router(inbox_router(catcher, CatchAll(catcher.port), "https://news.example.org/", lists))
            with served(app) as url:
                page = httpx.get(f"{url}inbox/").text
            assert f'<bdi lang="ar">{shown}</bdi>' in page
            # A table with six columns is cut off on a phone.
            assert "<table" not in page
