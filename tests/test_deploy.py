"""The files in deploy/: commands that exist, names that fit together, units that systemd accepts."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import require_program
from tests.fixtures.newsroom_folder import make_newsroom_folder
from tidings.cli.commands import root_command
from tidings.runtime.engine import QUEUES
from tidings.runtime.monitoring.metrics import Metrics
from tidings.runtime.service import _END
from tidings.store.service.heartbeat import Heartbeat, ProcessRole

DEPLOY = Path(__file__).parents[1] / "deploy"
ROLES = {role.value for role in ProcessRole} - {"all"}


def check_command(words: list[str]) -> None:
    """Check that the words after `tidings` are a command with existing options."""
    command, *arguments = words
    known = root_command().commands[command]
    parsed = known.make_context(command, list(arguments), resilient_parsing=False).params
    if command == "worker":
        assert set(parsed["queues"].split(",")) <= set(QUEUES)
    else:
        assert parsed["only"] in {*ROLES, ""}


def test_compose_runs_every_role() -> None:
    compose = YAML(typ="safe").load(DEPLOY / "compose.yaml")
    services: dict[str, Any] = compose["services"]
    assert set(services) == {"pages", "ticker", "worker", "postgres", "rabbitmq", "nginx"}
    for name in ("pages", "ticker", "worker"):
        check_command(services[name]["command"])
        assert name in ROLES and name in services[name]["command"]
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > _END + 5
        address = services[name]["environment"]
        assert "@postgres/" in address["TIDINGS_DATABASE"] and "@rabbitmq/" in address["TIDINGS_BROKER"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for needed, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"} and "healthcheck" in services[needed]
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert {name for name in volumes if not name.startswith("./")} <= set(compose["volumes"])
    nginx = (DEPLOY / "nginx.conf").read_text()
    assert "server pages:8080" in nginx


@pytest.mark.parametrize("name", ["tidings@.service", "tidings-worker@.service"])
def test_systemd_accepts_the_template_units(name: str) -> None:
    unit = DEPLOY / "systemd" / name
    done = subprocess.run(
        [require_program("systemd-analyze"), "verify", "--man=no", str(unit)],
        check=False,
        capture_output=True,
        text=True,
    )
    # The program is not installed here.
    assert [line for line in done.stderr.splitlines() if "tidings" in line and "is not executable" not in line] == []
    keys = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), flags=re.MULTILINE))
    assert float(keys["TimeoutStopSec"]) > _END + 5 and keys["User"] != "root"
    _, *words = shlex.split(keys["ExecStart"])
    words = words[: words.index("-C")]
    for role in ROLES:
        check_command([word.replace("%i", role) for word in words])


def documents() -> Iterator[dict[str, Any]]:
    yield from YAML(typ="safe").load_all(DEPLOY / "kubernetes" / "tidings.yaml")


def test_kubernetes_objects_fit_together() -> None:
    objects = list(documents())
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for entry in objects:
        by_kind.setdefault(entry["kind"], []).append(entry)
    assert {kind: len(found) for kind, found in by_kind.items()} == {
        "PersistentVolumeClaim": 1,
        "Service": 1,
        "Deployment": 3,
    }
    versions = {"Deployment": "apps/v1", "Service": "v1", "PersistentVolumeClaim": "v1"}
    assert all(entry["apiVersion"] == versions[entry["kind"]] for entry in objects)
    claims = {entry["metadata"]["name"] for entry in by_kind["PersistentVolumeClaim"]}
    labels = []
    for deployment in by_kind["Deployment"]:
        template = deployment["spec"]["template"]
        pod, labels_here = template["spec"], template["metadata"]["labels"]
        labels.append(labels_here)
        assert deployment["spec"]["selector"]["matchLabels"] == labels_here
        assert pod["terminationGracePeriodSeconds"] > _END + 5
        (container,) = pod["containers"]
        check_command(container["args"])
        assert labels_here["role"] in container["args"]
        assert not container["image"].endswith(":latest")
        assert container["securityContext"]["readOnlyRootFilesystem"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert volumes["newsroom"]["persistentVolumeClaim"]["claimName"] in claims
    (service,) = by_kind["Service"]
    assert any(service["spec"]["selector"].items() <= found.items() for found in labels)


def test_grafana_asks_for_metrics_that_exist(tmp_path: Path) -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    asked = {name for panel in board["panels"] for target in panel["targets"] for name in re.findall(
        r"tidings_\w+", target["expr"]
    )}  # fmt: skip
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder, folder.runtime() as runtime:
        pulse = Heartbeat("me", runtime.now(), runtime.now())
        text = Metrics(runtime, lambda: pulse).exposition("")[0].decode()
    given = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert len(asked) > 10
    assert asked <= given, asked - given
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))


def test_the_image_is_built_from_the_lock_of_the_fleet() -> None:
    lock = (DEPLOY / "requirements.lock").read_text()
    for name in ("celery", "kombu", "psycopg", "hatchling"):
        assert re.search(rf"^{name}(\[\w+\])?==", lock, re.MULTILINE), name
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert "--require-hashes -r /tmp/requirements.lock" in dockerfile and "USER tidings" in dockerfile
