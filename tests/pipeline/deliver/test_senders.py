"""Which sender sends a mail: order, weights, failover and failback."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.throttling import LONGEST_REST, REST_TIMES, SenderHealth
from tidings.pipeline.deliver.senders import MailSender, SenderPlan, plan_senders

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def sender(name: str, weight: int | None = None) -> MailSender:
    return MailSender(name, lambda: pytest.fail("nobody connects here"), weight=weight)


def down(reason: str = "connection refused", *, until: datetime = NOW + SECOND) -> SenderHealth:
    return SenderHealth(1, reason, until)


def sender_of(plan: SenderPlan, delivery: int) -> str | None:
    chosen = [part.sender for part in plan.ranges if part.first <= delivery % plan.divisor < part.end]
    assert len(chosen) <= 1
    return chosen[0] if chosen else None


def count(plan: SenderPlan, deliveries: int = 1200) -> Counter[str | None]:
    return Counter(sender_of(plan, number) for number in range(1, deliveries + 1))


def test_without_weights_the_first_sender_that_is_up_takes_all() -> None:
    senders = [sender("a"), sender("b"), sender("c")]
    assert count(plan_senders(senders, {}, NOW)) == {"a": 1200}
    assert count(plan_senders(senders, {"a": down()}, NOW)) == {"b": 1200}
    assert count(plan_senders(senders, {"a": down(), "b": down()}, NOW)) == {"c": 1200}
    assert count(plan_senders(senders, {"a": down()}, NOW + SECOND)) == {"a": 1200}


def test_weights_are_exact_and_a_missing_share_goes_to_others() -> None:
    senders = [sender("a", 3), sender("b", 2), sender("c", 1)]
    assert count(plan_senders(senders, {}, NOW)) == {"a": 600, "b": 400, "c": 200}
    assert count(plan_senders(senders, {"a": down()}, NOW)) == {"b": 800, "c": 400}


def test_weights_hold_in_each_part_of_an_edition() -> None:
    plan = plan_senders([sender("a", 2), sender("b", 1)], {}, NOW)
    assert [sender_of(plan, number) for number in range(6)] == ["a", "a", "b"] * 2


def test_a_sender_without_weight_beside_others_is_a_reserve() -> None:
    senders = [sender("reserve"), sender("a", 1), sender("b", 1)]
    assert count(plan_senders(senders, {}, NOW)) == {"a": 600, "b": 600}
    assert count(plan_senders(senders, {"a": down()}, NOW)) == {"b": 1200}
    assert count(plan_senders(senders, {"a": down(), "b": down()}, NOW)) == {"reserve": 1200}


def test_if_all_are_down_the_plan_names_the_reasons() -> None:
    healths = {"a": down("no login", until=NOW + 5 * SECOND), "b": down(until=NOW + 2 * SECOND)}
    plan = plan_senders([sender("a"), sender("b")], healths, NOW)
    assert sender_of(plan, 7) is None
    assert plan.reason == "a: no login; b: connection refused"


def test_without_senders_the_plan_says_so() -> None:
    plan = plan_senders([], {}, NOW)
    assert (sender_of(plan, 7), plan.reason) == (None, "there is no mail host")


@given(
    weights=st.lists(st.one_of(st.none(), st.integers(1, 1000)), max_size=5),
    broken=st.sets(st.integers(0, 4)),
    number=st.integers(1, 10**12),
)
def test_each_delivery_has_exactly_one_sender_that_is_up(
    weights: list[int | None], broken: set[int], number: int
) -> None:
    senders = [sender(f"s{index}", weight) for index, weight in enumerate(weights)]
    plan = plan_senders(senders, {f"s{index}": down() for index in broken}, NOW)
    up = {sender.name for sender in senders} - {f"s{index}" for index in broken}
    chosen = sender_of(plan, number)
    assert (chosen in up) if up else chosen is None


# -- health -----------------------------------------------------------------------------------------------------------


def test_each_failure_in_a_row_makes_the_rest_longer() -> None:
    health, now = SenderHealth(), NOW
    for rest in (*REST_TIMES, REST_TIMES[-1]):
        health = health.after_failure("refused", now)
        assert health.down_until == now + rest
        assert not health.is_up(now + rest - SECOND)
        now += rest
        assert health.is_up(now)


def test_one_outage_seen_by_several_connections_counts_once() -> None:
    first = SenderHealth().after_failure("refused", NOW)
    again = first.after_failure("timed out", NOW + SECOND)
    assert (again.failures, again.down_until, again.reason) == (1, first.down_until, "timed out")


@pytest.mark.parametrize(
    ("asked", "rest"), [(None, REST_TIMES[0]), (1.0, REST_TIMES[0]), (90.0, 90 * SECOND), (1e7, LONGEST_REST)]
)
def test_the_rest_is_at_least_what_the_other_side_asks(asked: float | None, rest: timedelta) -> None:
    assert SenderHealth().after_failure("421", NOW, asked).down_until == NOW + rest
