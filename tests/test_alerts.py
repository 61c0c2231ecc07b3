"""The alert rules, checked by Prometheus: each failure raises its alert, and a healthy newsroom raises none."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import require_program
from tests.fixtures.newsroom_folder import make_newsroom_folder
from tidings.runtime.monitoring.metrics import Metrics
from tidings.runtime.tick import tick
from tidings.store.service.heartbeat import Heartbeat

RULES = Path(__file__).parents[1] / "docs" / "alerts.yaml"
STEPS = 75
"""The number of two-minute steps in each case, which is longer than any `for`."""
NOW = f"0+120x{STEPS}"
"""A time that is always now: Prometheus plays from 1970 on."""
WELL = {
    'up{job="tidings"}': "1",
    "tidings_store_up": "1",
    "tidings_time_seconds": NOW,
    "tidings_collect_seconds": "0.02",
    'tidings_services{kind="full"}': "1",
    'tidings_services{kind="pages"}': "0",
    "tidings_services_died": "0",
    'tidings_last_beat_timestamp_seconds{kind="full"}': NOW,
    "tidings_last_tick_timestamp_seconds": NOW,
    "tidings_configuration_refused": "0",
    "tidings_pages_refused": "0",
    'tidings_service_fault{what="beat"}': "0",
    'tidings_lane_stalled{lane="mail"}': "0",
    'tidings_deliveries{state="deferred"}': "3",
    "tidings_deliveries_accepted_total": "0+100x75",
    "tidings_deliveries_rejected_total": "0+0x75",
    "tidings_deliveries_quarantined_total": "0",
    "tidings_queue_pending": "50",
    "tidings_queue_since_timestamp_seconds": NOW,
    "tidings_broker_up": "1",
    'tidings_broker_messages{queue="tidings.dead"}': "0",
    "tidings_deferred_overdue": "0",
    "tidings_in_doubt_for_a_person": "0",
    "tidings_quarantined_lately": "0",
    'tidings_sender_failures{sender="mx"}': "0",
    "tidings_dead_owners": "0",
    'tidings_editions_held{reason="gate"}': "0",
    'tidings_slots_total{schedule="weekly",state="fired"}': "0+1x75",
    'tidings_slots_total{schedule="weekly",state="skipped"}': "0+1x75",
    'tidings_schedule_overdue_seconds{schedule="weekly"}': "0",
    'tidings_items_set_aside{source="newsroom"}': "0",
    'tidings_source_read_timestamp_seconds{source="newsroom"}': NOW,
    'tidings_disk_free_bytes{place="store"}': "50e9",
    'tidings_disk_size_bytes{place="store"}': "100e9",
    "tidings_clock_ahead_seconds": "-12",
}
SINCE = "0"
"""A time that does not change, because the service that wrote it has stopped."""
FAILS: dict[str, dict[str, str]] = {
    "TidingsDown": {'up{job="tidings"}': "0"},
    "TidingsServiceMissing": {'tidings_services{kind="full"}': "0"},
    "TidingsServiceDied": {"tidings_services_died": "1"},
    "TidingsStandsStill": {'tidings_last_beat_timestamp_seconds{kind="full"}': SINCE},
    "TidingsTicksFail": {"tidings_last_tick_timestamp_seconds": SINCE},
    "TidingsFault": {'tidings_service_fault{what="beat"}': "1"},
    "TidingsStoreUnreadable": {"tidings_store_up": "0"},
    "TidingsDiskFull": {
        'tidings_disk_free_bytes{place="store"}': "0.4e9",
        'tidings_disk_size_bytes{place="store"}': "1e9",
    },
    "TidingsDiskFillsUp": {'tidings_disk_free_bytes{place="store"}': "15e9-10e6x75"},
    "TidingsConfigurationRefused": {"tidings_configuration_refused": "1"},
    "TidingsPagesRefused": {"tidings_pages_refused": "1"},
    "TidingsClockAhead": {"tidings_clock_ahead_seconds": "3600"},
    "TidingsMachineClock": {"tidings_time_seconds": f"300+120x{STEPS}"},
    "TidingsSlotOverdue": {'tidings_schedule_overdue_seconds{schedule="weekly"}': "900"},
    "TidingsEditionHeld": {'tidings_editions_held{reason="gate"}': "1"},
    "TidingsSlotsSkipped": {'tidings_slots_total{schedule="weekly",state="fired"}': "7"},
    "TidingsComposingStuck": {"tidings_edition_composing_since_timestamp_seconds": SINCE},
    "TidingsQueueStandsStill": {
        "tidings_deliveries_accepted_total": "700",
        "tidings_queue_since_timestamp_seconds": SINCE,
    },
    "TidingsBrokerDown": {"tidings_broker_up": "0"},
    "TidingsDeadLetters": {'tidings_broker_messages{queue="tidings.dead"}': "2"},
    "TidingsLaneStalled": {'tidings_lane_stalled{lane="mail"}': "1"},
    "TidingsSenderDown": {'tidings_sender_failures{sender="mx"}': "5"},
    "TidingsInDoubt": {"tidings_in_doubt_for_a_person": "1"},
    "TidingsInDoubtForLong": {"tidings_in_doubt_since_timestamp_seconds": "-90000"},
    "TidingsDeferredNotRetried": {"tidings_deferred_overdue": "9"},
    "TidingsManyDeferred": {'tidings_deliveries{state="deferred"}': "200000"},
    "TidingsManyRejected": {"tidings_deliveries_rejected_total": "0+10x75"},
    "TidingsQuarantined": {"tidings_quarantined_lately": "2"},
    "TidingsDeadOwner": {"tidings_dead_owners": "1"},
    "TidingsItemsSetAside": {'tidings_items_set_aside{source="newsroom"}': "1"},
    "TidingsSourceUnread": {'tidings_source_read_timestamp_seconds{source="newsroom"}': SINCE},
    "TidingsPausedForLong": {"tidings_paused_since_timestamp_seconds": "-700000"},
    "TidingsMetricsSlow": {"tidings_collect_seconds": "4"},
}


def rules() -> list[dict[str, Any]]:
    document = YAML(typ="safe").load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def played(changed: dict[str, str], expected: list[str]) -> dict[str, Any]:
    series = {name: value if "x" in value else f"{value}+0x{STEPS}" for name, value in {**WELL, **changed}.items()}
    return {
        "interval": "2m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0',
                "eval_time": "2h28m",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in expected],
            }
        ],
    }


@pytest.mark.slow
def test_each_failure_raises_its_alert_and_no_other(tmp_path: Path) -> None:
    promtool = require_program("promtool")
    assert [rule["alert"] for rule in rules() if rule["alert"] not in FAILS] == [], "without a case here"
    cases = [played({}, []), *(played(changed, [name]) for name, changed in FAILS.items())]
    file = tmp_path / "cases.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "2m", "tests": cases}))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_rules_are_valid_and_say_what_to_do() -> None:
    done = subprocess.run(
        [require_program("promtool"), "check", "rules", str(RULES)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "do"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


@pytest.mark.parametrize("what", ["rules", "cases"])
def test_the_rules_and_these_cases_name_existing_metrics(tmp_path: Path, what: str) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        folder.write(
            "schedules/weekly.yaml", "cadence: {weekly: fri 09:00}\ndeliver:\n  - {list: digest, frequency: all}\n"
        )
        with folder.runtime() as runtime:
            tick(runtime, runtime.now())
            pulse = Heartbeat("me", runtime.now(), runtime.now())
            text = Metrics(runtime, lambda: pulse).exposition("")[0].decode()
    there = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    expressions = " ".join(rule["expr"] for rule in rules()) if what == "rules" else " ".join(WELL)
    named = set(re.findall(r"\btidings_\w+", expressions))
    assert named and named <= there, named - there
