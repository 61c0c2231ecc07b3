"""WebSub from both ends: a third-party hub between the feed of one newsroom and the source of another."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import flask
import flask_websub.hub
import httpx
import pytest
from werkzeug.serving import make_server

from tests.cli.conftest import Run, run_in
from tests.fixtures.newsroom import MONDAY
from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.sources.site import Page, Story, Website, rss
from tests.web.server import served
from tidings.pipeline.collect.websub import LEASE
from tidings.runtime.newsroom import Runtime
from tidings.runtime.tick import tick
from tidings.store.content import websub
from tidings.store.content.websub import HubSubscription
from tidings.testing.http_sink import HttpSink, Step
from tidings.web.app import newsroom_app
from tidings.web.hooks.websub import MAX_BODY

__all__ = ["run_in"]

TOPIC = "https://www.example.org/en/feed.xml"


class ThreadedTasks:
    """Replaces Celery, which the hub needs: each task runs in its own thread."""

    def task(self, **_: Any) -> Callable[[Callable[..., None]], Any]:
        def made(work: Callable[..., None]) -> Any:
            def delay(*given: Any) -> None:
                threading.Thread(target=work, args=given, daemon=True).start()

            work.delay = delay  # type: ignore[attr-defined]
            return work

        return made


@contextmanager
def real_hub(path: Path) -> Iterator[str]:
    """Run Flask-WebSub's hub behind a real server."""
    tasks = ThreadedTasks()
    hub = flask_websub.hub.Hub(flask_websub.hub.SQLite3HubStorage(str(path)), tasks)
    # Celery would give the task an argument for retries. Nothing is retried here.
    once = hub.make_request_retrying
    hub.make_request_retrying = type("Task", (), {"delay": staticmethod(lambda *given: once.delay(None, *given))})
    app = flask.Flask("hub")
    app.config["PUBLISH_SUPPORTED"] = True
    app.register_blueprint(hub.build_blueprint(url_prefix="/hub"))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hub"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class LateApplication:
    """An application whose address is known before it exists."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def find_subscription(runtime: Runtime) -> HubSubscription | None:
    """Return the subscription of the only source."""
    with runtime.store.read() as connection:
        return next(iter(websub.load_subscriptions(connection).values()), None)


def wait_for_subscription(runtime: Runtime, holds: Callable[[HubSubscription], object]) -> HubSubscription:
    """Wait for the hub, which works in its own threads."""
    end = time.monotonic() + 120
    while True:
        subscription = find_subscription(runtime)
        if subscription is not None and holds(subscription):
            return subscription
        assert time.monotonic() < end, subscription
        time.sleep(0.01)


def at(folder: NewsroomFolder, url: str) -> None:
    main = (folder.root / "tidings.yaml").read_text()
    folder.write("tidings.yaml", main.replace("https://news.example.org/", url))


def test_a_new_story_is_reported_through_a_hub(tmp_path: Path, database_url: str) -> None:
    here, there = LateApplication(), LateApplication()
    with (
        served(here) as site,
        served(there) as ours,
        real_hub(tmp_path / "hub.db") as hub,
        make_newsroom_folder(tmp_path / "there", "sqlite:///tidings.db") as publisher,
        make_newsroom_folder(tmp_path / "here", database_url) as folder,
    ):
        at(publisher, site)
        main = (publisher.root / "tidings.yaml").read_text()
        channel = f"channels:\n  hub: {{type: websub, url: {hub}, allow_private: true}}\n"
        publisher.write("tidings.yaml", main.replace("channels:\n", channel, 1))
        publisher.write("content/one.en.md", item("One"))
        at(folder, ours)
        main = (folder.root / "tidings.yaml").read_text()
        feed = f"{{type: feed, url: {site}feeds/en/all.atom, language: en, every: 1h, allow_private: true}}"
        folder.write("tidings.yaml", f"{main}sources:\n  site: {feed}\n")
        with publisher.runtime() as writing, folder.runtime() as reading:
            here.app, there.app = newsroom_app(writing), newsroom_app(reading)
            tick(writing, MONDAY)
            for runtime in (writing, reading):
                runtime.set_clock(MONDAY)
            assert reading.fetch()["site"].new == 1
            assert reading.renew_hub_subscriptions() == 1
            wait_for_subscription(reading, lambda subscription: subscription.until == MONDAY + LEASE)
            writing.ping_hubs()
            publisher.write("content/two.en.md", item("Two"))
            soon = MONDAY + timedelta(minutes=5)
            for runtime in (writing, reading):
                runtime.set_clock(soon)
            assert reading.fetch() == {}  # it is not asked again within the hour
            tick(writing, soon)
            writing.ping_hubs()
            wait_for_subscription(reading, lambda subscription: subscription.called == soon)
            reading.set_clock(soon + timedelta(seconds=5))
            assert reading.fetch()["site"].new == 1
            assert reading.fetch() == {}
            assert reading.renew_hub_subscriptions() == 0


@pytest.fixture
def folder(tmp_path: Path, database_url: str) -> Iterator[NewsroomFolder]:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as made:
        yield made


@pytest.fixture
def site() -> Iterator[Website]:
    made = Website()
    yield made
    made.close()


def use_feed_source(folder: NewsroomFolder, site: Website, **settings: str) -> None:
    """Make the feed of a site the newsroom's source."""
    given = {"type": "feed", "url": f"{site.url}/feed", "language": "en", "allow_private": "true"} | settings
    written = ", ".join(f"{name}: {value}" for name, value in given.items())
    main = (folder.root / "tidings.yaml").read_text().partition("sources:")[0]
    folder.write("tidings.yaml", f"{main}sources:\n  site: {{{written}}}\n")


