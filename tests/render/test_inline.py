"""Each known mistake of premailer is avoided."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from tidings.render.inline import InlineError, find_css_problems, inline


def page(css: str = "", body: str = "", kept: str = "") -> str:
    stays = f'<style data-premailer="ignore">{kept}</style>' if kept else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title>'
        f"<style>{css}</style>{stays}</head><body>{body}</body></html>"
    )


def test_classes_and_elements_become_style_attributes() -> None:
    out = inline(page(".a{color:red}p{margin:0}", '<p class="a">x</p>'))
    assert '<p class="a" style="margin:0; color:red">x</p>' in out


def test_the_cache_is_larger_than_a_stylesheet() -> None:
    from premailer.cache import cache

    assert cache.maxsize >= 4096


def test_important_in_kept_media_rules_is_not_stripped() -> None:
    kept = "@media (max-width:600px){.a{color:blue!important}}"
    assert kept in inline(page(".a{color:red}", '<p class="a">x</p>', kept))


def test_outlook_dark_rules_are_not_dropped() -> None:
    kept = "[data-ogsc] .a{color:#fff !important}"
    assert kept in inline(page(body='<p class="a">x</p>', kept=kept))


def test_width_of_an_image_is_not_overwritten_by_its_style() -> None:
    out = inline(page("img{width:100%;height:auto}", '<img src="https://x/a.png" alt="a" width="180" height="90">'))
    assert 'width="180" height="90"' in out
    assert 'width="100%"' not in out


def test_conditional_comments_of_outlook_stay_identical() -> None:
    comment = '<!--[if mso | IE]><table role="presentation" width="600"><tr><td><![endif]-->'
    assert comment in inline(page(body=f"<div>{comment}x<!--[if mso | IE]></td></tr></table><![endif]--></div>"))


def test_placeholders_survive_in_href_and_text() -> None:
    out = inline(page(body='<a href="@@tidings.unsubscribe_url@@">@@tidings.name@@</a>'))
    assert '<a href="@@tidings.unsubscribe_url@@">@@tidings.name@@</a>' in out


def test_a_style_without_declaration_is_no_error() -> None:
    out = inline(page("p{margin:0}", '<p style="p">x</p>'))
    assert '<p style="margin:0">x</p>' in out


@pytest.mark.parametrize(
    "css",
    [
        "@import 'http://127.0.0.1:9/x.css';",
        "@import url(file:///etc/hostname);",
        ".a{background:url(http://127.0.0.1:9/x)}",
    ],
)
def test_import_and_url_never_fetch(css: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(InlineError, match="must not fetch"):
        inline(page(css))


def test_the_fetcher_of_cssutils_refuses_even_when_reached() -> None:
    import cssutils

    from tidings.render.inline import RemoteStyleError

    with pytest.raises(RemoteStyleError):
        cssutils.util._defaultFetcher("file:///etc/hostname")


def test_link_elements_are_refused() -> None:
    with pytest.raises(InlineError, match="<link>"):
        inline('<html><head><link rel="stylesheet" href="http://127.0.0.1/x"></head><body></body></html>')


@pytest.mark.parametrize("value", ["rgb(0 0 0 / 50%)", "#11223344"])
def test_modern_colours_are_kept_or_reported(value: str) -> None:
    """premailer silently drops CSS that cssutils cannot read."""
    css = f".a {{ color: {value}; margin: 0 }}"
    if problems := find_css_problems(css, ""):
        assert any("color" in problem for problem in problems)
        with pytest.raises(InlineError, match="color"):
            inline(page(css, '<p class="a">x</p>'))
    else:
        assert value in inline(page(css, '<p class="a">x</p>'))


def test_css_that_cssutils_cannot_read_is_named() -> None:
    assert any("color" in problem for problem in find_css_problems(".a { color: }", ""))


@pytest.mark.parametrize(
    "selector", [".a + .b", ".a ~ .b", "td:first-child", "li:nth-child(2)", "p:last-of-type", ".a:empty"]
)
def test_sibling_and_positional_selectors_are_refused(selector: str) -> None:
    assert any("is not reliable" in problem for problem in find_css_problems(f"{selector} {{ color: red }}", ""))
    assert any(
        "is not reliable" in problem
        for problem in find_css_problems("", f"@media print {{ {selector} {{ color: red }} }}")
    )


@pytest.mark.parametrize(
    "css", ["@media print{.a{color:red}}", "@font-face{font-family:x}", "@supports (x:y){.a{color:red}}"]
)
def test_at_rules_that_premailer_drops_are_named(css: str) -> None:
    assert any("cannot be inlined" in problem for problem in find_css_problems(css, ""))


@pytest.mark.parametrize("selector", ["a:hover", "*", "[href]", "[data-ogsc] .a"])
def test_selectors_that_premailer_drops_are_named(selector: str) -> None:
    assert find_css_problems(f"{selector} {{ color: red }}", "")


def test_at_rules_inside_at_rules_make_gmail_drop_the_block() -> None:
    assert any(
        "inside another" in p for p in find_css_problems("", "@media print { @supports (x:y) { .a { color: red } } }")
    )
    assert not find_css_problems("", "@media print { .a { color: red } } @media screen { .a { color: red } }")


def test_kept_styles_of_16_kb_are_refused() -> None:
    assert any("16,384" in problem for problem in find_css_problems("", ".a { color: red }" * 1000))


def test_premailer_runs_in_one_thread_at_a_time() -> None:
    wrong: list[str] = []

    def run(number: int) -> None:
        for _ in range(5):
            css = f".a{number}{{color:#12345{number};font:bold 1{number}px Arial}}"
            out = inline(page(css, f'<p class="a{number}">x</p>'))
            if f"#12345{number}" not in out:
                wrong.append(out)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
