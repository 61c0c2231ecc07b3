"""`tidings schema`: JSON Schemas of the YAML files for editors, and the shapes of every --json, only ever extended."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from tidings import plugins
from tidings.config.schedule import CadenceText, Schedule
from tidings.config.settings import NewsroomConfig


def make_schemas() -> dict[str, dict[str, Any]]:
    """By name: tidings.yaml, schedule.yaml, and one for each command that prints JSON."""
    main = _schema(NewsroomConfig)
    for group, built_in, key in (
        ("tidings.channels", plugins.CHANNELS, "channels"),
        ("tidings.sources", plugins.SOURCES, "sources"),
    ):
        kinds = _kinds(main, group, built_in)
        main["properties"][key] = {"type": "object", "additionalProperties": {"anyOf": kinds}}
    senders = {"anyOf": _kinds(main, "tidings.mail", plugins.MAIL)}
    main["properties"]["mail"] = {"anyOf": [senders, {"type": "array", "items": senders}]}
    schedule = _schema(Schedule)
    schedule["properties"].pop("name", None)
    schedule["required"] = [name for name in schedule["required"] if name != "name"]
    schedule["properties"]["cadence"] = _schema(CadenceText)
    return {"tidings.yaml": main, "schedule.yaml": schedule, **{f"{name} --json": _OUTPUT[name] for name in _OUTPUT}}


def _kinds(main: dict[str, Any], group: str, built_in: dict[str, str]) -> list[dict[str, Any]]:
    """The settings of every adapter of a group; what they refer to is added to the definitions of `main`."""
    kinds = [_schema(module.Settings) for module in plugins.load_adapters(group, built_in).values()]
    for kind in kinds:
        main.setdefault("$defs", {}).update(kind.pop("$defs", {}))
    return kinds


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Written)


class _Written(GenerateJsonSchema):
    """A value that is made from text by a reader of our own (a cadence, a text in languages) may be anything here."""

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:
        return {}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_MOMENT = {"type": "string", "format": "date-time"}
_MAYBE = {"type": ["string", "null"]}
_YES_NO = {"type": "boolean"}
_COUNTS = {"type": "object", "additionalProperties": _NUMBER}

_FETCHED = {"type": "object", "additionalProperties": _object(new=_NUMBER, changed=_NUMBER, problem=_TEXT)}
"""What each source on the network brought."""

_OUTPUT: dict[str, dict[str, Any]] = {
    "check": _object(
        ok={"type": "boolean"},
        problems=_list(
            _object(
                file=_TEXT,
                line={"type": ["integer", "null"]},
                column={"type": ["integer", "null"]},
                level={"enum": ["error", "warning"]},
                message=_TEXT,
                mend=_TEXT,
            )
        ),
    ),
    "plan": _list(
        _object(
            schedule=_TEXT,
            cadence=_TEXT,
            note=_TEXT,
            slots=_list(
                _object(
                    slot=_MOMENT,
                    at=_MOMENT,
                    moved=_MAYBE,
                    skipped=_MAYBE,
                    note=_TEXT,
                    stories={"type": ["array", "null"], "items": _TEXT},
                    outlets=_list(
                        _object(
                            outlet=_TEXT, deliveries=_NUMBER, languages=_COUNTS, skipped=_COUNTS, stories=_list(_TEXT)
                        )
                    ),
                )
            ),
        )
    ),
    "tick": _object(
        now=_MOMENT,
        items=_object(new=_NUMBER, changed=_NUMBER, gone=_NUMBER, set_aside=_NUMBER),
        public=_object(written=_NUMBER, removed=_NUMBER),
        editions=_list(
            _object(
                schedule=_TEXT, edition=_MAYBE, state=_MAYBE, reason=_TEXT, holds=_list(_TEXT), stories=_list(_TEXT)
            )
        ),
        deliveries=_COUNTS,
        stalled={"type": "object", "additionalProperties": _TEXT},
        unpublished=_TEXT,
        told=_NUMBER,
        restored=_TEXT,
        sources=_FETCHED,
    ),
    "sources list": _list(
        _object(
            source=_TEXT,
            type=_TEXT,
            items=_NUMBER,
            fetched=_MAYBE,
            newest=_MAYBE,
            due=_MAYBE,
            problem=_TEXT,
            failing_since=_MAYBE,
            silent=_YES_NO,
            hub=_TEXT,
            hub_until=_MAYBE,
            hub_problem=_TEXT,
        )
    ),
    "sources try": _object(
        items=_list(
            _object(
                ref=_TEXT,
                title=_TEXT,
                language=_TEXT,
                kind=_TEXT,
                story=_MAYBE,
                published=_MAYBE,
                topics=_list(_TEXT),
                url=_MAYBE,
                summary=_TEXT,
                characters=_NUMBER,
                images=_list(_object(src=_TEXT, alt=_TEXT)),
            )
        ),
        problems=_list(_TEXT),
        readable=_YES_NO,
        notes=_list(_TEXT),
    ),
    "sources sync": _object(sources=_FETCHED, items=_object(new=_NUMBER, changed=_NUMBER, gone=_NUMBER)),
    "rehearse": _object(
        **{"from": _MOMENT, "to": _MOMENT},
        clock_set_back_from=_MAYBE,
        folder=_TEXT,
        notes=_list(_TEXT),
        rows=_list(
            _object(
                at=_MOMENT,
                until=_MAYBE,
                count=_NUMBER,
                schedule=_TEXT,
                edition=_MAYBE,
                slot=_MAYBE,
                outcome=_TEXT,
                why=_TEXT,
                moved=_MAYBE,
                after=_MAYBE,
                stories=_list(_TEXT),
                outlets=_list(
                    _object(outlet=_TEXT, deliveries=_NUMBER, languages=_COUNTS, skipped=_COUNTS, failed=_COUNTS)
                ),
                stalled=_list(_TEXT),
                files=_list(_TEXT),
            )
        ),
    ),
    "report": _object(
        title=_TEXT,
        zone=_TEXT,
        since=_MAYBE,
        until=_MAYBE,
        made=_MOMENT,
        mail=_list(
            _object(
                edition=_TEXT,
                at=_MOMENT,
                list=_TEXT,
                language=_TEXT,
                state=_TEXT,
                accepted=_NUMBER,
                hard=_NUMBER,
                soft=_NUMBER,
                complaints=_NUMBER,
                returned=_NUMBER,
                rejected=_NUMBER,
                waiting=_NUMBER,
                joined=_NUMBER,
                left=_NUMBER,
            )
        ),
        posts=_list(
            _object(
                edition=_TEXT,
                at=_MOMENT,
                channel=_TEXT,
                language=_TEXT,
                story=_TEXT,
                state=_TEXT,
                link=_TEXT,
                reason=_TEXT,
            )
        ),
        skipped=_list(_object(what=_TEXT, at=_MOMENT, reason=_TEXT, count=_NUMBER)),
        lists=_list(_object(list=_TEXT, language=_TEXT, joined=_NUMBER, left=_NUMBER)),
    ),
    "ledger": _object(
        id=_NUMBER,
        schedule=_TEXT,
        edition=_MAYBE,
        list=_TEXT,
        channel=_TEXT,
        story=_TEXT,
        purpose=_TEXT,
        target=_TEXT,
        address=_TEXT,
        state=_TEXT,
        reason=_TEXT,
        attempts=_NUMBER,
        doubts=_NUMBER,
        receipt=_TEXT,
        via=_TEXT,
        returned=_TEXT,
        at=_MOMENT,
    ),
    "subscribers show": _object(
        address=_TEXT,
        name=_TEXT,
        language=_TEXT,
        number={"type": ["integer", "null"]},
        known_since=_MAYBE,
        subscriptions=_list(
            _object(
                list=_TEXT,
                state={"enum": ["pending", "confirmed", "unsubscribed"]},
                topics=_list(_TEXT),
                frequency=_TEXT,
                paused_until=_MAYBE,
                source=_TEXT,
                since=_MOMENT,
                confirmed_at=_MAYBE,
                left_at=_MAYBE,
            )
        ),
        consents=_list(_object(at=_MOMENT, list=_TEXT, what=_TEXT, source=_TEXT, wording=_TEXT, ip=_TEXT)),
        suppressions=_list(_object(list=_TEXT, reason=_TEXT, at=_MOMENT)),
        mails=_list(
            _object(
                at=_MOMENT,
                kind=_TEXT,
                edition=_TEXT,
                list=_TEXT,
                purpose=_TEXT,
                subject=_TEXT,
                stories=_list(_TEXT),
                state=_TEXT,
                reason=_TEXT,
                accepted_by=_TEXT,
                receipt=_TEXT,
                returned=_TEXT,
            )
        ),
        older_mails=_list(_object(at=_MOMENT, edition=_TEXT, list=_TEXT, stories=_list(_TEXT))),
        returns=_list(_object(at=_MOMENT, list=_TEXT, kind=_TEXT, code=_TEXT, text=_TEXT, via=_TEXT)),
    ),
    "status": _object(
        ok={"type": "boolean"},
        wrong=_list(_object(what=_TEXT, text=_TEXT, mend=_TEXT)),
        version=_TEXT,
        schema=_TEXT,
        tzdata=_TEXT,
        clock={"type": ["string", "null"]},
        items=_NUMBER,
        set_aside=_list(_object(file=_TEXT, problem=_TEXT)),
        deliveries=_COUNTS,
        held=_list(_object(edition=_TEXT, holds=_list(_TEXT))),
        in_doubt=_NUMBER,
        queued=_NUMBER,
        deferred=_NUMBER,
        last_tick=_MAYBE,
        last_accepted=_MAYBE,
        services=_list(_object(owner=_TEXT, alive=_YES_NO, started=_MOMENT, beat=_MOMENT, only_pages=_YES_NO)),
        stalled={"type": "object", "additionalProperties": _TEXT},
        senders=_list(_object(sender=_TEXT, up=_YES_NO, failures=_NUMBER, reason=_TEXT, down_until=_MAYBE)),
        sources=_list(
            _object(source=_TEXT, read=_MAYBE, problem=_TEXT, fetched=_MAYBE, newest=_MAYBE, due=_MAYBE, silent=_YES_NO)
        ),
        disks={"type": "object", "additionalProperties": _object(free=_NUMBER, total=_NUMBER)},
        store_bytes=_NUMBER,
        restored={
            **_object(made=_MOMENT, at=_MOMENT, waiting=_list(_TEXT), schedules=_list(_TEXT)),
            "type": ["object", "null"],
        },
        paused=_list(_object(what=_TEXT, since=_MOMENT, until=_MAYBE, reason=_TEXT, who=_TEXT)),
        lists={"type": "object", "additionalProperties": _COUNTS},
        next=_list(_object(schedule=_TEXT, at=_MAYBE)),
        notices=_list(_object(at=_MOMENT, kind=_TEXT, text=_TEXT)),
    ),
}