def name_hub(site: Website, *hubs: str, topic: str = TOPIC) -> None:
    """Name hubs in the Link header of the site."""
    links = ", ".join([*(f'<{hub}>; rel="hub"' for hub in hubs), f'<{topic}>; rel="self"'])
    story = Story("one", "One", published=MONDAY - timedelta(days=1), body=f"<p>{len(site.asked)}</p>")
    site.pages["/feed"] = Page(rss([story], site.url), headers={"Link": links})


def subscription_requests(hub: HttpSink) -> list[dict[str, str]]:
    return [{name: value[0] for name, value in parse_qs(request.body.decode()).items()} for request in hub.received]


def test_a_subscription_is_renewed_before_its_lease_ends(
    folder: NewsroomFolder, site: Website, run_in: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in folder.env.items():
        monkeypatch.setenv(name, value)
    use_feed_source(folder, site)
    with HttpSink([Step(202)]) as hub, folder.runtime() as runtime:
        name_hub(site, hub.url, "https://another-hub.example.org/")
        runtime.set_clock(MONDAY)
        runtime.fetch()
        assert runtime.renew_hub_subscriptions() == 1
        subscription = find_subscription(runtime)
        assert subscription is not None
        assert subscription_requests(hub) == [
            {
                "hub.mode": "subscribe",
                "hub.topic": TOPIC,
                "hub.callback": f"https://news.example.org/websub/{subscription.token}",
                "hub.secret": subscription.secret,
                "hub.lease_seconds": "864000",
            }
        ]
        assert len(subscription.token) >= 32
        assert len(subscription.secret) < 200  # §5.1
        assert runtime.renew_hub_subscriptions() == 0
        with served(newsroom_app(runtime)) as url:
            query = {
                "hub.mode": "subscribe",
                "hub.topic": TOPIC,
                "hub.challenge": "x" * 40,
                "hub.lease_seconds": "1000",
            }
            answer = httpx.get(f"{url}websub/{subscription.token}", params=query)
            assert (answer.status_code, answer.text) == (200, "x" * 40)
        assert (
            run_in(folder.root, "sources", "list").out.splitlines()[-1]
            == f"  notified of changes by {hub.url}, until Mon 2026-03-02 09:16"
        )
        for seconds, times in ((799, 0), (801, 1), (802, 0)):
            runtime.set_clock(MONDAY + timedelta(seconds=seconds))
            assert runtime.renew_hub_subscriptions() == times
        assert subscription_requests(hub)[1] == subscription_requests(hub)[0]


def test_a_failing_or_silent_hub_is_asked_later_each_time(folder: NewsroomFolder, site: Website) -> None:
    use_feed_source(folder, site)
    with HttpSink([Step(503), Step(reset="after"), Step(202)]) as hub, folder.runtime() as runtime:
        name_hub(site, hub.url)
        runtime.set_clock(MONDAY)
        runtime.fetch()
        problems = []
        for minutes in (0, 4, 5, 14, 15, 34, 35, 7 * 24 * 60):
            runtime.set_clock(MONDAY + timedelta(minutes=minutes))
            runtime.renew_hub_subscriptions()
            subscription = find_subscription(runtime)
            assert subscription is not None
            problems.append((len(hub.received), subscription.problem))
        counts = [count for count, _ in problems]
        assert counts == [1, 1, 2, 2, 3, 3, 4, 5]
        assert problems[0][1] == "the hub answered 503"
        assert "lost" in problems[2][1]
        assert subscription.due == MONDAY + timedelta(days=7, hours=1, minutes=20)


def test_another_hub_or_none_ends_the_former_subscription(folder: NewsroomFolder, site: Website) -> None:
    use_feed_source(folder, site)
    with HttpSink([Step(202)]) as hub, HttpSink([Step(202)]) as other, folder.runtime() as runtime:
        tokens = []
        named: list[tuple[str, ...]] = [(hub.url,), (other.url,), (), ("ftp://hub.example.org/",), ("http://[",)]
        for number, hubs in enumerate(named):
            name_hub(site, *hubs)
            runtime.set_clock(MONDAY + number * timedelta(hours=1))
            assert not runtime.fetch()["site"].problem
            runtime.renew_hub_subscriptions()
            subscription = find_subscription(runtime)
            tokens.append(subscription.token if subscription else "")
        assert len({*tokens}) == 3
        assert tokens[2:] == ["", "", ""]
        assert (len(hub.received), len(other.received)) == (1, 1)
        with served(newsroom_app(runtime)) as url:
            assert httpx.post(f"{url}websub/{tokens[0]}", content=b"x").status_code == 410


def test_a_removed_source_is_unsubscribed_at_the_hub(folder: NewsroomFolder, site: Website) -> None:
    use_feed_source(folder, site)
    with HttpSink([Step(202)]) as hub:
        name_hub(site, hub.url)
        with folder.runtime() as runtime:
            runtime.fetch()
            runtime.renew_hub_subscriptions()
            assert find_subscription(runtime) is not None
        main = (folder.root / "tidings.yaml").read_text().partition("sources:")[0]
        folder.write("tidings.yaml", main)
        with folder.runtime() as runtime:
            runtime.renew_hub_subscriptions()
            assert find_subscription(runtime) is None


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8025/", "http://localhost/", "http://[::1]/", "http://10.1.2.3/"]
)
def test_no_hub_is_asked_to_call_where_it_cannot(folder: NewsroomFolder, site: Website, address: str) -> None:
    at(folder, address)
    use_feed_source(folder, site)
    with HttpSink([Step(202)]) as hub:
        name_hub(site, hub.url)
        with folder.runtime() as runtime:
            runtime.fetch()
        use_feed_source(folder, site, allow_private="false")
        with folder.runtime() as runtime:
            assert runtime.renew_hub_subscriptions() == 0
        assert not hub.received


