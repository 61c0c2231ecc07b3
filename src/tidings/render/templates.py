"""Mail templates: folders of three files that use `_base/`. A newsroom's folder replaces the shipped one."""

from __future__ import annotations

import math
import pickle
import re
import resource
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, TypeVar

from jinja2 import (
    BaseLoader,
    BytecodeCache,
    Environment,
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateSyntaxError,
    Undefined,
)
from jinja2.bccache import Bucket
from jinja2.debug import rewrite_traceback_stack
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.exceptions import TemplateRuntimeError

from tidings.child_process import ChildError, run_in_child
from tidings.model.errors import InputError
from tidings.render.mail.plaintext import wrap
from tidings.render.sandbox import BoundedEnvironment

FILES: Final = ("subject.txt.j2", "body.html.j2", "body.txt.j2")
MACROS: Final = ("head", "lead", "section", "item", "foot", "note", "correction")
BODY_NAMES: Final = frozenset(
    {"site", "list", "edition", "language", "dir", "start", "end", "colours", "personal", "_", "gettext", "ngettext"}
)
SUBJECT_NAMES: Final = BODY_NAMES - {"personal", "colours"} | {"items", "lead"}
_MAX_SOURCE: Final = 200_000
_PAGES: Final = "pages"
"""The only folder in `templates/` that is not a mail template."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_ERRORS: Final = (
    JinjaError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    AssertionError,
    RecursionError,
    MemoryError,
)
"""Exceptions that a mistake in a template raises while it runs."""
_SECONDS: Final = 5
"""Most processor time of a template, in seconds. Then the error names the line that was running."""
_HARD_SECONDS: Final = 20
"""Processor time after which the child process is killed, because code in C cannot be interrupted before it returns."""
T = TypeVar("T")
Sources = Mapping[str, tuple[str, str, str]]
"""The text, the file and the error of each template, by its name."""


class TemplateError(InputError):
    """A template cannot be used; the message names file and line."""


def run_limited(function: Callable[..., Any], name: str, *args: Any) -> Any:
    """Run a function that renders templates of a newsroom in a child process with limits, and return its JSON.

    However wrong the templates are, no loop and no huge result can block or fill the main process. `name` is the folder
    in an error whose line is unknown. Raises TemplateError.
    """
    try:
        answer = run_in_child(answer_call, pickle.dumps((function, args, _SECONDS)), _HARD_SECONDS)
    except ChildError:
        raise TemplateError(f"templates/{name}: takes too much time or memory; simplify its loops") from None
    if "error" in answer:
        raise TemplateError(answer["error"])
    return answer["result"]


def answer_call(data: bytes) -> dict[str, Any]:
    """Answer a request of `run_limited`. Runs in the child process."""
    function, args, seconds = pickle.loads(data)  # noqa: S301  the parent made it
    signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    # That timer does not count the time in which the kernel allocates memory for a large result.
    unlimited = resource.getrlimit(resource.RLIMIT_CPU)
    signal.signal(signal.SIGXCPU, _stop)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), unlimited[1]))
    try:
        return {"result": function(*args)}
    except InputError as error:
        return {"error": str(error)}
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_CPU, unlimited)


def _stop(*_: object) -> None:
    raise TemplateRuntimeError("takes too long; simplify the loops")


def find_shipped_templates() -> Path:
    """Return the folder of the shipped templates: next to the code in the wheel, at the root in a checkout."""
    inside = Path(__file__).parent.parent / "_newsroom" / "templates"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "templates"


class _TemplateCache(BytecodeCache):
    """Keeps compiled templates by their source, so that each is compiled once in a process."""

    def __init__(self) -> None:
        self._bytecode: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._bytecode:
            bucket.bytecode_from_string(self._bytecode[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._bytecode[bucket.key] = bucket.bytecode_to_string()


_CACHES: Final[dict[tuple[str, ...], _TemplateCache]] = defaultdict(_TemplateCache)
"""Keys are options of the environment, because they change the compiled code."""


def make_environment(loader: BaseLoader, **options: Any) -> BoundedEnvironment:
    """Make Jinja's sandbox with strict names, for mails and pages. HTML is escaped in `*.html.j2`.

    Templates cannot reach files, the network or the environment, and Jinja limits `range()` (MAX_RANGE). Each result
    has a limit of size (`sandbox`). The random helpers are removed, because equal input must give equal bytes.
    """
    environment = BoundedEnvironment(
        loader=loader,
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_CACHES[tuple(sorted(options))],
        **options,
    )
    del environment.filters["random"], environment.globals["lipsum"]
    return environment


class _FolderLoader(BaseLoader):
    """Loads `NAME/FILE` from the newsroom if it has the folder NAME, else the shipped file; `_base/` by file."""

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

        def is_unchanged() -> bool:
            now = self.path(template)
            return now == path and (path.stat().st_mtime_ns, path.stat().st_size) == stamp

        return source, str(path), is_unchanged

    def path(self, template: str) -> Path | None:
        """The file of a template, or None. Nothing outside the two folders is ever read."""
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


class SourceLoader(BaseLoader):
    """Loads templates whose text was already read by the parent process."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Any]:
        source, file, error = self._sources.get(template, ("", "", template))
        if error:
            raise TemplateNotFound(template, error)
        return source, file, lambda: True

    def path(self, template: str) -> Path | None:
        """The file of a template, or None."""
        return Path(self._sources[template][1]) if template in self._sources else None


