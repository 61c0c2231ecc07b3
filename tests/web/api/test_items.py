"""A CMS pushes items with its token: repeats change nothing, and the token opens nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.fixtures.newsroom_folder import NewsroomFolder, make_newsroom_folder
from tests.web.server import served
from tidings.model.item import Contact, Item
from tidings.runtime.newsroom import Runtime
from tidings.runtime.tick import tick
from tidings.store.content.items import load_items
from tidings.web.api.items import SizeLimit
from tidings.web.app import newsroom_app

TOKEN = "a-token-of-the-cms-of-this-test"
ITEM = {
    "id": "node/12",
    "title": "Форум & games",
    "url": "https://example.org/ru/forum",
    "language": "ru",
    "html": "<p>Text.<script>x()</script></p>",
    "published": "2026-03-04T05:06:00+05:00",
    "topics": ["Education"],
    "images": [{"src": "/a.jpg", "alt": "A girl reads"}],
}


@dataclass
class Cms:
    folder: NewsroomFolder
    runtime: Runtime
    url: str
    token: str = TOKEN

    def ask(self, method: str, path: str = "", told: Any = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | more.pop("headers", {})
        return httpx.request(method, f"{self.url}api/items{path}", json=told, headers=headers, **more)

    def items(self) -> list[Item]:
        tick(self.runtime, datetime.now(UTC), deliver=False)
        with self.runtime.store.read() as connection:
            return load_items(connection)


@pytest.fixture
def cms(tmp_path: Path, database_url: str) -> Iterator[Cms]:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        main = (folder.root / "tidings.yaml").read_text()
        sources = "sources:\n  cms: {type: push, token: {env: CMS_TOKEN}, topics: {Education: youth}}\n"
        folder.write("tidings.yaml", main + sources)
        folder.env["CMS_TOKEN"] = TOKEN
        with folder.runtime() as runtime, served(newsroom_app(runtime)) as url:
            yield Cms(folder, runtime, url)


def test_the_api_from_a_new_item_to_its_withdrawal(cms: Cms) -> None:
    answers = [cms.ask("POST", told=ITEM) for _ in range(2)]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [
        (201, "created"),
        (200, "unchanged"),
    ]
    [item] = cms.items()
    assert (item.title, item.language, item.topics) == ("Форум & games", "ru", ("youth",))
    assert item.body == "<p>Text.</p>"
    assert item.images[0].src == "https://example.org/a.jpg"
    fields = {key: value for key, value in ITEM.items() if key != "id"} | {"title": "Форум"}
    assert cms.ask("PUT", "/node/12", fields).json() == {"id": "node/12", "status": "changed"}
    [again] = cms.items()
    assert (again.id, again.title) == (item.id, "Форум")
    for _ in range(2):
        assert cms.ask("DELETE", "/node/12", params={"reason": "Published in error."}).json()["status"] == "withdrawn"
    [gone] = cms.items()
    assert gone.withdrawn == "Published in error."
    assert cms.ask("DELETE", "/node/13").status_code == 404


def test_the_example_of_the_guide_is_accepted(cms: Cms) -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "push-items.md").read_text(encoding="utf-8")
    example = re.search(r"-d '(\{.*?\})'$", page, re.DOTALL | re.MULTILINE)
    assert example is not None
    assert cms.ask("PUT", "/node/12", json.loads(example[1])).json()["status"] == "created"
    assert [item.title for item in cms.items()] == ["Clean water for Akzhar"]


def test_translations_share_a_story(cms: Cms) -> None:
    for language in ("en", "ru", "kk"):
        fields = {"title": f"Forum {language}", "language": language, "story": "forum"}
        assert cms.ask("PUT", f"/{language}", fields).status_code == 201
    assert {item.story for item in cms.items()} == {"forum"} and len(cms.items()) == 3


@pytest.mark.parametrize("token", ["wrong", TOKEN + "x", TOKEN[:-1], "ж"])
def test_without_the_token_nothing_is_changed(cms: Cms, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode()}
    for method, path in (("POST", ""), ("PUT", "/1"), ("DELETE", "/1")):
        answer = httpx.request(method, f"{cms.url}api/items{path}", content=json.dumps(ITEM), headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert cms.items() == []


def test_an_invalid_item_is_refused_with_the_reason(cms: Cms) -> None:
    for told, where in (
        (ITEM | {"published": "2026-03-04T05:06:00"}, "published"),
        (ITEM | {"titel": "x"}, "titel"),
        (ITEM | {"id": ""}, "id"),
        (ITEM | {"id": "a\x00b"}, "id"),
        ({"id": "1"}, "title"),
    ):
        answer = cms.ask("POST", told=told)
        assert answer.status_code == 422 and where in answer.text, told
    big = cms.ask("POST", told=ITEM | {"html": "x" * 2_100_000})
    assert big.status_code == 413

    def drip() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 100_000

    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.post(f"{cms.url}api/items", content=drip(), headers=headers).status_code == 413
    assert cms.items() == []


def test_half_a_character_is_refused_with_the_reason(cms: Cms) -> None:
    for body in (
        b'{"id": "a", "title": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"id": "\\udc00", "title": "x"}',
    ):
        answer = cms.ask("POST", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422 and answer.json()["detail"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2201-01-01T00:00:00Z"])
@pytest.mark.parametrize("field", ["published", "embargo", "expires", "starts", "ends"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_moment_at_the_end_of_time_is_refused(cms: Cms, field: str, moment: str) -> None:
    """The store could not keep the item, so no source was collected and nothing was published any more."""
    answer = cms.ask("POST", told=ITEM | {field: moment})
    assert (answer.status_code, field in answer.text) == (422, True), answer.text
    assert "is out of range" in answer.text
    assert cms.items() == []


def test_press_contacts_of_a_pushed_item_reach_its_page(cms: Cms) -> None:
    one = {"name": "Ada L", "role": "Press officer", "email": "ada@un.example", "phone": "+7 727 000 00 00"}
    story = {key: value for key, value in ITEM.items() if key != "url"} | {"contact": one}
    assert cms.ask("POST", told=story).status_code == 201
    [item] = cms.items()
    assert item.contacts == (Contact(**one),)
    page = cms.folder.root / "public" / "ru" / item.slug / "index.html"
    assert 'href="mailto:ada@un.example"' in page.read_text(encoding="utf-8")
    for wrong, part in (({"email": "ada at un"}, "e-mail"), ({"phone": "ask Ada"}, "phone"), ({"mail": "a"}, "email")):
        answer = cms.ask("POST", told=story | {"contact": [wrong]})
        assert answer.status_code == 422 and part in answer.text


def test_an_item_in_an_unknown_language_is_refused(cms: Cms) -> None:
    answers = [
        cms.ask("PUT", "/de", {"title": "Nachricht", "language": "de"}),
        cms.ask("POST", told=ITEM | {"language": "x-klingon"}),
    ]
    for answer, said in zip(answers, ("de", "x-klingon"), strict=True):
        [wrong] = answer.json()["detail"]
        assert (answer.status_code, wrong["loc"]) == (422, ["body", "language"])
        assert wrong["msg"] == f"{said!r} is not a language of this newsroom; it has en, ru, kk"
    assert cms.ask("PUT", "/en", {"title": "News", "language": "en-GB"}).status_code == 201
    assert [item.title for item in cms.items()] == ["News"]
    # The stored item is unchanged.
    assert cms.ask("PUT", "/en", {"title": "Nachricht", "language": "de"}).status_code == 422
    assert [item.title for item in cms.items()] == ["News"]


def test_a_misspelt_field_is_refused_with_the_nearest_name(cms: Cms) -> None:
    unnamed = {key: value for key, value in ITEM.items() if key != "id"}
    for method, path, told, said in (
        ("POST", "", ITEM | {"titel": "x"}, "there is no field 'titel'. Did you mean 'title'?"),
        ("PUT", "/1", unnamed | {"publishd": "x"}, "there is no field 'publishd'. Did you mean 'published'?"),
        ("PUT", "/1", unnamed | {"images": [{"src": "/a", "altt": "A"}]}, "no field 'altt'. Did you mean 'alt'?"),
        ("PUT", "/1", ITEM, "the id is already in the address"),
    ):
        answer = cms.ask(method, path, told)
        assert answer.status_code == 422 and [said in one["msg"] for one in answer.json()["detail"]] == [True], told


@pytest.mark.parametrize("message", ["application/x-www-form-urlencoded", "text/plain; charset=utf-8"])
def test_a_body_without_a_json_header_is_refused_with_the_header(cms: Cms, message: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": message}
    for method, path in (("POST", ""), ("PUT", "/1")):
        answer = httpx.request(method, f"{cms.url}api/items{path}", content=json.dumps(ITEM), headers=headers)
        assert answer.status_code == 415 and "`Content-Type: application/json`" in answer.json()["detail"]
    wrong = headers | {"Authorization": "Bearer wrong"}
    assert httpx.post(f"{cms.url}api/items", content=json.dumps(ITEM), headers=wrong).status_code == 401


@pytest.mark.slow
def test_schemathesis_finds_no_5xx_with_the_token(cms: Cms) -> None:
    schema = schemathesis.openapi.from_url(cms.url + "api/openapi.json")
    seen: list[int] = []
    for operation in schema.include(tag="items").get_all_operations():

        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.ok().as_strategy())
        def tried(case: Any) -> None:
            answer = case.call(base_url=cms.url + "api", headers={"Authorization": f"Bearer {TOKEN}"})
            seen.append(answer.status_code)
            assert answer.status_code < 500, (case.method, case.formatted_path, case.body, answer.text)

        tried()
    assert {200, 201, 404} & set(seen)
    cms.items()


def test_a_length_of_thousands_of_digits_is_refused() -> None:
    """Python refuses to read such a number, so it was a server error."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def unused(*_: Any) -> Any:
        raise AssertionError("nothing is read")

    scope = {"type": "http", "headers": [(b"content-length", b"9" * 5000)]}
    asyncio.run(SizeLimit(unused)(scope, unused, send))
    assert sent[0]["status"] == 413
