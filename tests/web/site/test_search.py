"""The search in a real browser, served with its strict policy: by keyboard, in five scripts, and on every screen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fixtures.items import make_newsroom, open_store, put
from tests.render.samples import RICH, START, item
from tests.servers.chromium import Tab, chromium
from tests.web.server import served
from tidings.model.item import Contact, Item
from tidings.pipeline.publish.publish import publish
from tidings.web.app import create_app

STORIES = {
    "en": [("Café opens near the school", "New wells for 31 farms."), ("A river", "The school of naïve painters.")],
    "ru": [("Ёлка и школа", "Вода пришла в аул."), ("Мост", "В школах района учатся дети.")],
    "kk": [("Қазақ тілі", "Мектептерде су бар."), ("Көпір", "Өзен")],
    "ar": [("المدرسة الجديدة", "افتُتحت مدرسةٌ في القرية."), ("الجسر", "ماء للجميع")],
    "zh": [("优质教育项目启动", "学校的饮水设施。"), ("桥梁", "乡村教育质量提高了。")],
}
QUERIES = {
    "en": {"cafe": [0], "SCHOOL": [0, 1], "naive paint": [1], "farm": [0], "wells school": [0], "bridge": []},
    "ru": {"елка": [0], "школа": [0, 1], "школы": [0, 1], "ВОДА аул": [0], "район": [1], "мост поезд": []},
    "kk": {"ҚАЗАҚ": [0], "мектеп": [0], "өзен": [1], "озен": []},
    "ar": {"مدرسة": [0], "المدرسه": [0], "قرية": [0], "الماء": [1], "مَدرسة": [0], "جبل": []},
    "zh": {"教育": [0, 1], "饮水": [0], "教育质量": [1], "饮水设施 学校": [0], "火车": []},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("search")
    newsroom = make_newsroom(root)
    store = open_store(f"sqlite:///{root / 'tidings.db'}", root)
    items: list[Item] = []
    for number, (language, stories) in enumerate(STORIES.items()):
        for place, (title, text) in enumerate(stories):
            changes = {"slug": f"s{place}", "story": f"s{place}", "summary": "", "body": f"<p>{text}</p>"}
            items.append(item(10 * number + place + 1, language=language, title=title, topics=("water",), **changes))
    contact = Contact("Jane Doe", "Press officer", "jane@example.org", "+7 727 250 00 00")
    items.append(replace(RICH, id="urn:uuid:00000000-0000-4000-8000-000000000999", contacts=(contact,)))
    put(store, *items)
    publish(store, newsroom, now=START.replace(year=2027))
    with served(create_app(store, newsroom.public)) as url:
        yield url
    store.close()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile"), "en") as opened:
        yield opened


def found(tab: Tab) -> list[int]:
    """Return the paths of the stories found, once the search has shown their number."""
    until = time.monotonic() + 60
    while not tab.look("document.getElementById('search-status').textContent"):
        assert time.monotonic() < until, "the search says nothing"
        time.sleep(0.05)
    links = tab.look("[...document.querySelectorAll('#search-results a')].map(link => link.pathname)")
    return sorted(int(link.rstrip("/")[-1]) for link in links)


@pytest.mark.slow
@pytest.mark.parametrize("language", STORIES)
def test_the_search_finds_words_in_every_script(site: str, tab: Tab, language: str) -> None:
    tab.scripts(on=True)
    for query, expected in QUERIES[language].items():
        tab.open(f"{site}{language}/search/")
        tab.tab_to(name="q")
        tab.write(query)
        assert found(tab) == expected, query
        assert tab.look("document.getElementById('titles').hidden")
        # The address contains the words, so the result can be sent to somebody.
        tab.open(tab.look("location.href"))
        assert found(tab) == expected, query
    tab.open(f"{site}{language}/search/")
    assert not tab.look("document.getElementById('titles').hidden")


@pytest.mark.slow
def test_the_search_works_by_keyboard_alone(site: str, tab: Tab) -> None:
    tab.scripts(on=True)
    tab.open(f"{site}en/")
    tab.tab_to(tag="a", href="/en/search/")
    tab.key("Enter", leads_on=True)
    tab.tab_to(name="q")
    tab.write("cafe")
    tab.key("Enter")
    assert found(tab) == [0]
    tab.tab_to(tag="a", href="/en/s0/")
    tab.key("Enter", leads_on=True)
    assert tab.look("document.querySelector('h1').innerText") == "Café opens near the school"
    # Without scripts there is no form, and every title is listed.
    tab.scripts(on=False)
    tab.open(f"{site}en/search/")
    assert tab.look("document.querySelector('form').offsetHeight") == 0
    assert "A river" in tab.words and "is off in your browser" in tab.words


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_on_the_pages_of_the_site(site: str, tab: Tab, width: int, scheme: str) -> None:
    tab.screen(width, scheme=scheme)
    paths = ("en/", "en/topics/", "en/topics/water/", "en/kinds/event/", "en/story-7/", "ar/topics/water/", "zh/kinds/")
    for path in paths:
        tab.scripts(on=False)
        tab.open(site + path)
        assert tab.look("document.documentElement.dir") == ("rtl" if path.startswith("ar") else "ltr")
        assert tab.overflow() <= 0 and tab.axe() == [], path
    for path in ("en/search/?q=school", "ar/search/?q=مدرسة", "ru/search/?q=поезд", "kk/search/"):
        tab.scripts(on=True)
        tab.open(site + path)
        if "q=" in path:
            found(tab)
        assert tab.overflow() <= 0 and tab.axe() == [], path
