"""`tidings schema`: JSON Schemas of the YAML files for editors, and of every `--json` output."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from tidings import plugins
from tidings.config.schedule import CadenceText, Schedule
from tidings.config.settings import NewsroomConfig


def make_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by name: tidings.yaml, schedule.yaml, and one for each command with `--json`."""
    main = _make_schema(NewsroomConfig)
    for key, adapters in (("channels", plugins.channels()), ("sources", plugins.sources())):
        options = _make_adapter_schemas(main, adapters)
        main["properties"][key] = {"type": "object", "additionalProperties": {"anyOf": options}}
    senders = {"anyOf": _make_adapter_schemas(main, plugins.senders())}
    main["properties"]["mail"] = {"anyOf": [senders, {"type": "array", "items": senders}]}
    schedule = _make_schema(Schedule)
    schedule["properties"].pop("name", None)
    schedule["required"] = [name for name in schedule["required"] if name != "name"]
    cadence = _make_schema(CadenceText)
    schedule["$defs"].update(cadence.pop("$defs", {}))
    schedule["properties"]["cadence"] = cadence
    return {"tidings.yaml": main, "schedule.yaml": schedule, **{f"{name} --json": _OUTPUT[name] for name in _OUTPUT}}


def _make_adapter_schemas(main: dict[str, Any], adapters: plugins.Adapters) -> list[dict[str, Any]]:
    """Return the settings of every adapter of a group. Their definitions are added to those of `main`."""
    schemas = [_make_schema(module.Settings) for module in adapters.values()]
    for schema in schemas:
        main.setdefault("$defs", {}).update(schema.pop("$defs", {}))
    return schemas


def _make_schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True, mode="validation", schema_generator=_LenientSchema)


class _LenientSchema(GenerateJsonSchema):
    """Allows anything for a value with its own parser, such as a cadence or a text in several languages."""

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:
        return {}


# -- the output of commands: keys may be added, but must never change --------------------------------------------------

_KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "text?": {"type": ["string", "null"]},
    "number": {"type": "integer"},
    "number?": {"type": ["integer", "null"]},
    "bool": {"type": "boolean"},
    "moment": {"type": "string", "format": "date-time"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "texts?": {"type": ["array", "null"], "items": {"type": "string"}},
    "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
}


