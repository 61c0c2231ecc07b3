"""The sandbox, the search for templates, and what `problems` finds."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.render.mail.samples import SITE, TEMPLATES, document, item, many, own_templates
from tidings.render.mail.plaintext import fit_headings, html_to_text, wrap
from tidings.render.palette import AA, contrast, palette
from tidings.render.sandbox import budget
from tidings.render.template_check import find_subject_problems, find_template_problems
from tidings.render.templates import MailTemplates, TemplateError, run_guarded

HTML = (Path(__file__).parents[2] / "templates/digest/body.html.j2").read_text("utf-8")


def render(source: str, **names: object) -> str:
    return run_guarded(lambda: TEMPLATES.environment.from_string(source).render(**names), file="x")


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10**9 }}",
        "{{ ['x'] * 10**9 }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        "{% for a in range(10000000) %}x{% endfor %}",
        "{% set ns = namespace(x='xx') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='xx') %}{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set n = namespace(x='x') %}{% for a in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
        "{% set ns = namespace(x=['x']) %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 'x' | indent(1000000000) }}",
        "{{ ('x' * 400000) | replace('x', 'y' * 400000) }}",
        "{{ range(9999) | join('x' * 400000) }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'x' | wordwrap(1) }}",
        "{{ lipsum(n=100000) }}",
        "{% for a in range(9000) %}" + "x" * 9000 + "{% endfor %}",
    ],
)
def test_a_template_that_eats_memory_or_time_is_stopped(source: str) -> None:
    """Jinja's own sandbox built 1 GB in 16 s."""
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(TemplateError):
            render(source)
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
        assert time.process_time() - began < 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ item.__class__ }}",
        "{{ cycler.__init__ }}",
        "{{ config }}",
        "{{ env('HOME') }}",
        "{{ items.append(1) }}",
        "{{ ('%s' | format).__globals__ }}",
    ],
)
def test_the_sandbox_has_no_way_out(source: str) -> None:
    with pytest.raises(TemplateError):
        render(source, item=item(), items=[1])


def test_unknown_names_are_errors_not_empty_text() -> None:
    with pytest.raises(TemplateError, match="titel"):
        render("{{ item.titel }}", item=item())


def test_lists_and_none_are_not_printed() -> None:
    with pytest.raises(TemplateError, match="tuple"):
        render("{{ item.topics }}", item=item())
    with pytest.raises(TemplateError, match="None"):
        render("{{ item.updated }}", item=item())


def test_html_is_escaped_and_text_is_not(tmp_path: Path) -> None:
    doc = document([item("a", title="<script>alert(1)</script> & co")])
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in doc.fragments["lead:a"].html
    assert "<script>alert(1)</script> & co" in doc.fragments["lead:a"].text


def test_ordinary_templates_stay_far_within_the_budget() -> None:
    doc = document(many(12))
    assert len(doc.fragments) > 40
    with budget(2_000_000):
        TEMPLATES.body("digest", "html").make_module


def test_a_newsroom_template_goes_before_the_shipped_one(tmp_path: Path) -> None:
    folder = tmp_path / "digest"
    folder.mkdir()
    for name in ("body.html.j2", "body.txt.j2"):
        (folder / name).write_text((Path(__file__).parents[2] / "templates/digest" / name).read_text("utf-8"), "utf-8")
    (folder / "subject.txt.j2").write_text("Mine", "utf-8")
    templates = MailTemplates(tmp_path)
    assert "Mine" in templates.loader.get_source(templates.environment, "digest/subject.txt.j2")[0]
    assert templates.names() == ["alert", "digest", "press"]


def test_a_folder_of_the_newsroom_stands_alone_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "digest").mkdir()
    (tmp_path / "digest" / "subject.txt.j2").write_text("Mine", "utf-8")
    found = find_template_problems(MailTemplates(tmp_path), "digest")
    assert {problem.file for problem in found} == {"templates/digest/body.html.j2", "templates/digest/body.txt.j2"}
    assert all("missing" in problem.message for problem in found)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("secret", "utf-8")
    (tmp_path / "t" / "own").mkdir(parents=True)
    (tmp_path / "t" / "own" / "body.html.j2").symlink_to(outside)
    assert MailTemplates(tmp_path / "t").loader.path("own/body.html.j2") is None
    assert TEMPLATES.loader.path("../pyproject.toml") is None
    assert TEMPLATES.loader.path("_base/../digest/body.html.j2") is None


@pytest.mark.parametrize("name", ["digest", "press", "alert"])
def test_shipped_templates_have_no_problem(name: str) -> None:
    assert find_template_problems(TEMPLATES, name, languages=("en", "ru", "kk", "ar")) == []


