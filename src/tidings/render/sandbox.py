"""Jinja's sandbox with a limit on the size of each result, so that one expression cannot use up memory or time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST: Final = 2_000_000
"""Most characters or elements of one result. The largest mail has a tenth of this."""
_WIDEST: Final = 10_000
"""Largest argument: columns, indentation, elements of a batch, digits of a number."""
_WIDE_FORMAT: Final = re.compile(
    r"%(?:\([^()]*\))?[-+ #]*(?:[0-9]{5}|\*|[0-9]{0,4}\.(?:[0-9]{5}|\*))|\{[^{}]+\{|\{[^{}]*[0-9]{5}"
)
_WIDTH_METHODS: Final = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})
_WIDTH_FILTERS: Final = frozenset(
    {"indent", "center", "batch", "slice", "wordwrap", "truncate", "round", "filesizeformat"}
)


def check_size(value: Any) -> Any:
    """Return the value unchanged. Raises TemplateRuntimeError if it is too large."""
    if isinstance(value, str | bytes | list | tuple | dict | set) and len(value) > MOST:
        raise _too_large(len(value))
    if isinstance(value, int) and value.bit_length() > _WIDEST:
        raise TemplateRuntimeError("a number has too many digits")
    return value


def _too_large(size: int) -> TemplateRuntimeError:
    return TemplateRuntimeError(f"a result has {size:,} characters or elements; at most {MOST:,} are possible")


def _check_product(size: int) -> None:
    if size > MOST:
        raise _too_large(size)


def _check_widths(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > _WIDEST:
            raise TemplateRuntimeError(f"the width {value:,} is too large; at most {_WIDEST:,} are possible")


def _check_format(text: Any) -> None:
    if isinstance(text, str) and _WIDE_FORMAT.search(text):
        raise TemplateRuntimeError(f"the format {text[:40]!r} has a width that is too large or comes from a value")


def _check_join(separator: Any, parts: Any) -> Any:
    """Return the parts as a list, after checking the size of the result with its separators."""
    listed = list(parts)
    _check_product(sum(len(str(part)) for part in listed) + len(str(separator)) * len(listed))
    return listed


def _check_replace(text: Any, old: Any, new: Any) -> None:
    count = str(text).count(str(old)) if str(old) else len(str(text)) + 1
    _check_product(len(str(text)) + count * len(str(new)))


class _Generator(CodeGenerator):
    """Generates code that checks the size of each `a ~ b`, which a loop could double without end."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.check_size(")
        super().visit_Concat(node, frame)
        self.write(")")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox for the templates of a newsroom and for subjects in YAML."""

    intercepted_binops = frozenset({"+", "*", "%", "**"})
    code_generator_class = _Generator
    check_size = staticmethod(check_size)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.filters = {name: _bound(name, function) for name, function in self.filters.items()}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right` if the result cannot be too large."""
        if operator == "%":
            _check_format(left)
        elif operator == "*":
            for sequence, count in ((left, right), (right, left)):
                if isinstance(sequence, str | list | tuple) and isinstance(count, int):
                    _check_product(len(sequence) * max(count, 0))
            if isinstance(left, int) and isinstance(right, int):
                check_size(left), check_size(right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check_product(left.bit_length() * max(right, 0) * (MOST // _WIDEST))
        return check_size(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str):
            if name in _WIDTH_METHODS:
                _check_widths((*args, *kwargs.values()))
            elif name in ("format", "format_map"):
                _check_format(owner)
            elif name == "join" and args:
                args = (_check_join(owner, args[0]), *args[1:])
            elif name == "replace" and len(args) >= 2:
                _check_replace(owner, args[0], args[1])
        return __self.check_size(super().call(__context, __obj, *args, **kwargs))


def _bound(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a filter with limits on its arguments and its result."""
    # Jinja passes the context or the environment first to filters that are marked for it.
    skipped = 1 if hasattr(function, "jinja_pass_arg") else 0

    def bounded(*args: Any, **kwargs: Any) -> Any:
        value, rest = args[skipped], args[skipped + 1 :]
        everything = (*rest, *kwargs.values())
        if name in _WIDTH_FILTERS:
            _check_widths(everything)
            if name == "indent":
                width = rest[0] if rest else kwargs.get("width", 4)
                _check_product(
                    len(str(value)) + str(value).count("\n") * (width if isinstance(width, int) else len(width))
                )
        elif name == "join":
            attribute = rest[1] if len(rest) > 1 else kwargs.get("attribute")
            if attribute is None:
                separator = rest[0] if rest else kwargs.get("d", "")
                args = (*args[:skipped], _check_join(separator, value), *rest)
            else:
                _check_product(len(str(rest[0] if rest else kwargs.get("d", ""))) * len(value))
        elif name == "replace":
            names = dict(zip(("old", "new"), rest, strict=False)) | kwargs
            _check_replace(value, names.get("old", ""), names.get("new", ""))
        elif name == "format":
            _check_format(value)
        elif name == "sum":
            start = rest[1] if len(rest) > 1 else kwargs.get("start", 0)
            if not isinstance(start, int | float):
                raise TemplateRuntimeError("`sum` adds numbers only; use `join` for text")
        return check_size(function(*args, **kwargs))

    bounded.__dict__.update(getattr(function, "__dict__", {}))
    return bounded
