"""For any request, the API answers without an error of its own, and within the role of the key."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.api.v1.conftest import Program
from tests.web.room.conftest import RoomSite
from tidings.store.people.team import Role
from tidings.web.api.v1.access import RequestLimit
from tidings.web.api.v1.app import ROUTES


@pytest.mark.slow
def test_schemathesis_finds_no_fault_and_no_gap(
    room: RoomSite, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestLimit, "check", lambda self, client: None)
    keys = {role: dict(program(role).headers)["authorization"] for role in Role}
    least = {(route.method, route.path): route.least for route in ROUTES}
    schema = schemathesis.openapi.from_url(f"{room.url}api/v1/openapi.json")
    seen: set[int] = set()
    for operation in schema.get_all_operations():
        strategy = operation.ok().as_strategy()

        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=strategy, role=st.sampled_from([None, *Role]))
        def tried(case: Any, role: Role | None) -> None:
            headers = {} if role is None else {"Authorization": keys[role]}
            case.headers = {}
            answer = case.call(base_url=f"{room.url}api/v1", headers=headers)
            where = (case.method, case.formatted_path, role, case.body, answer.status_code, answer.text[:300])
            seen.add(answer.status_code)
            assert answer.status_code < 500, where
            needed = least[case.method, case.path]
            if role is None:
                assert answer.status_code in (401, 404, 405), where
            elif not role.includes(needed):
                assert answer.status_code in (403, 404, 405), where

        tried()
    assert {200, 401, 403, 404, 422} <= seen
