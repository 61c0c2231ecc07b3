"""axe-core in a real Chromium finds nothing serious on the pages of the sample newsroom, light and dark."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.conftest import require_program
from tests.servers.judges import tool
from tests.web.server import served
from tidings.model.tokens import TokenPurpose
from tidings.runtime.init import init_newsroom
from tidings.runtime.newsroom import open_runtime
from tidings.runtime.tick import tick
from tidings.store.people import subscribers
from tidings.web.app import newsroom_app

NOW = datetime(2026, 9, 11, 4, tzinfo=UTC)
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
    root = init_newsroom(tmp_path_factory.mktemp("sample") / "newsroom")
    with open_runtime(root, {}) as runtime:
        runtime.set_clock(NOW)
        tick(runtime, NOW, deliver=False)
        with runtime.store.write() as connection:
            subscribers.add(
                connection, "a@example.org", "digest", language="kk", frequency="weekly", now=NOW, confirmed=True
            )
        token = runtime.keys.sign(TokenPurpose.UNSUBSCRIBE, 1, "digest")
        with served(newsroom_app(runtime)) as url:
            style = httpx.get(f"{url}style.css").text
            paths = ("", "en/", "ru/", "kk/mobile-clinics/", "en/youth-forum/", f"unsubscribe/{token}", "unsubscribe/x")
            yield {
                path.split("/")[0] + str(number): re.sub(
                    r'<link rel="stylesheet"[^>]*>', lambda _: f"<style>{style}</style>", httpx.get(url + path).text
                )
                for number, path in enumerate(paths)
            }


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(pages: dict[str, str], scheme: str, tmp_path: Path) -> None:
    chromium = require_program("chromium")
    axe = tool("axe-core", "axe.min.js").read_text(encoding="utf-8")
    for name, page in pages.items():
        file = tmp_path / f"{name}.html"
        file.write_text(page.replace("</body>", _RUN % axe.replace("</script", "<\\/script")), encoding="utf-8")
        done = subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,900", "--virtual-time-budget=15000",
                f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}", "--dump-dom", file.as_uri(),
            ],
            capture_output=True, timeout=120, check=True, text=True,
        )  # fmt: skip
        found = re.search(r'data-axe="([^"]*)"', done.stdout)
        assert found is not None, f"axe did not run on {name}"
        assert json.loads(html.unescape(found[1])) == [], name
