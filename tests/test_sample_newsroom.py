"""The sample newsroom at the root: what `make demo` plays and `tidings init` copies."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from PIL import Image as Pictures

from tidings.channels.chat import slack, webhook
from tidings.channels.smtp import relay
from tidings.config.load import load_config
from tidings.sources.base import SourceContext
from tidings.sources.folder.source import Settings, make

ROOT = Path(__file__).parent.parent
CONTENT = ROOT / "content"
SENDERS = {"smtp": relay.Settings}
MEDIA = CONTENT / "media"

ALL = ("en", "kk", "ru")
STORIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "school-solar": ("story", ALL),
    "glacier-survey": ("publication", ALL),
    "mobile-clinics": ("story", ALL),
    "river-data": ("press-release", ALL),
    "youth-forum": ("event", ALL),
    "living-soil": ("story", ALL),
    "intern-questions": ("story", ("en",)),
    "editors-note-september": ("note", ALL),
    "teachers-remarks": ("speech", ALL),
    "girls-code": ("story", ALL),
    "helpline": ("press-release", ALL),
    "glacier-film": ("video", ALL),
    "budget-brief": ("publication", ALL),
    "business-breakfast": ("story", ALL),
    "canal-fund": ("press-release", ALL),
    "library-van": ("story", ("ru",)),
    "climate-week": ("event", ALL),
    "editors-note-forum": ("note", ALL),
    "steppe-atlas": ("publication", ("en", "ru")),
}
FILES = sorted(CONTENT.glob("*.md"))
LINE = re.compile(r"^([a-z_]+): (.*)$")


def front(path: Path) -> tuple[dict[str, str], str, str]:
    """Return the keys on lines of their own, the whole front matter, and the body."""
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return {m[1]: m[2] for line in head.splitlines() if (m := LINE.match(line))}, head, body


def sources_in(head: str) -> list[str]:
    return re.findall(r"^  - src: (\S+)$", head, re.MULTILINE)


def versions_of(name: str) -> dict[str, tuple[dict[str, str], str, str]]:
    return {path.suffixes[0][1:]: front(path) for path in FILES if path.name.split(".")[0] == name}


def test_stories_and_translations_match_the_table() -> None:
    languages_of: dict[str, list[str]] = {}
    for path in FILES:
        name, language, _ = path.name.split(".")
        languages_of.setdefault(name, []).append(language)
        assert front(path)[0]["kind"] == STORIES[name][0], path.name
    assert {name: tuple(sorted(languages)) for name, languages in languages_of.items()} == {
        name: languages for name, (_, languages) in STORIES.items()
    }


@pytest.mark.parametrize("name", STORIES)
def test_translations_agree_in_all_but_words(name: str) -> None:
    versions = list(versions_of(name).values())
    first_keys, first_head, first_body = versions[0]
    same = ("published", "updated", "embargo", "starts", "ends", "topics", "lead")
    for keys, head, body in versions[1:]:
        assert {key: keys.get(key) for key in same} == {key: first_keys.get(key) for key in same}
        assert keys.keys() == first_keys.keys()
        pictures = [source for source in sources_in(head) if source.endswith(".jpg")]
        assert pictures == [source for source in sources_in(first_head) if source.endswith(".jpg")]
        assert len(body.split("\n\n")) == len(first_body.split("\n\n")), "a paragraph is missing"


def test_each_language_is_written_in_its_own_letters() -> None:
    for path in FILES:
        keys, _, body = front(path)
        text = keys["title"] + keys["summary"] + body
        language = path.suffixes[0]
        kazakh = len(re.findall("[әғқңөұүһіӘҒҚҢӨҰҮҺІ]", text))
        cyrillic = len(re.findall("[а-яё]", text, re.IGNORECASE))
        if language == ".en":
            assert cyrillic == 0, path.name
        elif language == ".kk":
            assert kazakh > len(text) * 0.05, path.name
            assert re.search(r"[a-z][а-яәғқңөұүһі]|[а-яәғқңөұүһі][a-z]", text, re.IGNORECASE) is None, path.name
        else:
            assert cyrillic > len(text) * 0.5 and kazakh < 5, path.name  # `Жетісу` keeps its letter
            assert re.search(r"[a-z][а-яё]|[а-яё][a-z]", text, re.IGNORECASE) is None, path.name


def test_pictures_exist_are_small_and_have_alt() -> None:
    used = Counter[str]()
    for path in FILES:
        _, head, _ = front(path)
        images = [source for source in sources_in(head) if not source.endswith(".pdf")]
        for key in ("alt", "caption", "credit"):
            written = re.findall(rf"^    {key}: (.+)$", head, re.MULTILINE)
            assert len(written) == len(images), (path.name, key)
            assert key != "alt" or all(20 < len(text) < 160 for text in written), path.name
        for source in sources_in(head):
            assert (CONTENT / source).is_file(), (path.name, source)
            used[source] += 1
    for file in MEDIA.iterdir():
        assert file.stat().st_size < 150_000, file.name
        assert f"media/{file.name}" in used or file.name == "logo.png", f"{file.name} is used nowhere"
        if file.suffix == ".jpg":
            with Pictures.open(file) as picture:
                assert (picture.format, picture.size, dict(picture.getexif())) == ("JPEG", (1200, 675), {}), file.name
    with Pictures.open(MEDIA / "logo.png") as logo:
        assert logo.mode == "RGBA" and logo.getpixel((0, 0))[3] == 0, "the logo stands on white and on dark"  # type: ignore[index]


def test_attachments_are_pdf_files() -> None:
    files = sorted(MEDIA.glob("*.pdf"))
    assert len(files) == 6
    for file in files:
        data = file.read_bytes()
        assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF"), file.name
        start = int(data.rsplit(b"startxref", 1)[1].split()[0])
        assert data[start : start + 4] == b"xref", file.name


def test_the_sample_has_two_full_weeks() -> None:
    """For the demo: digests at 09:00 on Friday 4 and 11 September, and stories after them."""
    weeks = Counter[int]()
    for name, (kind, languages) in STORIES.items():
        keys = versions_of(name)[languages[0]][0]
        out = max(datetime.fromisoformat(keys["published"]), datetime.fromisoformat(keys.get("embargo", "2026-01-01")))
        assert datetime(2026, 8, 31) <= out < datetime(2026, 9, 12), name
        if kind != "note":
            weeks[(out > datetime(2026, 9, 4, 9)) + (out > datetime(2026, 9, 11, 9))] += 1
    assert weeks[0] >= 6 and weeks[1] >= 6 and weeks[2] >= 1


def test_the_sample_has_the_usual_difficulties() -> None:
    keys = [front(path)[0] for path in FILES]
    assert sum("embargo" in front_matter for front_matter in keys) == 3
    assert sum("correction" in front_matter and "updated" in front_matter for front_matter in keys) == 3
    assert all(
        {"starts", "ends", "place"} <= front_matter.keys() for front_matter in keys if front_matter["kind"] == "event"
    )
    titles = [front_matter["title"] for front_matter in keys]
    for trap in ('^"', '[^"]"[^"]+"', ": ", "#", "@", " & "):
        assert any(re.search(trap, title) for title in titles), trap
    galleries = [path for path in FILES if len(re.findall(r"\.jpg$", front(path)[1], re.MULTILINE)) > 1]
    assert len({path.name.split(".")[0] for path in galleries}) >= 3


def test_the_newsroom_loads_without_problems() -> None:
    loaded = load_config(
        ROOT, channel_settings={}, source_settings={"folder": Settings}, sender_settings=SENDERS, env={}
    )
    assert loaded.problems == ()
    assert loaded.newsroom is not None
    site = loaded.newsroom.site
    assert list(loaded.newsroom.schedules) == ["daily", "press", "weekly"]
    context = SourceContext("newsroom", ROOT, str(site.url), tuple(site.languages), ZoneInfo("Asia/Almaty"))
    sweep = make(Settings(type="folder", path="content"), context).sweep(datetime(2026, 9, 13, tzinfo=UTC))
    assert (sweep.problems, sweep.set_aside) == ((), ())
    assert len(sweep.items) == len(FILES)
    for item in sweep.items:
        written, _, _ = front(CONTENT / f"{item.name}.{item.language}.md")
        assert (item.title, item.summary) == (written["title"], written["summary"])
        assert item.extra == {}, "a key that the program does not know"
        assert set(item.topics) <= loaded.newsroom.topics.keys(), item.name
    for name, topic in loaded.newsroom.topics.items():
        assert set(topic.by_language) == set(ALL), name
        assert any(name in item.topics for item in sweep.items), f"{name} is used nowhere"


def test_commented_channels_work_when_uncommented(tmp_path: Path) -> None:
    """Only `# ` is removed, as the comments say."""
    shutil.copytree(ROOT / "schedules", tmp_path / "schedules")
    shutil.copytree(CONTENT, tmp_path / "content")
    marked = re.compile(r"^# (channels:|  desk:|  team:|  - channel:|    per:|    max_posts:)", re.MULTILINE)
    for name in ("tidings.yaml", "schedules/weekly.yaml", "schedules/press.yaml"):
        text, taken = marked.subn(r"\1", (ROOT / name).read_text(encoding="utf-8"))
        assert taken >= 2, name
        (tmp_path / name).write_text(text, encoding="utf-8")
    loaded = load_config(
        tmp_path,
        channel_settings={"slack": slack.Settings, "webhook": webhook.Settings},
        source_settings={"folder": Settings},
        sender_settings=SENDERS,
        env={
            "DESK_URL": "http://127.0.0.1:9/desk",
            "DESK_SECRET": "whsec_c2FtcGxlIG5ld3Nyb29tLCBub3QgYSBzZWNyZXQ=",
            "SLACK_URL": "http://127.0.0.1:9/services/team",
        },
    )
    assert loaded.problems == ()
    assert loaded.newsroom is not None
    assert {name: len(schedule.deliver) for name, schedule in loaded.newsroom.schedules.items()} == {
        "daily": 1,
        "press": 2,
        "weekly": 2,
    }
