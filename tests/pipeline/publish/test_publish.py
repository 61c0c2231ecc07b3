"""public/ holds exactly the files that readers may see. Each file is replaced as a whole."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from lxml import etree
from PIL import Image
from sqlalchemy import delete

from tests.fixtures.items import make_newsroom, media_file, put
from tests.render.feeds.feed_rules import ATOM, problems
from tests.render.samples import START, item
from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.model.item import Attachment, Item
from tidings.pipeline.publish.publish import KEPT, publish
from tidings.pipeline.publish.writing import PublishResult
from tidings.render.pages.pages import PageContext, Pages
from tidings.render.site_views import Translation
from tidings.render.urls import FORMATS
from tidings.store import schema as t
from tidings.store.content.editions import freeze_document
from tidings.store.content.items import mark_back, mark_gone
from tidings.store.content.site_files import PublishedFile, keep_media, load_files, save_files
from tidings.store.engine import Store

NOW = START + timedelta(days=60)
HOUR = timedelta(hours=1)


@pytest.fixture
def newsroom(tmp_path: Path) -> Newsroom:
    return make_newsroom(tmp_path)


def tree(public: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file with its bytes and its time."""
    return {
        path.relative_to(public).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(public.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def documents(store: Store) -> dict[str, PublishedFile]:
    with store.read() as connection:
        return load_files(connection)


def titles(newsroom: Newsroom, feed: str) -> list[str]:
    return [each["title"] for each in json.loads((newsroom.public / f"feeds/{feed}.json").read_bytes())["items"]]


def updated(newsroom: Newsroom, feed: str = "en/all") -> str:
    return etree.parse(newsroom.public / f"feeds/{feed}.atom").findtext(f"{ATOM}updated") or ""


def gone(store: Store, one: Item, now: datetime) -> None:
    from tidings.store.content.items import advance_version, items_version

    with store.write() as connection:
        mark_gone(connection, [one.id], now)
        advance_version(connection, items_version(connection))


def test_a_second_publish_changes_nothing(store: Store, newsroom: Newsroom) -> None:
    put(store, *(item(number) for number in range(1, 5)))
    first = publish(store, newsroom, now=NOW)
    before, rows = tree(newsroom.public), documents(store)
    assert len(first.written) == len(rows) > 20
    for force in (False, True):
        again = publish(store, newsroom, now=NOW + timedelta(days=500), force=force)
        assert again == PublishResult(unchanged=len(rows))
    assert tree(newsroom.public) == before
    assert documents(store) == rows


def test_every_feed_of_every_language_is_there_and_clean(store: Store, newsroom: Newsroom) -> None:
    put(
        store,
        item(1, kind="press-release", topics=("water",)),
        item(2, topics=("water",)),
        item(3),
        item(4, language="ru", story="story-1", kind="press-release", title="Река"),
    )
    publish(store, newsroom, now=NOW)
    for language in ("en", "ru", "kk"):
        for name in ("all", "press", "water"):
            for ending, kind in FORMATS.items():
                path = f"feeds/{language}/{name}.{ending}"
                content = (newsroom.public / path).read_bytes()
                assert problems(content, newsroom.site.url + path, kind + "; charset=utf-8") == []
    assert titles(newsroom, "en/all") == ["Story number 3", "Story number 2", "Story number 1"]
    assert titles(newsroom, "en/press") == ["Story number 1"]
    assert titles(newsroom, "en/water") == ["Story number 2", "Story number 1"]
    assert titles(newsroom, "ru/all") == ["Река"]
    assert titles(newsroom, "kk/all") == []
    assert json.loads((newsroom.public / "feeds/ru/press.json").read_bytes())["title"] == "Аул и степь – Пресс-релизы"


def test_opml_names_every_feed(store: Store, newsroom: Newsroom) -> None:
    publish(store, newsroom, now=NOW)
    opml = etree.parse(newsroom.public / "feeds.opml")
    # The W3C validator warns of an outline without a type.
    assert {each.get("type") for each in opml.iter("outline")} == {"rss"}
    addresses = [each.get("xmlUrl") for each in opml.iter("outline") if each.get("xmlUrl")]
    assert len(addresses) == 9 == len(set(addresses))
    assert all((newsroom.public / url.removeprefix(newsroom.site.url)).is_file() for url in addresses if url)


def test_an_embargoed_item_leaves_no_trace_before(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    picture = media_file(tmp_path, "secret.pdf", b"%PDF secret", "application/pdf")
    url = f"https://news.example.org/media/{picture.digest}/secret.pdf"
    put(store, item(1), item(2, language="ru", story="story-9", title="Перевод"))
    publish(store, newsroom, now=NOW)
    before = tree(newsroom.public)
    opens = NOW + 5 * HOUR
    hidden = item(
        9, title="Hush", slug="hush", published=NOW - HOUR, embargo=opens, out_at=opens, changed=opens,
        attachments=(Attachment(url, "Secret"),), media=(picture,),
    )  # fmt: skip
    put(store, hidden)
    publish(store, newsroom, now=NOW + HOUR)
    assert tree(newsroom.public) == before
    # At its time it appears, though nobody changed anything.
    publish(store, newsroom, now=opens - timedelta(seconds=1))
    assert tree(newsroom.public) == before
    publish(store, newsroom, now=opens)
    assert titles(newsroom, "en/all")[0] == "Hush"
    assert (newsroom.public / f"media/{picture.digest}/secret.pdf").read_bytes() == b"%PDF secret"
    assert "hush" in (newsroom.public / "ru/story-2/index.html").read_text("utf-8")


def test_unpublished_items_never_move_the_feed_date(store: Store, newsroom: Newsroom) -> None:
    draft = item(5, draft=True, out_at=None)
    put(store, item(1), draft)
    publish(store, newsroom, now=NOW)
    before = tree(newsroom.public)
    gone(store, draft, NOW + HOUR)
    publish(store, newsroom, now=NOW + 2 * HOUR)
    assert tree(newsroom.public) == before


def test_a_deletion_moves_the_feeds_date(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1), item(2, kind="press-release"), item(3))
    publish(store, newsroom, now=NOW)
    press, everything = updated(newsroom, "en/press"), updated(newsroom)
    gone(store, item(1), NOW + HOUR)
    done = publish(store, newsroom, now=NOW + 2 * HOUR)
    assert titles(newsroom, "en/all") == ["Story number 3", "Story number 2"]
    assert updated(newsroom) > everything
    assert datetime.fromisoformat(updated(newsroom)) == NOW + HOUR
    assert updated(newsroom, "en/press") == press
    assert done.removed == ("en/story-1/index.html",)
    assert not (newsroom.public / "en/story-1").exists()


def test_an_item_that_returns_is_published_again(store: Store, newsroom: Newsroom) -> None:
    from tidings.store.content.items import advance_version, items_version

    put(store, item(1))
    publish(store, newsroom, now=NOW)
    gone(store, item(1), NOW + HOUR)
    publish(store, newsroom, now=NOW + 2 * HOUR)
    with store.write() as connection:
        mark_back(connection, [item(1).id])
        advance_version(connection, items_version(connection))
    publish(store, newsroom, now=NOW + 3 * HOUR)
    assert titles(newsroom, "en/all") == ["Story number 1"]


def test_a_withdrawn_item_is_removed_and_its_page_says_why(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    picture = media_file(tmp_path, "a.pdf", b"%PDF", "application/pdf")
    one = item(1, title="Unfit words", media=(picture,))
    put(store, one, item(2))
    publish(store, newsroom, now=NOW)
    withdrawn = replace(one, withdrawn="Published in <error>.", changed=NOW + HOUR)
    put(store, withdrawn, had=[one.id])
    publish(store, newsroom, now=NOW + HOUR)
    assert not list(newsroom.public.glob("media/**/a.pdf"))
    assert titles(newsroom, "en/all") == ["Story number 2"]
    page = (newsroom.public / "en/story-1/index.html").read_text("utf-8")
    assert "This publication has been withdrawn." in page
    assert "Published in &lt;error&gt;." in page
    everything = b"".join(content for content, _ in tree(newsroom.public).values())
    assert b"Unfit words" not in everything
    assert datetime.fromisoformat(updated(newsroom)) == NOW + HOUR


def test_media_appear_once_a_published_item_uses_them(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    shared = media_file(tmp_path, "shared & ours.png", b"PNG", "image/png")
    put(store, item(1, media=(shared,)), item(2, media=(shared,)))
    publish(store, newsroom, now=NOW)
    path = newsroom.public / "media" / shared.digest / shared.name
    assert path.read_bytes() == b"PNG"
    assert not path.with_name(path.name + ".gz").exists()
    gone(store, item(1), NOW + HOUR)
    publish(store, newsroom, now=NOW + HOUR)
    assert path.is_file()
    gone(store, item(2), NOW + HOUR)
    publish(store, newsroom, now=NOW + 2 * HOUR)
    assert not (newsroom.public / "media").exists()


def test_media_changed_after_reading_are_not_published(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    picture = media_file(tmp_path, "a.png", b"first", "image/png")
    (tmp_path / "content/media/a.png").write_bytes(b"other")
    put(store, item(1, media=(picture,)))
    publish(store, newsroom, now=NOW)
    assert not (newsroom.public / "media" / picture.digest / "a.png").exists()
    (tmp_path / "content/media/a.png").write_bytes(b"first")
    publish(store, newsroom, now=NOW)
    assert (newsroom.public / "media" / picture.digest / "a.png").read_bytes() == b"first"


def test_an_edition_keeps_its_pictures(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    picture = media_file(tmp_path, "a b.png", b"first", "image/png")
    put(store, item(1, media=(picture,)))
    publish(store, newsroom, now=NOW)
    path = f"media/{picture.digest}/a b.png"
    with store.write() as connection:
        raw = json.dumps(f'<img src="https://n.example/{quote(path)}">').encode()
        freeze_document(connection, 7, "list:digest", "en", "", raw)
    publish(store, newsroom, now=NOW)
    # The file is overwritten, and public/ is built again, as after a restore.
    media_file(tmp_path, "a b.png", b"second", "image/png")
    gone(store, item(1), NOW + HOUR)
    for again in (1, 2):
        publish(store, newsroom, now=NOW + again * HOUR)
        assert (newsroom.public / path).read_bytes() == b"first"
        shutil.rmtree(newsroom.public)
    with store.write() as connection:
        connection.execute(delete(t.edition_media))
    publish(store, newsroom, now=NOW + 3 * HOUR)
    assert not (newsroom.public / path).exists()
    assert not list((tmp_path / KEPT).iterdir())


def test_a_withdrawn_story_loses_its_pictures_everywhere(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    picture = media_file(tmp_path, "a.png", b"first", "image/png")
    put(store, item(1, media=(picture,), withdrawn="Published in error."))
    with store.write() as connection:
        keep_media(connection, 7, [f"media/{picture.digest}/a.png"])
    publish(store, newsroom, now=NOW)
    assert not (newsroom.public / "media").exists()


def test_sent_mails_keep_a_former_logo(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    old, new = (media_file(tmp_path, name, name.encode(), "image/png") for name in ("old.png", "new.png"))
    for logo in (old, new):
        publish(store, newsroom.model_copy(update={"logo": logo}), now=NOW)
    assert (newsroom.public / "media" / old.digest / "old.png").read_bytes() == b"old.png"


def test_a_picture_has_a_jpeg_copy_for_mails(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    made = io.BytesIO()
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(made, "WEBP")
    picture = media_file(tmp_path, "a.webp", made.getvalue(), "image/webp")
    put(store, item(1, media=(picture,)))
    publish(store, newsroom, now=NOW)
    copy = newsroom.public / "media" / picture.digest / "a.webp.jpg"
    with Image.open(copy) as opened:
        assert (opened.format, opened.size, opened.getpixel((1, 1))) == ("JPEG", (40, 30), (255, 255, 255))
    put(store, item(2))
    assert f"media/{picture.digest}/a.webp.jpg" not in publish(store, newsroom, now=NOW + HOUR).written


def test_the_copy_of_a_missing_file_is_made_later(store: Store, newsroom: Newsroom, tmp_path: Path) -> None:
    made = io.BytesIO()
    Image.new("RGB", (40, 30)).save(made, "WEBP")
    picture = media_file(tmp_path, "a.webp", made.getvalue(), "image/webp")
    put(store, item(1, media=(picture,)))
    copy = newsroom.public / "media" / picture.digest / "a.webp.jpg"
    (tmp_path / picture.path).write_bytes(b"half-writ")
    publish(store, newsroom, now=NOW)
    assert not copy.exists()
    (tmp_path / picture.path).write_bytes(made.getvalue())
    publish(store, newsroom, now=NOW)
    assert copy.exists()


def test_a_broken_picture_is_tried_once_for_its_bytes(
    store: Store, newsroom: Newsroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def fail(path: Path) -> None:
        tried.append(path)

    monkeypatch.setattr("tidings.pipeline.publish.site_files.make_mail_copy", fail)
    picture = media_file(tmp_path, "a.webp", b"RIFF, and no picture", "image/webp")
    put(store, item(1, media=(picture,)))
    for hours in range(3):
        publish(store, newsroom, now=NOW + hours * HOUR)
    # It is not tried again if other stories change, or by another process.
    put(store, item(2))
    publish(store, newsroom, now=NOW + 4 * HOUR, force=True)
    assert len(tried) == 1
    other = media_file(tmp_path, "a.webp", b"RIFF, other bytes", "image/webp")
    put(store, item(1, media=(other,)), had=[item(1).id])
    publish(store, newsroom, now=NOW + 5 * HOUR)
    assert len(tried) == 2


def test_a_missing_or_tampered_file_is_restored(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1))
    publish(store, newsroom, now=NOW)
    before, rows = tree(newsroom.public), documents(store)
    (newsroom.public / "en/index.html").write_text("defaced")
    (newsroom.public / "feeds/en/all.rss").unlink()
    (newsroom.public / "feeds/en/all.atom.gz").write_bytes(b"")
    done = publish(store, newsroom, now=NOW + HOUR)
    assert done.written == ("en/index.html", "feeds/en/all.atom", "feeds/en/all.rss")
    assert tree(newsroom.public) == before
    # The bytes are the same as before, so readers need not fetch them again.
    assert documents(store) == rows


def test_files_of_others_are_never_touched(store: Store, newsroom: Newsroom) -> None:
    public = newsroom.public
    (public / "en" / "story-1").mkdir(parents=True)
    for path in ("google123.html", "en/own.txt", "en/story-1/photo.jpg"):
        (public / path).write_text("mine")
    put(store, item(1))
    with store.write() as connection:
        save_files(connection, [PublishedFile("archive/digest/1/en", "abc-4", NOW)])
    publish(store, newsroom, now=NOW)
    gone(store, item(1), NOW)
    publish(store, newsroom, now=NOW + HOUR)
    assert (public / "google123.html").read_text() == "mine"
    assert (public / "en/own.txt").read_text() == "mine"
    assert (public / "en/story-1/photo.jpg").read_text() == "mine"
    assert not (public / "en/story-1/index.html").exists()
    assert "archive/digest/1/en" in documents(store)


def test_etag_and_modified_move_together_and_forward(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1))
    publish(store, newsroom, now=NOW)
    seen = [documents(store)["feeds/en/all.rss"]]
    for number in range(2, 5):
        # All within one second.
        put(store, item(number))
        publish(store, newsroom, now=NOW + timedelta(milliseconds=number))
        seen.append(documents(store)["feeds/en/all.rss"])
    assert len({document.etag for document in seen}) == 4
    assert [document.modified for document in seen] == [NOW + timedelta(seconds=number) for number in range(4)]
    path = newsroom.public / "feeds/en/all.rss"
    assert path.stat().st_mtime == seen[-1].modified.timestamp()


def test_gzip_beside_is_the_same_and_deterministic(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1))
    publish(store, newsroom, now=NOW)
    text = [
        path
        for path in newsroom.public.rglob("*")
        if path.suffix in (".rss", ".atom", ".json", ".html", ".css", ".opml")
    ]
    assert len(text) > 15
    for path in text:
        packed = path.with_name(path.name + ".gz").read_bytes()
        assert gzip.decompress(packed) == path.read_bytes()
        assert packed[4:8] == b"\0\0\0\0"


def test_one_new_item_does_not_render_the_others_again(
    store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []
    real = Pages.item_page

    def counted(self: Pages, frame: PageContext, one: Item, translations: Sequence[Translation]) -> bytes:
        rendered.append(one.slug)
        return real(self, frame, one, translations)

    monkeypatch.setattr(Pages, "item_page", counted)
    put(store, item(1), item(2), item(3))
    publish(store, newsroom, now=NOW)
    rendered.clear()
    put(store, item(4), item(5, language="ru", story="story-2", slug="vtoroe"))
    publish(store, newsroom, now=NOW)
    # The second story has a translation now, and links it.
    assert sorted(rendered) == ["story-2", "story-4", "vtoroe"]
    rendered.clear()
    put(store, replace(item(1), summary="Mended."), had=[item(1).id])
    (newsroom.public / "en/story-3/index.html").unlink()
    publish(store, newsroom, now=NOW)
    assert sorted(rendered) == ["story-1", "story-3"]
    rendered.clear()
    publish(store, make_newsroom(newsroom.root, url="https://other.example.net/"), now=NOW)
    assert len(rendered) == 5


def test_two_publishers_at_once_give_the_same_files(store: Store, newsroom: Newsroom) -> None:
    put(store, *(item(number) for number in range(1, 6)))
    threads = [threading.Thread(target=publish, args=(store, newsroom), kwargs={"now": NOW}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = tree(newsroom.public)
    assert set(documents(store)) == {path for path in before if not path.endswith(".gz")}
    assert publish(store, newsroom, now=NOW, force=True).written == ()


def test_feeds_of_a_rebuilt_newsroom_keep_their_ids(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1))
    publish(store, newsroom, now=NOW)
    name = newsroom.public / "feeds/en/all.atom"
    first = etree.parse(name).findtext(f"{ATOM}id")
    moved = make_newsroom(newsroom.root, url="https://other.example.net/news/")
    publish(store, moved, now=NOW + HOUR)
    assert etree.parse(name).findtext(f"{ATOM}id") == first
    assert "https://other.example.net/news/feeds/en/all.atom" in name.read_text("utf-8")


def test_a_broken_template_changes_nothing_and_names_its_line(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1))
    publish(store, newsroom, now=NOW)
    before = tree(newsroom.public)
    folder = newsroom.root / "templates" / "pages"
    folder.mkdir(parents=True)
    (folder / "item.html.j2").write_text("<p>\n{{ item.titel }}\n{% if %}")
    with pytest.raises(InputError, match=r"templates/pages/item\.html\.j2:3"):
        publish(store, newsroom, now=NOW + HOUR)
    (folder / "item.html.j2").write_text("<p>\n{{ item.titel }}")
    with pytest.raises(InputError, match="titel"):
        publish(store, newsroom, now=NOW + HOUR)
    (folder / "item.html.j2").write_text("{{ ''.__class__.__mro__ }}")
    with pytest.raises(InputError):
        publish(store, newsroom, now=NOW + HOUR)
    assert tree(newsroom.public) == before
    (folder / "item.html.j2").write_text("<p>{{ item.title }}</p>")
    publish(store, newsroom, now=NOW + HOUR)
    assert (newsroom.public / "en/story-1/index.html").read_text() == "<p>Story number 1</p>"


def test_notes_have_no_page(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1, kind="note", slug="a-note", title="Dear readers"))
    publish(store, newsroom, now=NOW)
    assert not any(b"Dear readers" in content for content, _ in tree(newsroom.public).values())


def test_nothing_half_written_is_left(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1))
    publish(store, newsroom, now=NOW)
    leftovers = [name for _, _, files in os.walk(newsroom.public) for name in files if name.endswith(".new")]
    assert leftovers == []


def test_dates_of_an_empty_newsroom_do_not_change(store: Store, newsroom: Newsroom) -> None:
    publish(store, newsroom, now=NOW.astimezone(UTC))
    before = tree(newsroom.public)
    publish(store, newsroom, now=NOW + timedelta(days=3), force=True)
    assert tree(newsroom.public) == before
