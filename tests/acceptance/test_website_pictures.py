"""Pictures of a website: mails and pages show our copies, and fetching pictures delays nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fixtures.newsroom_folder import NewsroomFolder, make_newsroom_folder
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import wait_until
from tests.runtime.test_service import running, stop
from tests.sources.site import Page, Story, Website, rss
from tests.sources.test_pictures import drawn
from tidings.model.item import Item
from tidings.pipeline.collect import fetch
from tidings.pipeline.collect.sweep import collect
from tidings.runtime.backup.backup import make_backup
from tidings.runtime.check import check_newsroom
from tidings.runtime.init import init_newsroom
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.preview import make_picture_localiser
from tidings.runtime.tick import tick
from tidings.sources.article import Article, ArticlePicture
from tidings.sources.web import push
from tidings.store.content.fetch_cache import StoredFetchCache
from tidings.store.content.items import load_items
from tidings.store.people import subscribers

START = datetime(2026, 3, 2, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NINE = START + timedelta(hours=3)
"""The time of the digest in Almaty."""
SOURCES = """\
sources:
  site: {type: feed, url: BASE/feed, language: en, every: 1m, allow_private: true}
  cms: {type: push, token: a token of sixteen, allow_private: true}
"""
DAILY = 'cadence: {daily: "09:00"}\nselect: {max_items: 9}\ndeliver:\n  - {list: digest, frequency: daily}\n'


@dataclass
class Paper:
    """A running newsroom with one reader, and the website that it reads."""

    folder: NewsroomFolder
    site: Website
    runtime: Runtime

    def tell(self, *stories: Story) -> None:
        self.site.pages["/feed"] = Page(rss(list(stories), self.site.url))

    def live(self, now: datetime, *, pictures: bool = True) -> None:
        """Fetch once and tick."""
        self.runtime.set_clock(now)
        self.runtime.fetch()
        if pictures:
            self.runtime.fetch_pictures()
        tick(self.runtime, now)

    def items(self) -> list[Item]:
        with self.runtime.store.read() as connection:
            return load_items(connection)

    def public(self) -> dict[str, str]:
        root = self.runtime.newsroom.public
        files = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
        }

    def mail(self) -> str:
        """Return the HTML of the reader's only mail."""
        [mail] = [each for each in self.folder.mails.received if each.recipient == "reader@example.org"]
        part = mail.message.get_body(("html",))
        assert part is not None
        return str(part.get_content())

    def media(self) -> list[str]:
        return [name.rpartition("/")[2] for name in self.public() if name.startswith("media/")]


@pytest.fixture
def paper(tmp_path: Path, database_url: str) -> Iterator[Paper]:
    site = Website()
    site.pages["/well.png"] = Page(drawn())
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        folder.write("schedules/daily.yaml", DAILY)
        main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
        folder.write("tidings.yaml", main + SOURCES.replace("BASE", site.url))
        with folder.runtime() as runtime:
            made = Paper(folder, site, runtime)
            made.tell(Story("old", "Old", published=START - DAY))
            made.live(START)
            with runtime.store.write() as connection:
                subscribers.add(
                    connection, "reader@example.org", "digest", language="en", frequency="daily", now=START,
                    confirmed=True,
                )  # fmt: skip
            yield made
    site.close()


def well(name: str = "well", alt: str = "A well in a yard") -> Story:
    body = f'<p>Text.</p><img src="/{name}.png" alt="{alt}">'
    return Story(name, f"The {name}", body, START + MINUTE)


def test_mails_pages_and_feeds_show_our_copies(paper: Paper) -> None:
    paper.tell(well())
    paper.live(START + 5 * MINUTE)
    [item] = [item for item in paper.items() if item.title == "The well"]
    src = item.images[0].src
    assert re.fullmatch(r"https://news\.example\.org/media/[0-9a-f]{16}/well\.png", src)
    served = paper.runtime.newsroom.public / src.removeprefix("https://news.example.org/")
    assert served.read_bytes() == paper.site.pages["/well.png"].body
    for name in (f"en/{item.slug}/index.html", "feeds/en/all.rss", "feeds/en/all.atom", "feeds/en/all.json"):
        text = (paper.runtime.newsroom.public / name).read_text(encoding="utf-8")
        assert "well.png" in text, name
        assert f"{paper.site.url}/well.png" not in text, name
    before, asked = paper.public(), len(paper.site.asked)
    paper.live(START + 5 * MINUTE)
    assert paper.public() == before
    with paper.folder.runtime() as other:
        other.set_clock(START + 5 * MINUTE)
        assert (other.fetch(), other.fetch_pictures()) == ({}, {})
        collected = tick(other, START + 5 * MINUTE).collected
        assert collected is not None
        assert not collected.has_changes
    assert paper.public() == before
    assert len(paper.site.asked) == asked
    paper.live(NINE)
    [tag] = re.findall(r"<img[^>]*well\.png[^>]*>", paper.mail())
    assert f'src="{src}"' in tag
    assert 'alt="A well in a yard"' in tag
    assert 'width="600" height="450"' in tag  # the width of a lead, and the height that its 40 x 30 pixels give


def test_a_later_picture_does_not_make_an_item_new(paper: Paper) -> None:
    paper.tell(well())
    paper.live(START + 5 * MINUTE, pictures=False)
    [link] = [item for item in paper.items() if item.title == "The well"]
    assert link.images[0].src == f"{paper.site.url}/well.png"
    feed = (paper.runtime.newsroom.public / "feeds/en/all.atom").read_text(encoding="utf-8")
    paper.live(NINE, pictures=False)
    sent = len(paper.folder.mails.received)
    paper.live(NINE + MINUTE)
    [ours] = [item for item in paper.items() if item.title == "The well"]
    assert ours.images[0].width == 40
    assert (ours.id, ours.changed, ours.updated, ours.out_at) == (link.id, link.changed, link.updated, link.out_at)
    after = (paper.runtime.newsroom.public / "feeds/en/all.atom").read_text(encoding="utf-8")
    assert re.findall(r"<updated>.*?</updated>", after) == re.findall(r"<updated>.*?</updated>", feed)
    assert after != feed
    paper.live(NINE + DAY)
    assert len(paper.folder.mails.received) == sent


