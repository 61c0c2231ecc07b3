"""Jinja2's sandbox with what it lacks: a budget of work and memory, so that no template takes the machine with it.

Jinja's own sandbox guards attributes and little else: nested loops or `'x' * 10**9` run or allocate without end. Here
loops, calls and output draw on one budget for each rendering, strings and lists have a greatest length, and there are
only filters and string methods whose result is in proportion to their input. Nothing leads to the environment, files
or network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, cast

from jinja2 import BaseLoader, StrictUndefined, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from tidings.render.mail.plaintext import wrap

BUDGET: Final = 6_000_000
"""Characters of output, plus `_STEP` for each loop step and `_CALL` for each call, of one macro or template."""
_STEP: Final = 40
_CALL: Final = 400
MAX_TEXT: Final = 500_000
MAX_NUMBER: Final = 10_000
"""The greatest number that a filter, a method or `range` takes: widths and counts, not values."""
_FILTERS: Final = frozenset(
    """abs batch capitalize count d default dictsort e escape first float forceescape groupby indent int items join last
    length list lower map max min reject rejectattr replace round safe select selectattr slice sort striptags sum title
    trim truncate unique upper urlencode wordcount""".split()  # noqa: SIM905
)
_TEXT_METHODS: Final = frozenset(
    """capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower isnumeric isspace
    istitle isupper lower lstrip partition removeprefix removesuffix rfind rindex rpartition rsplit rstrip split
    splitlines startswith strip swapcase title upper unescape striptags""".split()  # noqa: SIM905
)
_WIDE_FORMAT: Final = re.compile(r"\*|\d{4,}")


class TemplateLimitError(SecurityError):
    """The template asks for more work or memory than a mail can need."""


_left: ContextVar[list[int]] = ContextVar("template_budget")


@contextmanager
def budget(units: int = BUDGET) -> Iterator[None]:
    """Everything rendered inside draws on one budget."""
    token = _left.set([units])
    try:
        yield
    finally:
        _left.reset(token)


def _charge(units: int) -> None:
    left = _left.get(None)
    if left is None:
        raise RuntimeError("a template was rendered outside budget()")
    left[0] -= units
    if left[0] < 0:
        raise TemplateLimitError("the template does too much: its loops, calls or output have no sensible end")


def _fits(value: Any) -> Any:
    if isinstance(value, str | bytes | list | tuple | dict) and len(value) > MAX_TEXT:
        raise TemplateLimitError(f"a value grew beyond {MAX_TEXT:,} characters or entries")
    return value


def _small(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise TemplateLimitError(f"{value:,} is too great a number here; at most {MAX_NUMBER:,}")


def _metered(values: Iterable[Any], weight: int) -> Iterator[Any]:
    for value in values:
        _charge(weight)
        yield value


def _capped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a filter whose numbers and result are bounded. `wraps` keeps Jinja's marks on it."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        _charge(_STEP)
        _small(args[1:])
        _small(kwargs.values())
        texts = [value for value in args if isinstance(value, str)]
        if name == "replace" and len(texts) >= 3 and texts[0].count(texts[1]) * len(texts[2]) > MAX_TEXT:
            raise TemplateLimitError("replace() would grow the text without bounds")
        if name == "join" and texts and sum(map(len, texts)) * 100 > MAX_TEXT:
            raise TemplateLimitError("join() takes separators of at most 5,000 characters")
        result = function(*args, **kwargs)
        return _fits(result)

    return run


class MailEnvironment(ImmutableSandboxedEnvironment):
    """Strict names, HTML escaped in `*.html.j2`, no helpers beyond the listed ones, everything metered."""

    intercepted_binops = frozenset({"*", "+", "**", "%", "-", "/", "//"})

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            undefined=StrictUndefined,
            autoescape=_escapes,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            finalize=_finalize,
            cache_size=100,
            extensions=["jinja2.ext.loopcontrols"],
        )
        self.globals.clear()
        self.globals["range"] = _range
        self.globals["namespace"] = Namespace
        kept = {name: _capped(name, self.filters[name]) for name in _FILTERS if name in self.filters}
        self.filters.clear()
        self.filters.update(kept)
        self.filters["wrap"] = _capped("wrap", wrap)
        self.filters["_metered"] = _metered
        self.filters["_bounded"] = _bounded
        self.policies["json.dumps_function"] = None

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = _instrument(super()._parse(source, name, filename))
        template.set_environment(self)
        return template

    def wrap_str_format(self, value: Any) -> Any:
        """No `str.format`: widths like `{:1000000000}` are beyond any meter. `%` is there."""
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str | bytes) and attr not in _TEXT_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        _charge(_CALL)
        if not isinstance(obj, type):
            _small(args)
        return _fits(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _charge(_STEP)
        if operator == "%" and isinstance(left, str) and _WIDE_FORMAT.search(left):
            raise TemplateLimitError("a format asks for more than 999 columns")
        if operator == "**":
            _small((left, right))
            if isinstance(right, int) and right > 64:
                raise TemplateLimitError("a power above 64")
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and isinstance(times, int) and len(text) * times > MAX_TEXT:
                    raise TemplateLimitError("a text or list is repeated without bounds")
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > 256:
                raise TemplateLimitError("a number without bounds")
        return _fits(super().call_binop(context, operator, left, right))


def _escapes(name: str | None) -> bool:
    return name is None or name.endswith(".html.j2")


def _range(*args: int) -> range:
    values = range(*args)
    if len(values) > MAX_NUMBER:
        raise TemplateLimitError(f"range() gives at most {MAX_NUMBER:,} numbers")
    return values


@pass_context
def _finalize(_: Context, value: Any) -> Any:
    """What `{{ }}` prints: text and numbers, each charged; a list or an object printed in a mail is a mistake.

    It takes the context so that Jinja does not run it while compiling, where there is no budget.
    """
    if isinstance(value, str):
        _charge(len(value))
        return value
    if value is None:
        raise TemplateLimitError("a value that is empty (None) is printed; test it with `if` first")
    if isinstance(value, int | float | Undefined):
        _charge(20)
        return value
    raise TemplateLimitError(f"only text and numbers can be printed, not {type(value).__name__}")


def _bounded(value: Any) -> Any:
    if not isinstance(value, str | int | float | Undefined):
        raise TemplateLimitError(f"only text and numbers can be joined to text, not {type(value).__name__}")
    if isinstance(value, str):
        _charge(len(value))
    return _fits(value)


def _instrument(template: nodes.Template) -> nodes.Template:
    """Puts the meter into loops, `~`, and `{% set %}` blocks, which the sandbox offers no hook for."""
    for loop in list(template.find_all(nodes.For)):
        text = sum(len(data.data) for data in loop.find_all(nodes.TemplateData))
        weight = nodes.Const(_STEP + text, lineno=loop.lineno)
        loop.iter = _filter(cast(nodes.Expr, loop.iter), "_metered", [weight], loop.lineno)
    for concat in list(template.find_all(nodes.Concat)):
        concat.nodes = [_filter(node, "_bounded", [], concat.lineno) for node in concat.nodes]
    for block in list(template.find_all(nodes.AssignBlock)):
        block.filter = _filter(block.filter, "_bounded", [], block.lineno)
    return template


def _filter(node: nodes.Expr | None, name: str, args: list[nodes.Expr], lineno: int) -> nodes.Filter:
    return nodes.Filter(node, name, args, [], None, None, lineno=lineno)
