"""Mail templates: folders of three files over `_base/`, found in the newsroom first, checked before they are used."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, TypeVar

from jinja2 import BaseLoader, Environment, Template, TemplateNotFound, TemplateSyntaxError
from jinja2.debug import rewrite_traceback_stack
from jinja2.exceptions import TemplateError as JinjaError

from tidings.model.errors import InputError
from tidings.render.sandbox import MailEnvironment, budget

FILES: Final = ("subject.txt.j2", "body.html.j2", "body.txt.j2")
MACROS: Final = ("head", "lead", "section", "item", "foot", "note", "correction")
BODY_NAMES: Final = frozenset(
    {"site", "list", "edition", "language", "dir", "start", "end", "colours", "personal", "_", "gettext", "ngettext"}
)
SUBJECT_NAMES: Final = BODY_NAMES - {"personal", "colours"} | {"items", "lead"}
BUILT_IN: Final = frozenset({"range", "namespace"})
_MAX_SOURCE: Final = 200_000
PAGES: Final = "pages"
"""The one folder beside them that is not for mail."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
T = TypeVar("T")


class TemplateError(InputError):
    """A template cannot be used; the message names file and line."""


def shipped_templates() -> Path:
    """The templates that come with Tidings: in the wheel beside the code, in a checkout at its root."""
    inside = Path(__file__).parent.parent / "_newsroom" / "templates"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "templates"


class _Folders(BaseLoader):
    """`NAME/FILE` from the newsroom if it has the folder NAME, else from the shipped ones; `_base/` file by file."""

    def __init__(self, overrides: Path | None, shipped: Path) -> None:
        self.overrides, self.shipped = overrides, shipped

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Any]:
        path = self.path(template)
        if path is None:
            raise TemplateNotFound(template)
        try:
            raw = path.read_bytes()
            source = raw.decode("utf-8-sig").replace("\r\n", "\n")
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateNotFound(template, f"templates/{template} cannot be read: {error}") from error
        if len(raw) > _MAX_SOURCE:
            raise TemplateNotFound(template, f"templates/{template} is larger than {_MAX_SOURCE:,} bytes")
        stamp = path.stat().st_mtime_ns, len(raw)

        def unchanged() -> bool:
            now = self.path(template)
            return now == path and (path.stat().st_mtime_ns, path.stat().st_size) == stamp

        return source, str(path), unchanged

    def path(self, template: str) -> Path | None:
        """Where a template's file is; None if it is nowhere. Nothing outside the two folders is ever read."""
        folder, _, file = template.partition("/")
        if not file or "/" in file or not (folder == "_base" or NAME.fullmatch(folder)) or file.startswith("."):
            return None
        for root in (self.overrides, self.shipped):
            if root is None or not (root / folder).is_dir():
                continue
            path = (root / folder / file).resolve()
            if path.is_file() and path.is_relative_to(root.resolve()):
                return path
            if folder != "_base":
                return None
        return None


class MailTemplates:
    """The templates of one newsroom. `overrides` is its `templates/` folder, which need not exist."""

    def __init__(self, overrides: Path | None = None, *, shipped: Path | None = None) -> None:
        self.loader = _Folders(overrides, shipped or shipped_templates())
        self.environment = MailEnvironment(self.loader)
        self._subject = lru_cache(maxsize=64)(self._compile_subject)

    def names(self) -> list[str]:
        """Every template that a schedule may name."""
        roots = [root for root in (self.loader.overrides, self.loader.shipped) if root is not None and root.is_dir()]
        found = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
        return sorted(name for name in found if NAME.fullmatch(name) and name != PAGES)

    def body(self, name: str, part: str) -> Template:
        """`part` is `html` or `txt`; TemplateError names file and line."""
        return self._get(f"{name}/body.{part}.j2")

    def subject(self, name: str, source: str) -> tuple[Template, Template]:
        """The templates of the subject (`source` if given, else the template's own) and of `preheader`."""
        own = self._get(f"{name}/subject.txt.j2")
        return (self._subject(source) if source else own), own

    def _compile_subject(self, source: str) -> Template:
        try:
            return self.environment.from_string(_text_only(source))
        except TemplateSyntaxError as error:
            raise TemplateError(f"the subject {source!r}: {error.message}") from error

    def _get(self, name: str) -> Template:
        try:
            return self.environment.get_template(name)
        except TemplateSyntaxError as error:
            raise TemplateError(f"templates/{error.name or name}:{error.lineno}: {error.message}") from error
        except TemplateNotFound as error:
            missing = error.name or name
            message = error.message if error.message and error.message != missing else f"templates/{missing} is missing"
            raise TemplateError(message) from error


def _text_only(source: str) -> str:
    """A subject is text: nothing in it is escaped."""
    return "{% autoescape false %}" + source + "{% endautoescape %}"


def run_guarded(call: Callable[..., T], *args: Any, file: str) -> T:
    """Runs a macro or template within the budget; every failure becomes a TemplateError with file and line."""
    try:
        with budget():
            return call(*args)
    except TemplateError:
        raise
    except RecursionError as error:
        raise TemplateError(f"templates/{file}: macros call themselves without end") from error
    except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # Jinja does this by itself only in `render`; a macro's frames are still those of the generated code.
        rewrite_traceback_stack()
        line, where = _template_line(error, file)
        raise TemplateError(f"templates/{where}:{line}: {error}") from error


def _template_line(error: BaseException, file: str) -> tuple[int, str]:
    """Jinja rewrites tracebacks: the last frame inside a template is where it went wrong."""
    for frame in reversed(extract_tb(error.__traceback__)):
        if frame.filename.endswith(".j2"):
            path = Path(frame.filename)
            return frame.lineno or 0, f"{path.parent.name}/{path.name}"
    return 0, file
