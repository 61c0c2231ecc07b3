"""The sample newsroom as a whole: the feed validator and html-validate find no error."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urljoin

import feedparser
import pytest
from lxml import html

from tests.conftest import missing, require_program
from tests.render.feeds.feed_rules import problems, xml_problems
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.publish.archive import publish_archive
from tidings.pipeline.publish.publish import publish
from tidings.render.urls import FORMATS
from tidings.runtime.init import find_sample_newsroom
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.store.content.items import load_items

NOW = datetime(2026, 9, 9, 12, tzinfo=UTC)
SITE = "https://news.example.org/"
TOOLS = Path(__file__).parents[2] / "tools" / "node_modules"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample")
    for name in ("tidings.yaml", "content", "schedules", "templates"):
        source = find_sample_newsroom() / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    loaded = load_newsroom(root)
    assert loaded.newsroom is not None, loaded.problems
    with Runtime(loaded.newsroom) as runtime:
        collect(runtime.store, runtime.sources, now=NOW, url=SITE)
        publish(runtime.store, loaded.newsroom, now=NOW)
        publish_archive(runtime.store, loaded.newsroom, now=NOW)
        again = publish(runtime.store, loaded.newsroom, now=NOW, force=True, processes=2)
        assert again.written == () and again.removed == ()
        with runtime.store.read() as connection:
            wanted = {
                item.id: item
                for item in load_items(connection, language="ru")
                if item.is_out(NOW) and item.kind != "note"
            }
    for ending in ("rss", "atom"):
        parsed = feedparser.parse((root / f"public/feeds/ru/all.{ending}").read_bytes())
        read = {
            entry.id: (entry.title, entry.link, datetime(*entry.published_parsed[:6], tzinfo=UTC))
            for entry in parsed.entries
        }
        assert read == {key: (item.title, item.url, item.published) for key, item in wanted.items()}
    return root / "public"


def test_every_feed_is_clean_to_the_validator(public: Path) -> None:
    feeds = [path for path in public.glob("feeds/*/**/*.*") if path.suffix.removeprefix(".") in FORMATS]
    assert len(feeds) > 27
    assert len([path for path in feeds if path.parent.parent.name == "feeds"]) == 27
    for path in feeds:
        name = path.relative_to(public).as_posix()
        kind = FORMATS[path.suffix.removeprefix(".")] + "; charset=utf-8"
        assert problems(path.read_bytes(), SITE + name, kind) == [], name


def test_every_other_xml_is_clean(public: Path) -> None:
    others = [path for path in public.rglob("*.*") if path.suffix in (".opml", ".xml")]
    assert {path.name for path in others} == {"feeds.opml", "sitemap.xml"}
    for path in others:
        assert xml_problems(path.read_bytes(), SITE) == [], path.name


def test_every_page_is_clean_to_html_validate(public: Path, tmp_path: Path) -> None:
    node = require_program("node")
    program = TOOLS / "html-validate" / "bin" / "html-validate.mjs"
    if not program.is_file():
        missing("html-validate")
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"root": True, "extends": ["html-validate:recommended"]}))
    pages = [str(path) for path in public.rglob("*.html")]
    assert len(pages) > 40
    done = subprocess.run(
        [node, str(program), "--config", str(rules), *pages], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_of_ours_leads_to_a_file(public: Path) -> None:
    for page in public.rglob("*.html"):
        if page.name == "404.html":
            continue
        here = "http://here/" + page.relative_to(public).as_posix()
        document = html.document_fromstring(page.read_bytes())
        for element in document.xpath("//*[@href or @src]"):
            target = urljoin(here, element.get("href") or element.get("src")).partition("#")[0].partition("?")[0]
            target = target.replace(SITE, "http://here/")
            if target.startswith("http://here/"):
                path = public / unquote(target.removeprefix("http://here/"))
                if path.is_relative_to(public / "subscribe"):
                    continue  # the service answers this one: tests/web/site/test_subscribe.py
                assert (path / "index.html").is_file() or path.is_file(), (page, target)
