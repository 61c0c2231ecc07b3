"""The readers' API does the same as its description says, and no more than the pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.site.test_subscribe import ADA, Site, site
from tidings.model.tokens import TokenPurpose
from tidings.web import reader_actions

__all__ = ["site"]


def test_the_api_from_sign_up_to_unsubscription(site: Site) -> None:
    api = site.url + "api/"
    lists = httpx.get(api + "lists", params={"language": "ru"}).json()
    assert [one["name"] for one in lists] == ["digest", "press"]
    assert lists[0]["frequencies"] == ["daily", "weekly"] and "water" in lists[0]["topics"]
    answer = httpx.post(
        api + "subscriptions", json={"email": ADA, "lists": ["digest"], "language": "kk", "frequency": "daily"}
    )
    assert (answer.status_code, answer.json()) == (202, {"status": "asked", "lists": ["digest"]})
    [mail] = site.mails()
    token = site.link(mail, "confirm").rpartition("/")[2]
    assert site.states() == {"digest": "pending"}
    for _ in range(2):
        assert httpx.post(f"{api}confirmations/{token}").json() == {"status": "confirmed", "lists": ["digest"]}
    own = site.runtime.keys.sign(TokenPurpose.PREFERENCES, site.one().subscriber, "digest")
    chosen = httpx.get(f"{api}preferences/{own}").json()
    assert (chosen["language"], chosen["lists"][0]["frequency"]) == ("kk", "daily")
    chosen["lists"][0] |= {"frequency": "weekly", "topics": ["water", "nonsense"]}
    chosen["paused_until"] = "2030-01-01T00:00:00Z"
    after = httpx.put(f"{api}preferences/{own}", json=chosen).json()
    assert after["lists"] == [{"name": "digest", "topics": ["water"], "frequency": "weekly"}]
    assert after["paused_until"].startswith("2030-01-01")
    leave = site.runtime.keys.sign(TokenPurpose.UNSUBSCRIBE, site.one().subscriber, "digest")
    for _ in range(2):
        assert httpx.post(f"{api}unsubscriptions/{leave}").json() == {"status": "left", "lists": ["digest"]}
    assert site.states() == {"digest": "unsubscribed"}
    assert httpx.post(f"{api}confirmations/{token}").status_code == 410


@pytest.mark.usefixtures("one_window")
def test_errors_are_explained_and_private_lists_hidden(site: Site) -> None:
    api = site.url + "api/"
    assert httpx.post(api + "subscriptions", json={"email": ADA, "lists": ["inner"]}).status_code == 404
    assert httpx.post(api + "subscriptions", json={"email": "nobody", "lists": ["digest"]}).status_code == 422
    assert httpx.post(api + "subscriptions", content=b"{").status_code == 422
    for path, method in (("confirmations", "POST"), ("preferences", "GET"), ("unsubscriptions", "POST")):
        assert httpx.request(method, f"{api}{path}/nonsense").status_code == 404
    codes = [
        httpx.post(api + "subscriptions", json={"email": f"r{n}@example.org", "lists": ["digest"]}).status_code
        for n in range(25)
    ]
    assert codes[-1] == 429
    described = httpx.get(api + "openapi.json")
    assert described.status_code == 200 and set(described.json()["paths"]) >= {"/subscriptions", "/lists"}
    assert described.headers["x-content-type-options"] == "nosniff"


def test_a_pause_has_an_end_that_can_be_stored(site: Site) -> None:
    """`9999-12-31T23:59:59-23:59` is after the last moment, and the reader's row could not be read again."""
    own = site.runtime.keys.sign(TokenPurpose.PREFERENCES, site.add(), "digest")
    chosen = {"paused_until": "9999-12-31T23:59:59-23:59"}
    assert httpx.put(f"{site.url}api/preferences/{own}", json=chosen).status_code == 422
    assert httpx.get(f"{site.url}api/preferences/{own}").json()["paused_until"] is None
    with site.runtime.store.write() as connection:
        connection.exec_driver_sql("UPDATE subscriptions SET paused_until = 253402387139000000")
    assert httpx.get(f"{site.url}api/preferences/{own}").status_code == 200


@pytest.mark.parametrize("field", ["email", "language", "\\udc00"])
def test_half_a_character_is_an_error_with_words(site: Site, field: str) -> None:
    body = f'{{"email": "{ADA}", "lists": ["digest"], "{field}": "a\\ud800@example.org"}}'
    assert httpx.post(site.url + "api/subscriptions", content=body).status_code == 422
    body = body.replace("digest", "\\ud800")
    assert httpx.post(site.url + "api/subscriptions", content=body).status_code == 422


@pytest.mark.slow
def test_schemathesis_finds_no_5xx(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_actions, "BY_CLIENT", 10**9)
    reader = site.add()
    tokens = [
        site.runtime.keys.sign(purpose, reader, "digest")
        for purpose in (TokenPurpose.CONFIRM, TokenPurpose.PREFERENCES, TokenPurpose.UNSUBSCRIBE)
    ]
    schema = schemathesis.openapi.from_url(site.url + "api/openapi.json")
    seen: list[int] = []
    for operation in schema.get_all_operations():
        strategy = operation.ok().as_strategy()

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=strategy, token=st.sampled_from([None, *tokens]))
        def tried(case: Any, token: str | None) -> None:
            if token is not None and "token" in (case.path_parameters or {}):
                case.path_parameters["token"] = token
            answer = case.call(base_url=site.url + "api")
            seen.append(answer.status_code)
            assert answer.status_code < 500, (case.method, case.formatted_path, case.body, answer.text)

        tried()
    assert len(seen) > 200 and {200, 202, 404, 422} & set(seen)