def add(css: str) -> str:
    return HTML.replace("{{ mail.open() }}", "{{ mail.open() }}<style>" + css + "</style>", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda html: html.replace("{{ item.title }}", "{{ item.titel }}"), "titel"),
        (lambda html: html.replace("{{ item.title }}", "{{ itme.title }}"), "itme"),
        (lambda html: html.replace("{% endmacro %}", "", 1), "endmacro"),
        (lambda html: html.replace("{{ item.title }}", "{{ item.title | shout }}"), "shout"),
        (lambda html: html.replace("macro note", "macro nota"), "no macro 'note'"),
        (lambda html: html.replace("{{ mail.masthead() }}", "{{ mail.masthead() }}<table><tr><td>"), "head and foot: "),
        (lambda html: html.replace('<h2 class="h2"', '</div><h2 class="h2"'), "lead"),
        (lambda html: add("p + p { color: red }"), "siblings"),
        (lambda html: add("td:first-child { color: red }"), "position"),
        (lambda html: add(".x { color: }"), "color"),
        (lambda html: html.replace("{{ mail.masthead() }}", "{{ personal.nmae }}"), "nmae"),
        (lambda html: html.replace("{{ mail.masthead() }}", "{{ items }}"), "items"),
    ],
)
def test_problems_names_each_mistake(change: Callable[[str], str], words: str, tmp_path: Path) -> None:
    broken = change(HTML)
    assert broken != HTML
    found = find_template_problems(own_templates(tmp_path, html=broken), "own")
    assert found
    assert any(words in problem.message for problem in found), [str(problem) for problem in found]
    assert all(problem.file.startswith("templates/") for problem in found)


def test_problems_name_the_line(tmp_path: Path) -> None:
    broken = HTML.replace("{{ item.title }}", "{{ item.titel }}")
    line = broken[: broken.index("titel")].count("\n") + 1
    (problem,) = find_template_problems(own_templates(tmp_path, html=broken), "own")
    assert (problem.file, problem.line) == ("templates/own/body.html.j2", line)


def test_an_unknown_template_names_those_there_are() -> None:
    (problem,) = find_template_problems(TEMPLATES, "digset")
    assert "alert, digest, press" in problem.message


@pytest.mark.parametrize(
    "source", ["{{ led.title }}", "{{ lead.title", "{{ lead.title | shout }}", "{{ personal.name }}"]
)
def test_problems_of_a_schedules_subject(source: str) -> None:
    assert find_subject_problems(TEMPLATES, source)


def test_a_good_subject_has_no_problem() -> None:
    assert (
        find_subject_problems(
            TEMPLATES, "{{ lead.title }}{% if items | length > 1 %} and {{ items | length - 1 }} more{% endif %}"
        )
        == []
    )


@pytest.mark.parametrize(
    "colour", ["#0077b6", "#fff", "#000000", "#ffff00", "#808080", "#ff0000", "#7b2d8e", "#12151a"]
)
def test_text_is_readable_in_light_and_dark(colour: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5:1."""
    shades = palette(colour)
    assert contrast(shades.brand, shades.on_brand) >= AA
    for ground in (shades.paper, shades.ground, shades.tint):
        for text in (shades.accent, shades.ink, shades.muted):
            assert contrast(text, ground) >= AA
    for ground in (shades.paper_dark, shades.ground_dark, shades.tint_dark):
        for text in (shades.accent_dark, shades.ink_dark, shades.muted_dark):
            assert contrast(text, ground) >= AA


def test_contrast_as_the_standard_computes_it() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_wrapping_never_cuts_a_url() -> None:
    url = "https://example.org/" + "a" * 100
    assert url in wrap(f"Words before {url} and after").splitlines()


def test_bodies_as_text_keep_links_lists_and_quotes() -> None:
    text = html_to_text(
        '<p>One<br>two</p><ul><li>a <a href="https://x/">b</a></li><li>c</li></ul><blockquote><p>q</p></blockquote>'
        "<pre>  p\n q</pre><table><tr><th>h</th><td>d</td></tr></table>"
        '<p><a href="mailto:a@b.c">a@b.c</a></p><p><img src="x" alt="picture"></p>'
    )
    assert text == "One\ntwo\n\n- a b <https://x/>\n- c\n\n> q\n\n  p\n q\n\nh | d\n\na@b.c\n\n[picture]"


def test_headings_of_a_body_never_jump() -> None:
    assert fit_headings('<h1 id="a">A</h1><h4>B</h4><h1>C</h1>', 3) == "<h3>A</h3><h4>B</h4><h3>C</h3>"


def test_site_names_are_escaped() -> None:
    assert "Steppe &amp; Sky" in document([item()], site=SITE).fragments["head"].html
