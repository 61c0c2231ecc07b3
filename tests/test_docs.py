"""The docs are part of the product: generated pages are current and complete, and every link works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from docs import room_pictures
from docs.generate import ITEM_KEYS, PAGES, REFERENCE

from tidings import plugins
from tidings.config.schedule import CadenceText, ListDelivery, Schedule
from tidings.config.settings import MailingList, NewsroomConfig, Site
from tidings.render import i18n
from tidings.sources.folder.front_matter import KEYS

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_matches_the_code(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name]().rstrip() + "\n", "run `make docs`"


def test_every_key_of_front_matter_is_described() -> None:
    assert set(ITEM_KEYS) == set(KEYS)


def test_every_setting_is_described() -> None:
    for model in (NewsroomConfig, Site, MailingList, Schedule, CadenceText, ListDelivery):
        for name, field in model.model_fields.items():
            assert field.description, (model, name)


def test_every_adapter_is_in_the_reference() -> None:
    text = (REFERENCE / "tidings-yaml.md").read_text(encoding="utf-8")
    for name in (*plugins.SOURCES, *plugins.CHANNELS, *plugins.MAIL):
        assert f"`type: {name}`" in text


def test_every_command_that_the_docs_name_exists() -> None:
    known = set(re.findall(r"^## tidings (\w+)", (REFERENCE / "commands.md").read_text(encoding="utf-8"), re.MULTILINE))
    for path in TEXTS:
        fenced = re.findall(r"^```[a-z]*\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for line in "\n".join(fenced).splitlines():
            called = re.match(r"(?:\.venv/bin/)?tidings (\w+)", line.strip())
            if called:
                assert called[1] in known, (path.name, line)


def test_every_link_works() -> None:
    for path in TEXTS:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), (path.name, target)


def test_every_test_that_the_guarantees_name_exists() -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize(("page", "language"), [("README.md", "en"), ("README.ru.md", "ru")])
def test_the_guide_in_pictures_names_buttons_that_exist(page: str, language: str) -> None:
    folder = ROOT / "docs" / "room"
    text = " ".join((folder / page).read_text("utf-8").split())
    with (i18n.LOCALES / "ru" / "LC_MESSAGES" / "room.po").open("rb") as file:
        messages = [message for message in read_po(file) if isinstance(message.id, str) and message.id]
    words = {str(message.id if language == "en" else message.string) for message in messages}
    named = set(re.findall(r"\*\*(.+?)\*\*", text))
    assert len(named) > 8 and not named - words
    pictures = re.findall(r"!\[.+?\]\((\S+)\)", text)
    assert [f"{name}.webp" for name in room_pictures.SCREENS] == pictures, "`make pictures` takes each of them"
    assert sum((folder / name).stat().st_size for name in pictures) < 1_500_000