def test_only_pictures_of_published_items_are_served(paper: Paper) -> None:
    cache = StoredFetchCache(paper.runtime.store, "cms")
    now = START + 5 * MINUTE
    shown = ArticlePicture(src=f"{paper.site.url}/well.png", alt="A well in a yard")
    push.put(cache, "1", Article(title="One", html="<p>Text.</p>", embargo=now + DAY, images=(shown,)), now)
    paper.live(now)
    assert (paper.folder.root / ".pictures" / "cms").is_dir()
    assert paper.media() == []
    paper.live(now + DAY)
    assert paper.media() == ["well.png"]
    push.withdraw(cache, "1", "By mistake.", now + DAY)
    paper.live(now + DAY + 5 * MINUTE)
    assert paper.media() == []
    assert list((paper.folder.root / ".pictures" / "cms").iterdir()) == []


def test_pictures_stay_while_many_items_seem_gone(paper: Paper) -> None:
    store, now = paper.runtime.store, START + 5 * MINUTE
    cache = StoredFetchCache(store, "cms")
    shown = ArticlePicture(src=f"{paper.site.url}/well.png", alt="A well in a yard")
    for number in range(4):
        push.put(cache, str(number), Article(title=f"Story {number}", html="<p>Text.</p>", images=(shown,)), now)
    paper.live(now)
    before = paper.public()
    cache.save(cache.version(), {}, [replace(entry, gone=True) for entry in cache.items()])
    for minute in range(1, 4):
        paper.live(now + minute * MINUTE)
    assert paper.public() == before
    assert len(list((paper.folder.root / ".pictures" / "cms").iterdir())) == 1
    tick(paper.runtime, now + 5 * MINUTE, accept=True)
    paper.live(now + 6 * MINUTE)
    assert paper.media() == []
    assert list((paper.folder.root / ".pictures" / "cms").iterdir()) == []


def test_a_missing_alt_text_holds_the_mail_until_added(paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in paper.folder.env.items():
        monkeypatch.setenv(name, value)
    paper.tell(well(alt=""))
    paper.live(START + 5 * MINUTE)
    [problems] = [problem for problem in check_newsroom(paper.folder.root) if problem.level == "error"]
    assert "the picture well.png has no alt text: mail with it is held" in problems.message
    match = re.search(r"in (content/overlay/\S+\.yaml), under `alt`, after (\S+)", problems.mend)
    assert match is not None
    paper.live(NINE)
    assert not any(each.recipient == "reader@example.org" for each in paper.folder.mails.received)
    paper.folder.write(match[1], f'alt: {{"{match[2]}": A well in a yard}}\n')
    assert [problem for problem in check_newsroom(paper.folder.root) if "alt" in problem.message] == []
    paper.live(NINE + DAY)
    assert 'alt="A well in a yard"' in paper.mail()


def test_fetching_pictures_ends_in_time(paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SECONDS", 0.0)
    former = paper.folder.root / ".pictures" / "former"
    former.mkdir(parents=True)
    paper.tell(well())
    paper.live(START + 5 * MINUTE)
    assert not any(path == "/well.png" for path, _, _ in paper.site.asked)
    assert not former.exists()


@pytest.mark.slow
def test_the_service_fetches_pictures(tmp_path: Path) -> None:
    site = Website()
    site.pages["/well.png"] = Page(drawn())
    site.pages["/feed"] = Page(rss([well()], site.url))
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
        web = f"web: {{port: {free_port()}}}\n"
        folder.write("tidings.yaml", main + web + SOURCES.replace("BASE", site.url))
        with running(folder, tmp_path / "log") as process:
            wait_until(lambda: any((folder.root / "public").glob("media/*/well.png")))
            assert stop(process) < 30
    site.close()
    assert "source site: pictures, 1 new" in (tmp_path / "log").read_text(encoding="utf-8")


def test_backups_and_git_ignore_the_pictures(paper: Paper, tmp_path: Path) -> None:
    paper.tell(well())
    paper.live(START + 5 * MINUTE)
    [kept] = (paper.folder.root / ".pictures" / "site").iterdir()
    made = make_backup(paper.folder.root, tmp_path / "b.tar.gz", lambda *_: None, paper.folder.env)
    assert not any(".pictures" in name or kept.name in name for name in made.manifest.members)
    assert ".pictures/" in (init_newsroom(tmp_path / "new") / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_a_preview_shows_pictures_before_publishing(paper: Paper) -> None:
    paper.tell(well())
    paper.runtime.set_clock(START + 2 * MINUTE)
    paper.runtime.fetch(force=True)
    paper.runtime.fetch_pictures()
    collect(paper.runtime.store, paper.runtime.sources, now=START + 2 * MINUTE, url="https://news.example.org/")
    page = b'<img src="%s"><img src="https://news.example.org/media/0123456789abcdef/other.png">'
    [ours] = [image.src for item in paper.items() for image in item.images]
    assert ours.startswith("https://news.example.org/media/")
    shown = make_picture_localiser(paper.runtime)(page % ours.encode()).decode()
    match = re.match(r'<img src="file://([^"]+)">', shown)
    assert match is not None and Path(match[1]).read_bytes() == drawn()
    assert shown.endswith('<img src="https://news.example.org/media/0123456789abcdef/other.png">')
