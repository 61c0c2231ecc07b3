"""The JSON Schemas that editors use for completion, checked by a foreign validator (ajv, with html-validate)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from tests.config.newsrooms import MAIN, WEEKLY, spoilt
from tests.conftest import require_program
from tests.servers.judges import tool
from tidings.config import adapters, schedule, settings
from tidings.config.settings import Newsroom
from tidings.runtime.schemas import make_schemas

_PROGRAM = """
const Ajv = require(process.argv[1]).default;
let input = "";
process.stdin.on("data", part => input += part).on("end", () => {
  const { schema, values } = JSON.parse(input);
  const validate = new Ajv({ strict: false, allErrors: true, logger: false }).compile(schema);
  console.log(JSON.stringify(values.map(value => validate(value) ? [] : validate.errors.map(
    error => `${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`))));
});
"""


def judged(schema: dict[str, Any], *texts: str) -> list[list[str]]:
    """Return the errors of ajv for YAML as editors read it (1.2: 09:00 and dates are text)."""
    node, ajv = require_program("node"), tool("ajv", "dist", "ajv.js")
    values = [json.loads(json.dumps(YAML(typ="safe", pure=True).load(text), default=str)) for text in texts]
    done = subprocess.run(
        [node, "-e", _PROGRAM, str(ajv)],
        input=json.dumps({"schema": schema, "values": values}).encode(), capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    answer: list[list[str]] = json.loads(done.stdout)
    return answer


def test_the_schema_accepts_valid_files() -> None:
    by_name = make_schemas()
    sample = Path(__file__).parents[2]
    main = [MAIN, (sample / "tidings.yaml").read_text(encoding="utf-8")]
    main.append(spoilt(MAIN, "port: 1025", "port: {env: PORT}"))
    main.append(spoilt(MAIN, "fallback: [en]", "fallback: en"))
    assert judged(by_name["tidings.yaml"], *main) == [[]] * len(main)
    rules = ["on: new\n  settle: 10m", 'cron: "0 9 * * fri"', "every: 15m", "at: 2026-12-01T09:00", "daily: 09:00"]
    several = [WEEKLY, *(path.read_text(encoding="utf-8") for path in sorted((sample / "schedules").glob("*.yaml")))]
    several += [spoilt(WEEKLY, "weekly: fri 09:00", rule) for rule in rules]
    several.append(spoilt(WEEKLY, "approval: none", "approval: {by: [boss@example.org], ahead: 3h, silence: hold}"))
    several.append(spoilt(WEEKLY, "title: Weekly digest", "title: {en: Weekly, kk: Апталық}"))
    assert judged(by_name["schedule.yaml"], *several) == [[]] * len(several)


REFUSED = [
    ("web:", "wib:", "wib"),
    ("port: 8080", "port: many", "/web/port"),
    ("public: true", "public: sometimes", "/lists/digest/public"),
    ("security: none", "security: ssl", "/mail/security"),
    ("{type: folder, path", "{type: folder, pth", "pth"),
]


@pytest.fixture(scope="module")
def refusals() -> dict[str, list[str]]:
    """Return the errors of ajv for each broken text. It takes two seconds to start, so it runs once."""
    answers = judged(make_schemas()["tidings.yaml"], *(spoilt(MAIN, good, bad) for good, bad, _ in REFUSED))
    return {bad: answer for (_, bad, _), answer in zip(REFUSED, answers, strict=True)}


@pytest.mark.parametrize(("good", "bad", "word"), REFUSED)
def test_the_schema_refuses_invalid_files(good: str, bad: str, word: str, refusals: dict[str, list[str]]) -> None:
    assert any(word in line for line in refusals[bad])


def models() -> list[type[BaseModel]]:
    classes = {
        value
        for module in (adapters, settings, schedule)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__.startswith("tidings.config")
    }
    return sorted(classes - {Newsroom, adapters.ConfigModel, adapters.OutletSettings}, key=lambda model: model.__name__)


@pytest.mark.parametrize("model", models())
def test_every_key_has_a_description(model: type[BaseModel]) -> None:
    """The reference pages and the hints of editors are made from these descriptions."""
    assert model.model_fields and (model.__doc__ or "").strip()
    for name, field in model.model_fields.items():
        assert (field.description or "").strip().endswith((".", ":", "}")), f"{model.__name__}.{name}"