def _row(keys: str, **nested: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object. `keys` are words "name:kind" with a kind of `_KINDS`; the default is text."""
    properties = {}
    for name, _, kind in (key.partition(":") for key in keys.split()):
        properties[name] = _KINDS[kind or "text"]
    return {"type": "object", "properties": {**properties, **nested}}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _map(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


_SLOT = "slot:moment at:moment moved:text? skipped:text? note stories:texts?"
_OUTLET = "outlet deliveries:number languages:counts skipped:counts stories:texts"

_OUTPUT: dict[str, dict[str, Any]] = {
    "check": _row(
        "ok:bool",
        problems=_list(_row("file line:number? column:number? message mend", level={"enum": ["error", "warning"]})),
    ),
    "doctor": _row(
        "ok:bool",
        findings=_list(
            _row("check where text mend record", level={"enum": ["ok", "unknown", "warning", "error"]}),
        ),
    ),
    "plan": _list(
        _row(
            "schedule cadence note",
            waiting=_list(_row(f"{_SLOT} edition", outlets=_list(_row(_OUTLET)))),
            slots=_list(_row(f"{_SLOT} at_most:number embargoed:labels", outlets=_list(_row(_OUTLET)))),
        )
    ),
    "tick": _row(
        "now:moment deliveries:counts stalled:labels unpublished told:number restored edited:labels",
        items=_row("new:number changed:number gone:number set_aside:number"),
        public=_row("written:number removed:number"),
        editions=_list(_row("schedule edition:text? state:text? reason holds:texts stories:texts")),
        sources=_map(_row("new:number changed:number problem")),
    ),
    "clock": _row("clock:text? real:moment ahead:number held:texts schedules:texts"),
    "sources list": _list(
        _row(
            "source type items:number fetched:text? newest:text? due:text? problem failing_since:text? silent:bool hub "
            "hub_until:text? hub_problem"
        )
    ),
    "sources try": _row(
        "problems:texts readable:bool notes:texts",
        items=_list(
            _row(
                "ref title language kind story:text? published:text? topics:texts url:text? summary characters:number",
                images=_list(_row("src alt")),
            )
        ),
    ),
    "sources sync": _row(
        "", sources=_map(_row("new:number changed:number problem")), items=_row("new:number changed:number gone:number")
    ),
    "team list": _list(
        _row("address name role lists:texts has_password:bool link_until:text? sessions:number"),
    ),
    "team key list": _list(_row("name role lists:texts who created:moment used:text?")),
    "rehearse": _row(
        "from:moment to:moment clock_set_back_from:text? folder notes:texts",
        rows=_list(
            _row(
                "at:moment until:text? count:number schedule edition:text? slot:text? outcome why moved:text? "
                "after:text? stories:texts stalled:texts files:texts",
                outlets=_list(_row("outlet deliveries:number languages:counts skipped:counts failed:counts")),
            )
        ),
    ),
    "report": _row(
        "title zone since:text? until:text? made:moment",
        mail=_list(
            _row(
                "edition at:moment list language state accepted:number hard:number soft:number complaints:number "
                "returned:number rejected:number waiting:number joined:number left:number"
            )
        ),
        posts=_list(_row("edition at:moment channel language story state link reason")),
        skipped=_list(_row("what at:moment reason count:number")),
        lists=_list(_row("list language joined:number left:number")),
    ),
    "ledger": _row(
        "id:number schedule edition:text? list channel story purpose target address state reason attempts:number "
        "doubts:number receipt via returned at:moment"
    ),
    "subscribers show": _row(
        "address name language note number:number? known_since:text?",
        subscriptions=_list(
            _row(
                "list topics:texts frequency paused_until:text? source since:moment confirmed_at:text? left_at:text?",
                state={"enum": ["pending", "confirmed", "unsubscribed"]},
            )
        ),
        consents=_list(_row("at:moment list what source wording ip")),
        suppressions=_list(_row("list reason at:moment")),
        mails=_list(
            _row("at:moment kind edition list purpose subject stories:texts state reason accepted_by receipt returned")
        ),
        older_mails=_list(_row("at:moment edition list stories:texts")),
        returns=_list(_row("at:moment list kind code text via")),
    ),
    "subscribers list": _list(
        _row(
            "subscriber:number address name language list state topics:texts frequency source confirmed_at:text? "
            "left_at:text?"
        )
    ),
    "edition show": _row(
        "edition state slot:text? starts:moment warnings:texts",
        holds=_list(_row("reason detail")),
        stories=_list(_row("story title")),
        changes=_row("drop:texts lead order:texts note:labels subject:labels"),
        recipients=_list(_row("outlet language count:number subjects:texts")),
        history=_list(_row("at:moment what who")),
    ),
    "status": _row(
        "ok:bool version schema tzdata clock:text? items:number deliveries:counts in_doubt:number queued:number "
        "deferred:number last_tick:text? last_accepted:text? stalled:labels store_bytes:number former_lists:counts "
        "unset:texts",
        queues=_KINDS["counts"],
        wrong=_list(_row("what text mend")),
        set_aside=_list(_row("file problem")),
        held=_list(_row("edition holds:texts")),
        services=_list(
            _row("owner alive:bool started:moment beat:moment only_pages:bool role queues host version configuration")
        ),
        senders=_list(_row("sender up:bool failures:number reason down_until:text?")),
        sources=_list(_row("source read:text? problem fetched:text? newest:text? due:text? silent:bool")),
        disks=_map(_row("free:number total:number")),
        restored={**_row("made:moment at:moment waiting:texts schedules:texts"), "type": ["object", "null"]},
        paused=_list(_row("what since:moment until:text? reason who")),
        lists=_map(_KINDS["counts"]),
        next=_list(_row("schedule at:text?")),
        notices=_list(_row("at:moment kind text")),
    ),
}
