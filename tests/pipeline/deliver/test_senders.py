"""Who takes the mail: order, weights, failover and back, and never another one for what may have arrived."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.throttling import LONGEST_REST, REST_TIMES, SenderHealth
from tidings.pipeline.deliver.senders import SenderPlan, plan_senders

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class One:
    name: str
    weight: int | None = None


def down(reason: str = "connection refused", *, until: datetime = NOW + SECOND) -> SenderHealth:
    return SenderHealth(1, reason, until)


def taken(made: SenderPlan, count: int = 1200) -> Counter[str | None]:
    return Counter(made.sender_of(number) for number in range(1, count + 1))


def test_without_weights_the_first_that_is_up_takes_all_and_gives_back() -> None:
    senders = [One("a"), One("b"), One("c")]
    assert taken(plan_senders(senders, {}, NOW)) == {"a": 1200}
    assert taken(plan_senders(senders, {"a": down()}, NOW)) == {"b": 1200}
    assert taken(plan_senders(senders, {"a": down(), "b": down()}, NOW)) == {"c": 1200}
    assert plan_senders(senders, {"a": down()}, NOW).until == NOW + SECOND
    assert taken(plan_senders(senders, {"a": down()}, NOW + SECOND)) == {"a": 1200}


def test_weights_are_kept_exactly_and_what_one_had_is_shared_by_the_others() -> None:
    senders = [One("a", 3), One("b", 2), One("c", 1)]
    assert taken(plan_senders(senders, {}, NOW)) == {"a": 600, "b": 400, "c": 200}
    assert taken(plan_senders(senders, {"a": down()}, NOW)) == {"b": 800, "c": 400}


def test_weights_are_kept_in_each_stretch_of_an_edition() -> None:
    made = plan_senders([One("a", 2), One("b", 1)], {}, NOW)
    assert [made.sender_of(number) for number in range(6)] == ["a", "a", "b"] * 2


def test_one_without_a_weight_beside_others_is_a_reserve() -> None:
    senders = [One("reserve"), One("a", 1), One("b", 1)]
    assert taken(plan_senders(senders, {}, NOW)) == {"a": 600, "b": 600}
    assert taken(plan_senders(senders, {"a": down()}, NOW)) == {"b": 1200}
    assert taken(plan_senders(senders, {"a": down(), "b": down()}, NOW)) == {"reserve": 1200}


def test_where_all_are_down_it_waits_for_the_first_to_come_back_and_says_why() -> None:
    healths = {"a": down("no login", until=NOW + 5 * SECOND), "b": down(until=NOW + 2 * SECOND)}
    made = plan_senders([One("a"), One("b")], healths, NOW)
    assert made.sender_of(7) is None
    assert (made.reason, made.until) == ("a: no login; b: connection refused", NOW + 2 * SECOND)


def test_without_any_sender_nobody_will_come() -> None:
    made = plan_senders([], {}, NOW)
    assert (made.sender_of(7), made.reason, made.until) == (None, "there is no mail host", None)


def test_what_may_have_arrived_goes_by_the_sender_that_had_it_or_waits() -> None:
    senders = [One("a"), One("b")]
    assert plan_senders(senders, {}, NOW).sender_of(7, doubted="b") == "b"
    assert plan_senders(senders, {"b": down()}, NOW).sender_of(7, doubted="b") is None
    assert plan_senders(senders, {"b": down()}, NOW + SECOND).sender_of(7, doubted="b") == "b"
    assert plan_senders(senders, {}, NOW).sender_of(7, doubted="one that was taken out") is None


@given(
    weights=st.lists(st.one_of(st.none(), st.integers(1, 1000)), max_size=5),
    broken=st.sets(st.integers(0, 4)),
    number=st.integers(1, 10**12),
)
def test_each_delivery_has_exactly_one_sender_that_is_up(
    weights: list[int | None], broken: set[int], number: int
) -> None:
    senders = [One(f"s{index}", weight) for index, weight in enumerate(weights)]
    healths = {f"s{index}": down() for index in broken}
    made = plan_senders(senders, healths, NOW)
    found = [share.sender for share in made.shares if share.first <= number % made.of < share.end]
    assert found == ([made.sender_of(number)] if made.shares else [])
    assert made.up == {one.name for one in senders} - set(healths)
    assert bool(found) == bool(made.up) and set(found) <= made.up


# -- health -----------------------------------------------------------------------------------------------------------


def test_each_failure_in_a_row_makes_the_rest_longer_up_to_a_limit() -> None:
    health, now = SenderHealth(), NOW
    for rest in (*REST_TIMES, REST_TIMES[-1]):
        health = health.after_failure("refused", now)
        assert health.down_until == now + rest
        assert not health.is_up(now + rest - SECOND)
        now += rest
        assert health.is_up(now)


def test_several_connections_that_find_one_outage_count_once() -> None:
    first = SenderHealth().after_failure("refused", NOW)
    again = first.after_failure("timed out", NOW + SECOND)
    assert (again.failures, again.down_until, again.reason) == (1, first.down_until, "timed out")


@pytest.mark.parametrize(
    ("asked", "rest"), [(None, REST_TIMES[0]), (1.0, REST_TIMES[0]), (90.0, 90 * SECOND), (1e7, LONGEST_REST)]
)
def test_the_rest_is_at_least_what_the_other_side_asks_within_reason(asked: float | None, rest: timedelta) -> None:
    assert SenderHealth().after_failure("421", NOW, asked).down_until == NOW + rest
