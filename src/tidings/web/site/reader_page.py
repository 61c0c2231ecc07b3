"""Shared by pages for one reader: language, the shipped template as a fallback, and pages with one message."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.pipeline.members.mails import page_frame
from tidings.render.pages.pages import PageContext, Pages
from tidings.runtime.newsroom import Runtime
from tidings.store.engine import describe_fault
from tidings.web.requests import page_response, preferred_languages

log = logging.getLogger("tidings.web")


def render_page(make: Callable[[Pages], bytes], pages: Pages) -> bytes:
    """Render a page. If the newsroom's own template fails, use the shipped one, so that every reader gets a page."""
    try:
        return make(pages)
    except InputError as error:
        log.warning("%s; the shipped page is shown instead", error)
        return make(Pages())


class ReaderPage:
    """A page in answer to one reader's request."""

    def __init__(self, runtime: Runtime, pages: Pages, request: Request) -> None:
        self._runtime = runtime
        self._newsroom: Newsroom = runtime.newsroom
        self._pages = pages
        self._preferred = preferred_languages(request)

    def _context(self, language: str = "") -> PageContext:
        """Return the template context in a language of the site: the given one, else the browser's, else the first."""
        site_languages = self._newsroom.site.languages
        known = (name for name in (language, *self._preferred) if name in site_languages)
        return page_frame(self._newsroom, next(known, ""))

    def _respond(self, context: PageContext, make: Callable[[Pages], bytes], status: int = 200) -> Response:
        return page_response(render_page(make, self._pages), context.site.language, status)

    def _message(
        self, context: PageContext, title: str, *texts: str, button: str = "", more: str = "", status: int = 200
    ) -> Response:
        """Return a page with one message, and a button if there is something to do."""
        return self._respond(
            context, lambda pages: pages.action_page(context, title, list(texts), button=button, more=more), status
        )

    def _unknown_link(self) -> Response:
        context = self._context()
        gettext = context.words.gettext
        text = gettext("Open the whole link from the mail again, or answer the mail.")
        return self._message(context, gettext("This link does not work"), text, status=404)

    def _unavailable(self, action: str, error: SQLAlchemyError) -> Response:
        log.error("%s failed because the store cannot be used: %s", action, describe_fault(error))
        context = self._context()
        gettext = context.words.gettext
        text = gettext("This cannot be done right now. Please try again in a minute.")
        response = self._message(context, gettext("Please wait a little"), text, status=503)
        response.headers["Retry-After"] = "60"
        return response