def test_a_hub_at_a_private_address_is_never_called(folder: NewsroomFolder, site: Website) -> None:
    """A feed may name any address as its hub."""
    use_feed_source(folder, site)
    with HttpSink([Step(202)]) as hub:
        name_hub(site, hub.url)
        with folder.runtime() as runtime:
            runtime.fetch()
        use_feed_source(folder, site, allow_private="false")
        with folder.runtime() as runtime:
            assert runtime.renew_hub_subscriptions() == 1
            subscription = find_subscription(runtime)
            assert subscription is not None
            assert "private address" in subscription.problem
        assert not hub.received


def signed(subscription: HubSubscription, body: bytes, method: str = "sha256", secret: str = "") -> dict[str, str]:
    digest = hmac.new((secret or subscription.secret).encode(), body, getattr(hashlib, method)).hexdigest()
    return {"X-Hub-Signature": f"{method}={digest}"}


def test_only_signed_calls_of_our_hub_have_an_effect(folder: NewsroomFolder, site: Website) -> None:
    use_feed_source(folder, site)
    with HttpSink([Step(202)]) as hub, folder.runtime() as runtime, served(newsroom_app(runtime)) as url:
        name_hub(site, hub.url)
        runtime.set_clock(MONDAY)
        runtime.fetch()
        runtime.renew_hub_subscriptions()
        subscription = find_subscription(runtime)
        assert subscription is not None
        address = f"{url}websub/{subscription.token}"

        def confirm(moment: datetime, to: str = address, **said: str) -> int:
            runtime.set_clock(moment)
            given = {"mode": "subscribe", "topic": TOPIC, "challenge": "c", "lease_seconds": "3600"} | said
            return httpx.get(to, params={f"hub.{name}": value for name, value in given.items()}).status_code

        body = b"<feed/>"
        assert (
            httpx.post(address, content=body, headers=signed(subscription, body)).status_code == 410
        )  # nothing is confirmed
        assert confirm(MONDAY, topic="https://www.example.org/other") == 404
        assert confirm(MONDAY, mode="unsubscribe") == 404
        assert confirm(MONDAY, mode="") == 404
        assert confirm(MONDAY, to=f"{url}websub/{'a' * 43}") == 404
        assert confirm(MONDAY + timedelta(hours=1, seconds=1)) == 404
        assert confirm(MONDAY, lease_seconds="-5") == 200
        assert confirm(MONDAY, lease_seconds="9" * 30) == 200
        assert find_subscription(runtime).until == MONDAY + LEASE  # type: ignore[union-attr]
        assert confirm(MONDAY) == 200
        for headers in (
            {},
            {"X-Hub-Signature": "sha256="},
            {"X-Hub-Signature": "md5=" + hashlib.md5(body, usedforsecurity=False).hexdigest()},
            {"X-Hub-Signature": "sha256=\u0437".encode("latin-1", "ignore").decode("latin-1")},
            signed(subscription, body + b" "),
            signed(subscription, body, secret="guessed"),
        ):
            assert httpx.post(address, content=body, headers=headers).status_code == 202
        assert find_subscription(runtime).called is None  # type: ignore[union-attr]
        many = b"x" * (MAX_BODY + 1)
        assert httpx.post(address, content=many, headers=signed(subscription, many)).status_code == 413
        assert httpx.post(f"{url}websub/{'a' * 43}", content=body).status_code == 410
        for number, method in enumerate(("sha1", "sha256", "sha384", "sha512")):
            runtime.set_clock(MONDAY + timedelta(seconds=number + 1))
            assert httpx.post(address, content=body, headers=signed(subscription, body, method)).status_code == 202
            assert find_subscription(runtime).called == runtime.now()  # type: ignore[union-attr]
        runtime.set_clock(MONDAY + timedelta(seconds=3601))
        assert httpx.post(address, content=body, headers=signed(subscription, body)).status_code == 410


