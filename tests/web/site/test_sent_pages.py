"""Pages of an edition in Chromium: the review page, the archive and the report."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import require_program
from tests.fixtures.newsroom import DAILY, HOUR, MONDAY, open_newsroom
from tests.servers.judges import tool
from tests.web.server import served
from tidings.pipeline.compose.review import review_url
from tidings.runtime.report.page import render_report_page
from tidings.runtime.report.report import make_report
from tidings.web.app import newsroom_app

_RUN = """
<script>%s</script><script>
axe.run().then(found => {
  const bad = found.violations.filter(one => ["serious", "critical"].includes(one.impact));
  document.documentElement.setAttribute("data-axe", JSON.stringify(bad.map(one => [one.id, one.nodes[0].html])));
});
</script></body>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return HTML by name, with the style sheet in it."""
    with open_newsroom(tmp_path_factory.mktemp("sent") / "n", "sqlite:///tidings.db") as newsroom:
        newsroom.configure("languages: [en, ru, kk]\n  timezone", "languages: [en, ru, kk, ar]\n  timezone")
        newsroom.schedule("daily", DAILY + "approval: {by: [boss@example.org], ahead: 3h}\n")
        for language in ("en", "ru", "ar"):
            newsroom.reader(f"anna-{language}", language=language)
        newsroom.tick(MONDAY - 12 * HOUR)
        for name in ("one", "two"):
            newsroom.item(name)
            newsroom.item(name, "ru")
            newsroom.item(name, "ar", "آبار جديدة")
        newsroom.tick(MONDAY - 2 * HOUR)
        runtime = newsroom.runtime
        link = review_url(runtime.newsroom, runtime.keys, newsroom.edition("daily/1").id, "boss@example.org")
        with served(newsroom_app(runtime)) as url:

            def read(path: str) -> str:
                style = httpx.get(f"{url}style.css").text
                return re.sub(
                    r'<link rel="stylesheet"[^>]*>', lambda _: f"<style>{style}</style>", httpx.get(url + path).text
                )

            bodies = {"review": read(link.removeprefix(runtime.newsroom.site.url))}
            runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "boss@example.org")
            newsroom.tick(MONDAY)
            bodies |= {
                "decided": read(link.removeprefix(runtime.newsroom.site.url)),
                "archive": read("archive/digest/"),
                "edition": read("archive/digest/1/ru"),
                "rtl edition": read("archive/digest/1/ar"),
            }
            with runtime.store.read() as connection:
                report = make_report(connection, runtime.newsroom, None, None, newsroom.now)
            bodies["report"] = render_report_page(report, "#0077b6")
            yield bodies


def _seen(page: str, script: str, file: Path, *options: str) -> str:
    """Return the page's DOM after `script` has run. The script is inserted before </body>."""
    file.write_text(page.replace("</body>", script), encoding="utf-8")
    done = subprocess.run(
        [
            require_program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={file.parent / 'profile'}", "--virtual-time-budget=15000", *options, "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True, timeout=120, check=True, text=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(pages: dict[str, str], scheme: str, tmp_path: Path) -> None:
    axe = tool("axe-core", "axe.min.js").read_text(encoding="utf-8")
    script = _RUN % axe.replace("</script", "<\\/script")
    colour = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    for name, page in pages.items():
        # Other tests check frames; here their address leads nowhere.
        page = re.sub(r"<iframe[^>]*></iframe>", "", page)
        match = re.search(r'data-axe="([^"]*)"', _seen(page, script, tmp_path / f"{name}.html", colour))
        assert match is not None, f"axe did not run on {name}"
        assert json.loads(html.unescape(match[1])) == [], name


@pytest.mark.slow
def test_no_page_is_wider_than_a_phone(pages: dict[str, str], tmp_path: Path) -> None:
    """Use a frame of 360 pixels: Chromium's own window is never narrower than 500."""
    assert 'dir="rtl"' in pages["rtl edition"]
    for name, page in pages.items():
        inner = tmp_path / f"{name}.html"
        inner.write_text(page, encoding="utf-8")
        outer = f'<!DOCTYPE html><body><iframe src="{inner.name}" width="360" height="2000"></iframe></body>'
        script = """<script>addEventListener("load", () => {
          const root = document.querySelector("iframe").contentDocument.documentElement;
          document.documentElement.setAttribute("data-wide", root.scrollWidth - root.clientWidth);
        });</script></body>"""
        seen = _seen(outer, script, tmp_path / f"outer-{name}.html", "--allow-file-access-from-files")
        match = re.search(r'data-wide="(-?\d+)"', seen)
        assert match is not None, name
        assert int(match[1]) <= 0, f"{name} is {match[1]} pixels wider than the phone"
