"""robots.txt by RFC 9309: the cases of its sections 2.2 and 5, hostile files, caching and redirects."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.sources.site import Page, Website
from tidings.net import GuardedSession
from tidings.sources.web.polite_fetch import Response, Robots, fetch_url


def allowed(text: str, *paths: str) -> list[bool]:
    robots = Robots(text)
    return [robots.allows(f"https://e.example{path}") for path in paths]


def test_the_longest_rule_wins_and_allow_wins_a_tie() -> None:
    # RFC 9309 §5.2, and a site that closes a folder except its news.
    text = "User-Agent: tidings\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"
    assert allowed(text, "/example/page/", "/example/page/disallowed.gif", "/other") == [True, False, True]
    for one in ("Disallow: /\nAllow: /news/\nDisallow: /news/old", "Allow: /news/\nDisallow: /news/old\nDisallow: /"):
        assert allowed(f"User-agent: *\n{one}\n", "/news/a", "/news/old/a", "/", "") == [True, False, False, False]
    assert allowed("User-agent: *\nDisallow: /a\nAllow: /a\n", "/a") == [True]
    assert allowed("User-agent: *\nDisallow:\n", "/a") == [True]


@pytest.mark.parametrize(
    ("rule", "fits", "other"),
    [
        ("/*.pdf$", "/a/b.pdf", "/a/b.pdf?x=1"),
        ("/*/print", "/en/print", "/print"),
        ("*/node/*$", "/ru/node/5", "/ru/nodes/5"),
        ("/news$", "/news", "/news/a"),
        ("/a*b*b$", "/abb", "/ab"),
        ("/*?page=", "/news?page=2", "/news?p=2"),
        ("/новости", "/%D0%BD%D0%BE%D0%B2%D0%BE%D1%81%D1%82%D0%B8/a", "/n"),
        ("/%d0%bd", "/н", "/n"),
        ("/%7Euser", "/~user/a", "/user"),
        ("/foo/bar%2Fbaz", "/foo/bar%2fbaz", "/foo/bar/baz"),
    ],
)
def test_wildcards_end_marks_and_escapes_match(rule: str, fits: str, other: str) -> None:
    assert allowed(f"User-agent: *\nDisallow: {rule}\n", fits, other) == [False, True]


def test_the_groups_of_our_name_are_merged() -> None:
    text = (
        "\ufeffDisallow: /nobody\nUser-agent: *\nDisallow: /\n\n# ours\nUSER-AGENT: Other\nSitemap: /s.xml\n"
        "User-agent: TIDINGS/2.0  # so\nCrawl-delay: 5\ndisallow: /a # no\n\nUser-agent: else\nDisallow: /c\n"
        "User-agent: tidings\nDisallow: /b\n"
    )
    assert allowed(text, "/a", "/b", "/c", "/d", "/nobody") == [False, False, True, True, True]
    assert allowed("User-agent: tidingsbot\nDisallow: /\n", "/a") == [True]
    assert allowed("User-agent: *\nDisallow: /\nUser-agent: tidings\nDisallow:\n", "/a", "/robots.txt") == [True, True]
    assert allowed("User-agent: *\nDisallow: /\n", "/robots.txt") == [True]


@pytest.mark.parametrize("text", ["", "<html><p>Not found</p></html>", "User-agent\nDisallow", ":\n::\n#", "\x00: /"])
def test_a_file_without_rules_forbids_nothing(text: str) -> None:
    assert allowed(text, "/a") == [True]


def test_a_hostile_rule_ends() -> None:
    begun = time.process_time()
    assert allowed(f"User-agent: *\nDisallow: /{'*a' * 5_000}b$\n", "/" + "a" * 8_000) == [True]
    assert time.process_time() - begun < 60  # of processor time; backtracking would never end


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"cache-control": "no-cache, max-age=315360000"}, 0),
        ({"cache-control": "max-age=14400, No-Store"}, 0),
        ({"cache-control": "max-age=14400", "age": "14390"}, 10),
        ({"cache-control": "max-age=600", "age": "9000"}, 0),
        ({"cache-control": 'private, max-age = "600"'}, 600),
        ({"cache-control": 'no-cache="set-cookie", max-age=600'}, 600),
        ({"expires": "Mon, 01 Jan 2029 01:00:00 GMT", "date": "Mon, 01 Jan 2029 00:00:00 GMT", "age": "600"}, 3000),
        ({"expires": "0"}, 0),
    ],
)
def test_a_response_is_fresh_as_its_headers_say(headers: dict[str, str], seconds: int) -> None:
    assert Response("https://e.example/", b"", headers).fresh_for == timedelta(seconds=seconds)


def test_an_address_in_raw_utf_8_is_followed() -> None:
    site = Website()
    raw = "/ru/новости.xml".encode().decode("latin-1")
    site.pages["/"] = Page(status=302, headers={"Location": raw})
    site.pages["/ru/%D0%BD%D0%BE%D0%B2%D0%BE%D1%81%D1%82%D0%B8.xml"] = Page(b"found")
    try:
        session = GuardedSession(allow_private=True)
        assert fetch_url(session, f"{site.url}/", "*/*", {}, datetime.now(UTC)).body == b"found"
    finally:
        site.close()