def test_a_hub_may_refuse_and_is_asked_a_day_later(folder: NewsroomFolder, site: Website) -> None:
    use_feed_source(folder, site)
    with HttpSink([Step(202)]) as hub, folder.runtime() as runtime, served(newsroom_app(runtime)) as url:
        name_hub(site, hub.url)
        runtime.set_clock(MONDAY)
        runtime.fetch()
        runtime.renew_hub_subscriptions()
        subscription = find_subscription(runtime)
        assert subscription is not None
        query = {"hub.mode": "denied", "hub.topic": TOPIC, "hub.reason": "not\r\na customer"}
        assert httpx.get(f"{url}websub/{'a' * 43}", params=query).status_code == 404
        assert httpx.get(f"{url}websub/{subscription.token}", params=query).status_code == 200
        after = find_subscription(runtime)
        assert after is not None
        assert after.problem == "the hub refuses: not a customer"
        assert after.due == MONDAY + timedelta(days=1)


def test_calls_never_fetch_a_site_more_than_once_a_minute(folder: NewsroomFolder, site: Website) -> None:
    use_feed_source(folder, site)
    with HttpSink([Step(202)]) as hub, folder.runtime() as runtime:
        name_hub(site, hub.url)
        runtime.set_clock(MONDAY)
        runtime.fetch()
        runtime.renew_hub_subscriptions()
        subscription = find_subscription(runtime)
        assert subscription is not None
        for second in range(10, 150, 10):
            now = MONDAY + timedelta(seconds=second)
            runtime.set_clock(now)
            with runtime.store.write() as connection:
                websub.update_subscription(connection, subscription.token, called=now)
            runtime.fetch()
        assert len(site.asked) == 3
        site.pages["/feed"] = Page(b"", 503)
        for second in range(150, 400, 10):
            now = MONDAY + timedelta(seconds=second)
            runtime.set_clock(now)
            with runtime.store.write() as connection:
                websub.update_subscription(connection, subscription.token, called=now)
            runtime.fetch()
        assert len(site.asked) == 4
