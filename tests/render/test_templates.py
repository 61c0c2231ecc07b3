"""The sandbox of templates, and where templates are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import TemplateAssertionError

from tests.render.mail.samples import SITE, TEMPLATES, document, item
from tidings.render.templates import MailTemplates, TemplateError, run_template


def render(source: str, **names: object) -> str:
    return run_template(lambda: TEMPLATES.environment.from_string(source).render(**names), file="x")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% for a in range(10000000) %}x{% endfor %}", "MAX_RANGE"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
        ("{{ lipsum() }}", "lipsum"),
        ("{{ items | random }}", "random"),
    ],
)
def test_endless_and_random_templates_are_refused(source: str, reason: str) -> None:
    with pytest.raises((TemplateError, TemplateAssertionError), match=reason):
        render(source, items=[1])


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
def test_the_sandbox_cannot_be_left(source: str) -> None:
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


def test_a_newsrooms_template_replaces_the_shipped_one(tmp_path: Path) -> None:
    folder = tmp_path / "digest"
    folder.mkdir()
    for name in ("body.html.j2", "body.txt.j2"):
        (folder / name).write_text((Path(__file__).parents[2] / "templates/digest" / name).read_text("utf-8"), "utf-8")
    (folder / "subject.txt.j2").write_text("Mine", "utf-8")
    templates = MailTemplates(tmp_path)
    assert "Mine" in templates.loader.get_source(templates.environment, "digest/subject.txt.j2")[0]
    assert templates.names() == ["alert", "digest", "press"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("secret", "utf-8")
    (tmp_path / "t" / "own").mkdir(parents=True)
    (tmp_path / "t" / "own" / "body.html.j2").symlink_to(outside)
    assert MailTemplates(tmp_path / "t").loader.path("own/body.html.j2") is None
    assert TEMPLATES.loader.path("../pyproject.toml") is None
    assert TEMPLATES.loader.path("_base/../digest/body.html.j2") is None


def test_site_names_are_escaped() -> None:
    assert "Steppe &amp; Sky" in document([item()], site=SITE).fragments["head"].html
