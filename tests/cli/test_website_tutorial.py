"""Follow `docs/howto/read-your-website.md` word for word, with a site on this machine."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.sources.site import Page, Story, Website, rss

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "read-your-website.md"
NEWEST = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def site() -> Iterator[Website]:
    made = Website()
    for language in ("en", "ru"):
        stories = [
            Story(
                "",
                f"Story {n} of the site ({language})",
                f"<p>What happened in {n}.</p>",
                NEWEST - timedelta(days=n),
                link=f"{made.url}/{language}/news/{n}-a-story",
            )
            for n in range(8)
        ]
        made.pages[f"/{language}/feed.xml"] = Page(rss(stories, made.url, language))
    yield made
    made.close()


@pytest.mark.slow
def test_every_step_of_the_page_works(site: Website, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["", "yaml", "", "", "", "", "", ""]
    del blocks[5:]  # an overlay and other sources, as examples
    folder, output = tmp_path, ""
    for kind, text in blocks:
        if kind == "yaml":
            main = folder / "tidings.yaml"
            # The site of the page is on the internet. Ours is on this machine, which must be allowed.
            local = text.replace("https://www.example.org", site.url).replace(
                "backfill: 3}", "backfill: 3, allow_private: true}"
            )
            head, _, rest = main.read_text(encoding="utf-8").partition("sources:\n")
            main.write_text(head + local + rest.partition("\n")[2], encoding="utf-8")
            continue
        for line in text.splitlines():
            if line.startswith("cd "):
                folder = folder / line[3:]
                continue
            command = line.replace("tidings ", f"{sys.executable} -m tidings ", 1)
            done = subprocess.run(
                command, shell=True, cwd=folder, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            output += done.stdout
    assert "8 items." in output
    assert "list digest: 1 (1 en)" in output
    [mail] = folder.glob("preview/weekly-1-digest-en.txt")
    shown = set(re.findall(r"Story (\d) of the site \((\w\w)\)", mail.read_text(encoding="utf-8")))
    assert shown == {("0", "en"), ("1", "en"), ("2", "en")}
