"""A real web server with every combination of its headers: the second request for a feed is cheap."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.servers.nginx import nginx
from tests.sources.site import Story, rss
from tests.sources.web.test_feed import source_of

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
LOCATIONS = """
location /both/ { alias %(root)s/; }
location /etag/ { alias %(root)s/; add_header Last-Modified ""; }
location /modified/ { alias %(root)s/; etag off; }
location /neither/ { alias %(root)s/; etag off; if_modified_since off; add_header Last-Modified ""; }
location /gzip/ { alias %(root)s/; gzip on; gzip_min_length 1; gzip_types *; gzip_vary on; }
location /fresh/ { alias %(root)s/; expires 2h; }
location /private/ { alias %(root)s/; add_header Cache-Control "private, no-store"; }
location /charset/ { alias %(root)s/; charset utf-8; charset_types *; }
location /plain/ { types { } default_type text/plain; alias %(root)s/; }
location = /moved { return 301 /both/feed.rss; }
location = /kept { return 308 /both/feed.rss; }
location = /found { return 302 /both/feed.rss; }
location = /passing { return 307 /both/feed.rss; }
location = /gone { return 410; }
location = /busy { add_header Retry-After 7200 always; return 503; }
location = /closed { return 444; }
"""


def test_real_servers_headers_are_obeyed(tmp_path: Path) -> None:
    root = tmp_path / "site"
    root.mkdir()
    with nginx(tmp_path / "nginx", root, LOCATIONS % {"root": root}) as (url, log):
        (root / "feed.rss").write_bytes(rss([Story("a", "Форум молодёжи", "<p>Текст.</p>" * 200)], url))

        def twice(path: str) -> list[str]:
            """Ask twice, and return the statuses in nginx's log."""
            before = len(log.read_text().splitlines())
            source = source_of(url + path)
            for _ in range(2):
                assert source.fetch(NOW, force=True).problem == ""
            assert [item.title for item in source.sweep(NOW).items] == ["Форум молодёжи"]
            return re.findall(r'" (\d{3}) ', "\n".join(log.read_text().splitlines()[before:]))

        for name in ("both", "etag", "modified", "gzip", "fresh", "private", "charset", "plain"):
            assert twice(f"/{name}/feed.rss") == ["200", "304"], name
        assert twice("/neither/feed.rss") == ["200", "200"]
        assert twice("/moved") == ["301", "200", "304"]
        assert twice("/kept") == ["308", "200", "304"]
        assert twice("/found") == ["302", "200", "302", "304"]
        assert twice("/passing") == ["307", "200", "307", "304"]
        assert source_of(f"{url}/fresh/feed.rss").fetch(NOW).due == NOW + timedelta(hours=2)
        assert source_of(f"{url}/gone").fetch(NOW).due is None
        assert source_of(f"{url}/busy").fetch(NOW).due == NOW + timedelta(hours=2)
        for path in ("/closed", "/nothing"):
            assert source_of(url + path).fetch(NOW).problem


@pytest.mark.parametrize("change", ["newer", "older"])
def test_a_change_with_an_older_date_is_seen(tmp_path: Path, change: str) -> None:
    """Validators are opaque: a restored site has an older Last-Modified and another ETag."""
    root = tmp_path / "site"
    root.mkdir()
    with nginx(tmp_path / "nginx", root, LOCATIONS % {"root": root}) as (url, _):
        file = root / "feed.rss"
        file.write_bytes(rss([Story("a", "Before")], url))
        source = source_of(f"{url}/both/feed.rss")
        source.fetch(NOW, force=True)
        file.write_bytes(rss([Story("a", "Before"), Story("b", "After all")], url))
        shift = 86_400 if change == "newer" else -86_400
        os.utime(file, (file.stat().st_mtime + shift,) * 2)
        assert source.fetch(NOW, force=True).new == 1
