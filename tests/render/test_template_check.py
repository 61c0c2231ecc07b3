"""The mistakes that the check of a mail template finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.render.mail.samples import TEMPLATES, own_templates
from tidings.render.template_check import find_subject_problems, find_template_problems
from tidings.render.templates import MailTemplates, TemplateError

HTML = (Path(__file__).parents[2] / "templates/digest/body.html.j2").read_text("utf-8")


def test_missing_files_of_a_template_are_named(tmp_path: Path) -> None:
    (tmp_path / "digest").mkdir()
    (tmp_path / "digest" / "subject.txt.j2").write_text("Mine", "utf-8")
    problems = find_template_problems(MailTemplates(tmp_path), "digest")
    assert {problem.file for problem in problems} == {"templates/digest/body.html.j2", "templates/digest/body.txt.j2"}
    assert all("missing" in problem.message for problem in problems)


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
def test_each_mistake_is_named(change: Callable[[str], str], words: str, tmp_path: Path) -> None:
    broken = change(HTML)
    assert broken != HTML
    problems = find_template_problems(own_templates(tmp_path, html=broken), "own")
    assert problems
    assert any(words in problem.message for problem in problems), [str(problem) for problem in problems]
    assert all(problem.file.startswith("templates/") for problem in problems)


def test_the_line_of_a_mistake_is_named(tmp_path: Path) -> None:
    broken = HTML.replace("{{ item.title }}", "{{ item.titel }}")
    line = broken[: broken.index("titel")].count("\n") + 1
    (problem,) = find_template_problems(own_templates(tmp_path, html=broken), "own")
    assert (problem.file, problem.line) == ("templates/own/body.html.j2", line)


def test_an_unknown_template_lists_the_known_ones() -> None:
    (problem,) = find_template_problems(TEMPLATES, "digset")
    assert "alert, digest, press" in problem.message


@pytest.mark.parametrize(
    "source", ["{{ led.title }}", "{{ lead.title", "{{ lead.title | shout }}", "{{ personal.name }}"]
)
def test_mistakes_of_a_subject_are_found(source: str) -> None:
    assert find_subject_problems(TEMPLATES, source)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("{% macro again(n) %}{{ again(n + 1) }}{% endmacro %}{{ again(1) }}", "a macro calls itself without end"),
        ("{{ 'a long text' | truncate(5, true, 'and much more') }}", "expected length >= 13"),
    ],
)
def test_the_reason_is_named_and_not_the_time(expression: str, words: str, tmp_path: Path) -> None:
    (message,) = find_subject_problems(TEMPLATES, expression)
    broken = HTML.replace("{{ item.title }}", "{{ item.title }}" + expression, 1)
    (problem,) = find_template_problems(own_templates(tmp_path, html=broken), "own")
    assert words in message and words in problem.message


def test_a_good_subject_has_no_problem() -> None:
    assert (
        find_subject_problems(
            TEMPLATES, "{{ lead.title }}{% if items | length > 1 %} and {{ items | length - 1 }} more{% endif %}"
        )
        == []
    )


ENDLESS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
GREEDY = [
    ENDLESS,
    "{% macro twice(n) %}{{ twice(n - 1) ~ twice(n - 1) if n else '' }}{% endmacro %}{{ twice(90) }}",
    "{% set b = namespace(x=[]) %}{% for a in range(99999) %}{% set b.x = [b.x, 'x' * 1999999 ~ a] %}{% endfor %}",
    "{% set b = namespace(x=[1]) %}{% for a in range(99) %}{% set b.x = [b.x, b.x] %}{% endfor %}{{ b.x | string }}",
    "{% set n = namespace(x='') %}{% for a in range(9999) %}"
    "{% set x = ('ab' * 900000 ~ 'c') | wordwrap(1) %}{% endfor %}",
]


@pytest.mark.parametrize("greedy", GREEDY)
def test_endless_work_is_named_with_its_line(greedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.render.templates._SECONDS", 1)  # CPU time: five times what the rest of the mail takes
    broken = HTML.replace("{{ item.title }}", "{{ item.title }}" + greedy, 1)
    line = broken[: broken.index(greedy)].count("\n") + 1
    (problem,) = find_template_problems(own_templates(tmp_path, html=broken), "own")
    assert (problem.file, problem.line) == ("templates/own/body.html.j2", line), problem
    assert "too long" in problem.message or "memory" in problem.message or "at most" in problem.message


def test_own_templates_are_rendered_in_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object) -> None:
        raise TemplateError("templates/own/body.html.j2:7: the child was asked")

    monkeypatch.setattr("tidings.render.template_check.run_limited", ask)
    (problem,) = find_template_problems(own_templates(tmp_path, html=HTML), "own")
    assert (problem.line, problem.message) == (7, "the child was asked")


@pytest.mark.parametrize(
    "greedy", [ENDLESS, "{{ 'x' * 10**9 }}", "{% set b = 'ab' * 900000 %}{{ [b ~ 1] * 900000 == [b ~ '1'] * 900000 }}"]
)
def test_endless_work_of_a_subject_is_found(greedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.render.templates._SECONDS", 1)
    monkeypatch.setattr("tidings.render.templates._HARD_SECONDS", 5)
    assert find_subject_problems(TEMPLATES, "News " + greedy)
