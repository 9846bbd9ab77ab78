"""The description of the API: OpenAPI 3.1, made from the declarations of the routes."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from reckoner.producer.http.calls import Call
from reckoner.producer.http.problems import KINDS, TYPE_PREFIX, Problem
from reckoner.producer.http.routes import Nothing, Route
from reckoner.shared.version import installed_version

REFERENCE = "#/components/schemas/{name}"
# What every route may answer.
OF_ALL = ("malformed", "invalid-parameter", "too-busy", "redis-away", "time-over", "internal", "headers-too-large")
OF_QUERIES = ("unknown-parameter",)
OF_BODIES = ("slow-request", "body-too-large", "not-json")
OF_ROLES = ("no-token", "role-too-low", "foreign-host", "foreign-origin")


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document."""
    described = [route for route in routes if route.described]
    shapes = [route.asked for route in described]
    others = (one for route in described for one in (route.body, route.answer) if one is not None)
    types = list(dict.fromkeys([*shapes, *others, Problem]))
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    found = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, components, found)
    in_paths = {_name(found[one]) for one in shapes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ready Reckoner",
            "version": installed_version() or "0",
            "description": "Every user's next N recommendations, ready in Redis. See docs/http.md.",
        },
        "paths": paths,
        "components": {
            # Parameters are described where they are.
            "schemas": {name: one for name, one in components.items() if name not in in_paths},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _operation(route: Route, components: Mapping[str, Any], found: Mapping[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{_camel(route.path)}",
        "summary": route.summary,
        "parameters": list(_parameters(route, components, found)),
        "responses": _responses(route, found),
        "security": [{"token": []}, {}] if route.role else [],
    }
    if route.role:
        operation["description"] = f"Needs the role `{route.role}`."
    if route.body is not None:
        content: dict[str, Any] = {"schema": found[route.body]}
        if "body" in route.example:
            content["example"] = route.example["body"]
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _camel(path: str) -> str:
    return "".join(part.strip("{}").replace(".", "_").title() for part in path.split("/"))


def _parameters(route: Route, components: Mapping[str, Any], found: Mapping[Any, Any]) -> Iterable[dict[str, Any]]:
    if route.asked is Nothing:
        return
    shape = components[_name(found[route.asked])]
    for name, given in shape["properties"].items():
        # Of an optional one, the alternative to null.
        schema = given["anyOf"][0] if "anyOf" in given else given
        parameter = {
            "name": name,
            "in": "path" if name in route.in_path else "query",
            "required": name in shape.get("required", ()),
            "schema": {key: value for key, value in schema.items() if key != "description"},
            "description": schema.get("description", ""),
        }
        if name in route.example:
            parameter["example"] = route.example[name]
        yield parameter


def _responses(route: Route, found: Mapping[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    good: dict[str, Any] = {"description": route.summary}
    if route.answer is not None:
        good["content"] = {"application/json": {"schema": found[route.answer]}}
    if route.method == "GET" and route.status == 200:
        good["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "A digest of the answer."}}
        responses["304"] = {"description": "The caller has this answer already, as If-None-Match says."}
    responses[str(route.status)] = good
    names = [*OF_ALL, *OF_QUERIES, *route.problems]
    names += OF_BODIES if route.body is not None else ()
    names += OF_ROLES if route.role else ()
    by_status: dict[int, list[str]] = {}
    for name in dict.fromkeys(names):
        by_status.setdefault(KINDS[name].status, []).append(name)
    for status, some in sorted(by_status.items()):
        kinds = " or ".join(f"`{TYPE_PREFIX}{name}`" for name in some)
        answer: dict[str, Any] = {
            "description": f"A problem: {kinds}.",
            "content": {"application/problem+json": {"schema": found[Problem]}},
        }
        if any(KINDS[name].retry_after_s for name in some):
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."}}
        responses[str(status)] = answer
    return dict(sorted(responses.items()))


def route_of(routes: Iterable[Route]) -> Route:
    """The route of the description of `routes`, and of itself."""

    async def handle(_: Call, __: Nothing) -> bytes:
        return document

    route = Route(
        method="GET",
        path="/openapi.json",
        role=None,
        handle=handle,
        summary="This description.",
        answer=dict[str, Any],
    )
    document = msgspec.json.encode(describe([*routes, route]))
    return route