class MailTemplates:
    """The mail templates of one newsroom. `overrides` is its `templates/` folder, which need not exist."""

    def __init__(self, overrides: Path | None = None, *, sources: Sources | None = None) -> None:
        self.folders = tuple(root for root in (overrides, find_shipped_templates()) if root is not None)
        self.overrides = overrides
        self.loader = _FolderLoader(overrides, self.folders[-1]) if sources is None else SourceLoader(sources)
        self._sources: dict[str, Sources] = {}
        self.environment = make_environment(
            self.loader, finalize=_check_printable, extensions=["jinja2.ext.loopcontrols"]
        )
        self.environment.filters["wrap"] = wrap
        self._compile_subject = lru_cache(maxsize=64)(self._uncached_subject)

    def names(self) -> list[str]:
        """Return every template that a schedule may name."""
        roots = [root for root in self.folders if root.is_dir()]
        folders = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
        return sorted(name for name in folders if NAME.fullmatch(name) and name != _PAGES)

    def are_own(self, name: str, subject: str = "") -> bool:
        """Whether the template or the subject is the newsroom's own, so that it must be rendered in a child process."""
        if isinstance(self.loader, SourceLoader):
            return False
        if name in self._sources and not self.environment.auto_reload:
            return True
        own = self.overrides is not None and any((self.overrides / folder).is_dir() for folder in (name, "_base"))
        return own or "{" in subject

    def sources(self, name: str) -> Sources:
        """Read all files that the template may use. They are read only once unless templates are reloaded."""
        if name in self._sources and not self.environment.auto_reload:
            return self._sources[name]
        found: dict[str, tuple[str, str, str]] = {}
        files = {
            f"{folder}/{path.name}"
            for root in self.folders
            for folder in (name, "_base")
            if (root / folder).is_dir()
            for path in (root / folder).iterdir()
        }
        for file in sorted(files):
            if self.loader.path(file) is None:
                continue
            try:
                source, path, _ = self.loader.get_source(self.environment, file)
                found[file] = source, path, ""
            except TemplateNotFound as error:
                found[file] = "", "", str(error.message)
        self._sources[name] = found
        return found

    def body(self, name: str, part: str) -> Template:
        """Load a template's body. `part` is `html` or `txt`. Raises TemplateError."""
        return get_template(self.environment, f"{name}/body.{part}.j2")

    def subject(self, name: str, source: str) -> tuple[Template, Template]:
        """Return the templates of subject and preheader. `source` is the subject's; '' is the mail template's."""
        own = get_template(self.environment, f"{name}/subject.txt.j2")
        return (self._compile_subject(source) if source else own), own

    def _uncached_subject(self, source: str) -> Template:
        try:
            return self.environment.from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateError(f"the subject {source!r}: {error.message}") from error


def get_template(environment: Environment, name: str, *, folder: str = "") -> Template:
    """Load a template by its name below templates/`folder`. Raises TemplateError."""
    try:
        return environment.get_template(name)
    except TemplateSyntaxError as error:
        raise TemplateError(f"templates/{folder}{error.name or name}:{error.lineno}: {error.message}") from error
    except TemplateNotFound as error:
        missing = error.name or name
        if error.message and error.message != missing:
            raise TemplateError(error.message) from error
        raise TemplateError(f"templates/{folder}{missing} is missing") from error


def run_template(call: Callable[..., T], *args: Any, file: str) -> T:
    """Run a macro or template. Every failure becomes a TemplateError with file and line."""
    try:
        return call(*args)
    except TemplateError:
        raise
    except RecursionError as error:
        raise TemplateError(f"templates/{file}: a macro calls itself without end") from error
    except _ERRORS as error:
        # Jinja does this only in `render`; a macro's frames still name the generated code.
        rewrite_traceback_stack()
        raise TemplateError(f"templates/{_error_place(error, file)}: {error}") from error


def _error_place(error: BaseException, file: str) -> str:
    """Return FOLDER/FILE:LINE of the template that raised `error`. Jinja rewrites tracebacks to name it."""
    for frame in reversed(extract_tb(error.__traceback__)):
        if frame.filename.endswith(".j2"):
            path = Path(frame.filename)
            return f"{path.parent.name}/{path.name}:{frame.lineno or 0}"
    return f"{file}:0"


def _check_printable(value: Any) -> Any:
    """Return the value of a `{{ }}` unchanged. Raises for a list, an object or None, which nobody means to print."""
    if value is None:
        raise TemplateRuntimeError("a value that is empty (None) is printed; test it with `if` first")
    if not isinstance(value, str | int | float | Undefined):
        raise TemplateRuntimeError(f"only text and numbers can be printed, not {type(value).__name__}")
    return value
