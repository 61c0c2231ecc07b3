"""A small site that answers like Drupal's JSON:API: it follows Drupal's rules with recorded resources.

From core/modules/jsonapi/src: `Query/Filter` (short and long form, all conditions hold), `Query/OffsetPage` (50 at the
most), `Controller/EntityResource` (one more is looked up than a page has, so that `next` is known; access is judged
after that, so a page may hold fewer), `Access/EntityAccessChecker` (the translation of the request's language, or else
the original; 403 without access), `Context/FieldResolver` and `IncludeResolver` (an unknown field is a 400, and one of
`include` only where there is an item; what is not for readers goes to `meta.omitted`). A filter is a query over the
rows of translations: an item is found if one row meets all conditions, whatever language then answers.

It is stricter than Drupal in one thing: a filter for a time must be in seconds, as in the database.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_HERE = Path(__file__).parent
_CONDITION = re.compile(r"filter\[([^\]]+)\]\[condition\]\[(path|operator|value)\](?:\[\d+\])?")
_SHORT = re.compile(r"filter\[([^\]]+)\]")
PAGE = 50
Resource = dict[str, Any]


def recorded(name: str) -> dict[str, Any]:
    """Load a document that a real Drupal sent."""
    parsed: dict[str, Any] = json.loads((_HERE / f"{name}.json").read_text())
    return parsed


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, detail: str = "") -> None:
        super().__init__(detail)
        self.status = status


class Drupal:
    """One site. `prefixes` are the languages with a path prefix. Its own language also answers without a prefix.

    `rows` has each translation of each resource: type, id, language. `denied` are ids that are not for readers.
    `asked` is every request: path, parameters. A `status` other than 200 is the answer to all requests.
    """

    def __init__(self, prefixes: Sequence[str] = ("en", "ru", "es"), own: str = "en") -> None:
        self.prefixes, self.own = {prefix: prefix for prefix in prefixes}, own
        self.rows: dict[str, dict[str, dict[str, Resource]]] = {
            "node--article": {},
            "node--page": {},
            "node--recipe": {},
        }
        self.denied: set[str] = set()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.status = 200
        self.clock = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp())
        self._numbers = 100
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet for each answer: two would wait for each other

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                parameters = dict(parse_qsl(parts.query))
                site.asked.append((parts.path, parameters))
                try:
                    if site.status != 200:
                        raise Refusal(site.status)
                    status, resources = 200, site.answer(unquote(parts.path), parameters)
                except Refusal as refusal:
                    status = refusal.status
                    resources = recorded("not-found") if status == 404 else _errors(refusal)
                body = json.dumps(resources).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.api+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # -- actions of its editors ---------------------------------------------------------------------------------------

    def take(self, name: str) -> None:
        """Load recorded resources."""
        data = recorded(name)["data"]
        for one in data if isinstance(data, list) else [data]:
            self._keep(one)

    def node(self, title: str, body: str = "<p>Text.</p>", language: str = "", **more: Any) -> str:
        """Save a node or its translation; return its id. `more`: attributes, relations, summary, its known `id`."""
        [made] = copy.deepcopy(recorded("article")["data"])
        made["id"] = more.pop("id", None) or str(uuid.uuid4())
        others = self.rows["node--article"].get(made["id"], {})
        language = language or self.own
        if language in others:
            made = copy.deepcopy(others[language])
        else:
            self._numbers += not others
            number = next((one["attributes"]["drupal_internal__nid"] for one in others.values()), self._numbers)
            path = {"alias": None, "pid": None, "langcode": language}
            made["attributes"] |= {"drupal_internal__nid": number, "path": path, "created": self.moment()}
            made["attributes"] |= {"langcode": language, "default_langcode": not others}
        made["attributes"] |= {"title": title, "changed": self.moment()}
        written = {"value": body, "format": "full_html", "processed": body, "summary": more.pop("summary", None)}
        made["attributes"]["body"] = written
        for name, value in more.items():
            if name in made["relationships"] or name.startswith("field_"):
                made["relationships"][name] = {"data": value}
            else:
                made["attributes"][name] = value
        return self._keep(made)

    def delete(self, node: str, language: str = "") -> None:
        """Delete a node, or one of its translations."""
        rows = self.rows["node--article"]
        del (rows[node] if language else rows)[language or node]

    def term(self, name: str) -> Resource:
        """Add a topic; return the value of a relation to it."""
        return self._made("taxonomy_term--tags", {"name": name})

    def file(self, name: str, mime: str = "image/jpeg", **meta: Any) -> Resource:
        """Add a file; return the value of a relation to it."""
        answer = {"filename": name, "uri": {"value": f"public://{name}", "url": f"/files/{name}"}, "filemime": mime}
        return self._made("file--file", answer, **meta)

    def medium(self, kind: str, **files: Resource) -> Resource:
        """Add a medium with its files by field."""
        made = self._made(f"media--{kind}", {"name": kind, "changed": self.moment()})
        [row] = self.rows[f"media--{kind}"][made["id"]].values()
        thumbnail = self.file("symbol.png", "image/png", alt="")
        row["relationships"] = {name: {"data": one} for name, one in (files | {"thumbnail": thumbnail}).items()}
        return made

    def moment(self) -> str:
        """Return the time of its clock, as the API writes it."""
        return datetime.fromtimestamp(self.clock, UTC).isoformat()

    def _made(self, kind: str, said: dict[str, Any], **meta: Any) -> Resource:
        attributes = {"langcode": self.own, "default_langcode": True, "status": True, **said}
        made = {"type": kind, "id": str(uuid.uuid4()), "attributes": attributes, "relationships": {}}
        self._keep(made)
        return {"type": kind, "id": made["id"], "meta": {**meta, "drupal_internal__target_id": self._numbers}}

    def _keep(self, made: Resource) -> str:
        rows = self.rows.setdefault(made["type"], {}).setdefault(made["id"], {})
        rows[made["attributes"]["langcode"]] = made
        return str(made["id"])

    # -- its answers --------------------------------------------------------------------------------------------------

    def answer(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        """Return a document. Raises Refusal."""
        first, _, rest = path.strip("/").partition("/")
        language = next((one for one, prefix in self.prefixes.items() if prefix == first), "")
        steps = (rest if language else path).strip("/").split("/")
        language = language or self.own
        if steps == ["jsonapi"]:
            record = recorded("entry-es")
            types = [name for name in self.rows if name.startswith("node--")]
            links = {name: {"href": f"https://cms.example/jsonapi/{name.replace('--', '/')}"} for name in types}
            return record | {"links": links}
        if steps[:1] != ["jsonapi"] or len(steps) not in (3, 4) or f"{steps[1]}--{steps[2]}" not in self.rows:
            raise Refusal(404)
        kind = f"{steps[1]}--{steps[2]}"
        if len(steps) == 3:
            return self._listing(kind, language, parameters)
        if steps[3] not in self.rows[kind]:
            raise Refusal(404)
        one = self._shown(kind, steps[3], language)
        if one is None:
            raise Refusal(403, "The current user is not allowed to GET the selected resource.")
        return {"jsonapi": _VERSION, "data": _sparse(one, parameters), "links": {}}

    def _listing(self, kind: str, language: str, parameters: dict[str, str]) -> dict[str, Any]:
        size = min(int(parameters.get("page[limit]", PAGE)), PAGE)
        offset = int(parameters.get("page[offset]", 0))
        resources = self._found(kind, parameters)
        page = [(one, self._shown(kind, one, language)) for one in resources[offset : offset + size]]
        data = [one for _, one in page if one is not None]
        hidden = [one for one, shown in page if shown is None]
        included = self._included(data, parameters.get("include", ""), language, hidden) if data else []
        # The links name no language, like the recorded ones.
        address = f"https://cms.example/jsonapi/{kind.replace('--', '/')}"
        document: dict[str, Any] = {"jsonapi": _VERSION, "data": [_sparse(one, parameters) for one in data]}
        document["links"] = {"self": {"href": address}}
        if len(resources) > offset + size:
            onward = parameters | {"page[offset]": str(offset + size), "page[limit]": str(size)}
            document["links"]["next"] = {"href": f"{address}?{urlencode(onward)}"}
        if parameters.get("include"):
            document["included"] = included
        if hidden:
            detail = "Some resources have been omitted because of insufficient authorization."
            document["meta"] = {"omitted": {"detail": detail, "links": {f"item--{one}": {} for one in hidden}}}
        return document

    def _found(self, kind: str, parameters: dict[str, str]) -> list[str]:
        conditions: dict[str, dict[str, Any]] = {}
        for name, value in parameters.items():
            if match := _CONDITION.fullmatch(name):
                one = conditions.setdefault(match[1], {"operator": "=", "value": []})
                one[match[2]] = [*one["value"], value] if match[2] == "value" else value
            elif match := _SHORT.fullmatch(name):
                conditions[match[1]] = {"path": match[1], "operator": "=", "value": [value]}
            elif name.startswith("filter"):
                raise Refusal(400, f"{name} is no filter")
        met: dict[str, Resource] = {}
        for key, rows in self.rows[kind].items():
            for row in rows.values():
                if all(self._meets(kind, row, **condition) for condition in conditions.values()):
                    met.setdefault(key, row)
        ordered = sorted(met)
        for path in reversed(parameters.get("sort", "drupal_internal__nid").split(",")):
            name = path.removeprefix("-")
            ordered.sort(key=lambda key: next(self._values(kind, met[key], name)), reverse=path.startswith("-"))
        return ordered

    def _meets(self, kind: str, row: Resource, path: str, operator: str, value: list[str]) -> bool:
        values = list(self._values(kind, row, path))
        if operator == ">":
            if not value[0].isdigit():
                raise Refusal(400, f"{value[0]} is not a moment in seconds")
            return any(one > int(value[0]) for one in values)
        if operator == "NOT IN":
            return any(one not in value for one in values)
        if operator in ("=", "IN"):
            return any(one in value for one in values)
        raise Refusal(400, f"The '{operator}' operator is not allowed in a filter.")

    def _values(self, kind: str, row: Resource, path: str) -> Iterator[Any]:
        name, _, inner = path.partition(".")
        if inner:
            if not self._has(kind, "relationships", name):
                raise Refusal(400, f"Invalid nested filtering. The field `{name}` does not exist.")
            for link in _data(row["relationships"].get(name)):
                for target in self.rows[link["type"]][link["id"]].values():
                    yield from self._values(link["type"], target, inner)
        elif name == "id":
            yield row["id"]
        elif name not in row["attributes"]:
            raise Refusal(400, f"Invalid nested filtering. The field `{name}` does not exist.")
        elif name in ("created", "changed"):
            yield int(datetime.fromisoformat(row["attributes"][name]).timestamp())
        else:
            value = row["attributes"][name]
            yield str(int(value)) if isinstance(value, bool) else value

    def _included(self, data: list[Resource], include: str, language: str, hidden: list[str]) -> list[Resource]:
        found: dict[str, Resource] = {}
        for path in filter(None, include.split(",")):
            at = data
            for name in path.split("."):
                if not any(self._has(kind, "relationships", name) for kind in {one["type"] for one in at}) and at:
                    raise Refusal(400, f"`{name}` is not a valid relationship field name.")
                links = [link for one in at for link in _data(one["relationships"].get(name))]
                shown = {link["id"]: self._shown(link["type"], link["id"], language) for link in links}
                hidden += [key for key, one in shown.items() if one is None and key not in hidden]
                at = [one for one in shown.values() if one is not None]
                found |= {one["id"]: one for one in at}
        return list(found.values())

    def _has(self, kind: str, part: str, name: str) -> bool:
        return any(name in row[part] for rows in self.rows[kind].values() for row in rows.values())

    def _shown(self, kind: str, key: str, language: str) -> Resource | None:
        rows = self.rows.get(kind, {}).get(key, {})
        original = next((row for row in rows.values() if row["attributes"]["default_langcode"]), None)
        row = rows.get(language) or original
        return row if row and row["attributes"]["status"] and key not in self.denied else None


_VERSION = recorded("not-found")["jsonapi"]


def _errors(refusal: Refusal) -> dict[str, Any]:
    return {"jsonapi": _VERSION, "errors": [{"status": str(refusal.status), "detail": str(refusal)}]}


def _data(relation: Any) -> list[Resource]:
    data = (relation or {}).get("data")
    return [data] if isinstance(data, dict) else data or []


def _sparse(one: Resource, parameters: dict[str, str]) -> Resource:
    wanted = parameters.get(f"fields[{one['type']}]")
    if wanted is None:
        return one
    parts = {part: {name: one[part][name] for name in wanted.split(",") if name in one[part]} for part in _PARTS}
    return {"type": one["type"], "id": one["id"]} | {part: fields for part, fields in parts.items() if fields}


_PARTS = ("attributes", "relationships")
