"""One expression of a template or a subject cannot use up memory or processor time."""

from __future__ import annotations

import pytest
from jinja2 import DictLoader
from jinja2.exceptions import TemplateRuntimeError

from tidings.render.templates import make_environment

HUGE = [
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * [1] }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ 'a\na' | indent(1000000000) }}",
    "{{ ('a\n' * 100000) | indent('b' * 100000) }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{{ range(90000) | join('a' * 100000) }}",
    "{{ ('a' * 100000).join('b' * 100000) }}",
    "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "{{ ('a' * 100000) | replace(old='a', new='b' * 100000) }}",
    "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "{{ [[1]] | sum(start=[]) }}",
    "{% set n = namespace(t='aaaaaaaa') %}{% for i in range(60) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
    "{% set n = namespace(t='aaaaaaaa') %}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}",
    "{% set n = namespace(t=2) %}{% for i in range(60) %}{% set n.t = n.t * n.t %}{% endfor %}",
]


@pytest.mark.parametrize("source", HUGE)
def test_no_expression_makes_a_huge_result(source: str) -> None:
    with pytest.raises(TemplateRuntimeError, match=r"too large|at most|digits|numbers only"):
        make_environment(DictLoader({})).from_string(source).render()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ '-' * 72 }}", "-" * 72),
        ("{{ ['a', 'b'] | join(', ') }}", "a, b"),
        ("{{ {'a': 1} | join }}", "a"),
        ("{{ [{'x': 'a'}, {'x': 'b'}] | join('+', attribute='x') }}", "a+b"),
        ("{{ 'a-b' | replace('-', ' ') }}", "a b"),
        ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
        ("{{ '%03d' % 7 }} {{ '%s' | format('x') }} {{ '{:>4}'.format('a') }}", "007 x    a"),
        ("{{ [1, 2] | sum }} {{ [1, 2] | sum(start=3) }}", "3 6"),
        ("{{ [1, 2, 3] | batch(2) | list | length }}", "2"),
        ("{{ '100000 of %s' % 2 }}", "100000 of 2"),
        ("{{ 'a' ~ 1 ~ 'b' }} {{ 2 ** 10 }}", "a1b 1024"),
        ("{{ ['b', 'a'] | sort | first | upper }}", "A"),
    ],
)
def test_common_expressions_of_templates_work(source: str, text: str) -> None:
    assert make_environment(DictLoader({})).from_string(source).render() == text
