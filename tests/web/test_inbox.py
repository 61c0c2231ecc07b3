"""The inbox page of caught mail shows each mail as its reader would see it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI

from tests.web.server import served
from tidings.runtime.demo.mail_catcher import CaughtMail
from tidings.web.inbox import inbox_router

TEXT = "أبواب مفتوحة من الساعة 10:00.\nhttps://news.example.org/ar/"


def test_the_text_of_an_arabic_mail_begins_at_the_right() -> None:
    head = "From: a@example.org\nSubject: Open\nContent-Language: ar\nContent-Type: text/plain; charset=utf-8\n\n"
    catcher: Any = SimpleNamespace(mails=[CaughtMail(1, "a@example.org", "b@example.org", (head + TEXT).encode())])
    app = FastAPI()
    app.include_router(inbox_router(catcher, Any, "https://news.example.org/"))  # type: ignore[arg-type]
    with served(app) as url:
        page = httpx.get(f"{url}inbox/1").text
        source = httpx.get(f"{url}inbox/1?view=source").text
    assert '<h1 dir="auto" lang="ar">Open</h1>' in page
    assert '<pre dir="auto" lang="ar">أبواب' in page
    assert '<pre dir="ltr">From: a@example.org' in source


def test_the_inbox_speaks_the_browsers_language_and_local_time() -> None:
    head = "Subject: Open\nDate: Mon, 07 Sep 2026 20:00:00 +0000\nContent-Type: text/plain\n\nText"
    catcher: Any = SimpleNamespace(mails=[CaughtMail(1, "a@example.org", "b@example.org", head.encode())])
    receiver: Any = SimpleNamespace(posts=[])
    app = FastAPI()
    app.include_router(inbox_router(catcher, receiver, "https://news.example.org/", zone="Asia/Almaty"))
    with served(app) as url:
        french = httpx.get(f"{url}inbox/", headers={"Accept-Language": "de, fr-CH"}).text
        arabic = httpx.get(f"{url}inbox/1", headers={"Accept-Language": "ar"}).text
        other = httpx.get(f"{url}inbox/2", headers={"Accept-Language": "de"}).text
    assert "Boîte de réception" in french and "À b@example.org" in french and "8 septembre 2026, 01:00" in french
    assert '<html lang="ar" dir="rtl">' in arabic and "المصدر" in arabic
    assert '<html lang="en" dir="ltr">' in other and "There is no such mail." in other
