"""The declarations: found by path and method, described, and each with a role."""

import re
from typing import Any

import msgspec
import pytest
from jsonschema.validators import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

from reckoner.producer.http.app import ROUTES
from reckoner.producer.http.openapi import describe
from reckoner.producer.http.parameters import Reader
from reckoner.producer.http.problems import KINDS, NAMES, ProblemError, as_problem
from reckoner.producer.http.routes import Nothing, Route, Table
from reckoner.shared import errors

# Everybody may ask these.
OPEN = {"/health/live", "/health/ready"}
# Errors of imports, stores and the command line: no request causes them.
ELSEWHERE = {
    "ArtifactDamagedError", "ArtifactMissingError", "EmbeddedServerError", "ForeignFormatError", "ForeignStoreError",
    "ForgetRefusedError", "MissingExtraError", "NotTimesError", "OutputError", "ReadAgainError", "ReckonerError",
    "SourceAwayError", "SourceError", "StoreError", "WireError", "WrongLoopError",
}  # fmt: skip


async def handle(*_: object) -> bytes:
    return b""


def route(method: Any, path: str, **options: Any) -> Route:
    return Route(method=method, path=path, role="read", handle=handle, summary="", **options)


TABLE = Table([route("GET", "/a/{x}/b"), route("PUT", "/a/{x}/b"), route("GET", "/a/{x}/b/{y}"), route("GET", "/")])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/1/b", {"x": "1"}),
        (b"/a/1%2F2/b/%2f", {"x": "1/2", "y": "/"}),
        (b"/a//b", {"x": ""}),
        (b"/a/%E3%83%A6/b", {"x": "ユ"}),
        (b"/a/+%20%25/b", {"x": "+ %"}),
        (b"/", {}),
    ],
)
def test_a_path_has_its_parameters(path: bytes, expected: dict[str, str]) -> None:
    """Each segment is decoded by itself, so a slash in an id is none of the path."""
    assert TABLE.find("GET", path)[1] == expected
    assert TABLE.find("HEAD", path)[1] == expected


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", b"/a/1", 404),
        ("GET", b"/a/1/c", 404),
        ("GET", b"/a/1/b/2/3", 404),
        ("GET", b"/a/1%2Fb", 404),
        ("POST", b"/a/1/b", 405),
        ("GET", b"/a/%c3/b", 400),
        ("GET", b"", 404),
        ("GET", b"*", 404),
    ],
)
def test_other_paths_are_problems(method: str, path: bytes, status: int) -> None:
    """No prefix, no decoded slash."""
    with pytest.raises(ProblemError) as caught:
        TABLE.find(method, path)
    assert caught.value.status == status


def test_no_route_is_declared_twice() -> None:
    """A mistake in a module of routes is seen at the start."""
    with pytest.raises(ValueError, match="twice"):
        Table([route("GET", "/a/{x}"), route("GET", "/a/{y}")])


@pytest.mark.parametrize("declared", ROUTES, ids=lambda one: f"{one.method} {one.path}")
def test_every_route_is_whole(declared: Route) -> None:
    """Its parameters are those of its path, its problems exist, its types can be read, and it needs a role."""
    names = {one.name for one in msgspec.structs.fields(declared.asked)}
    assert declared.in_path <= names
    assert set(declared.problems) <= set(KINDS)
    assert set(declared.example) <= names | {"body"}
    assert (declared.role is None) == (declared.path in OPEN)
    assert declared.summary.endswith(".")
    assert declared.method == "GET" or declared.described
    # msgspec checks types at their first use.
    msgspec.inspect.type_info(declared.asked)
    if "body" in declared.example:
        reader = Reader(declared.asked, declared.body, declared.in_path)
        reader.body(msgspec.json.encode(declared.example["body"]))


def test_the_description_has_every_route_and_no_loose_end() -> None:
    """OpenAPI 3.1: each reference leads somewhere, each operation has a name of its own."""
    found = describe(ROUTES)
    text = msgspec.json.encode(found).decode()
    described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    assert described == {(one.method, one.path) for one in ROUTES if one.described}
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert references == set(found["components"]["schemas"])
    ids = [operation["operationId"] for methods in found["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
    for path, methods in found["paths"].items():
        for operation in methods.values():
            in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))


def test_the_description_is_openapi_3_1() -> None:
    """By the schema of OpenAPI's authors; the shapes in it are JSON Schemas, and the examples have them."""
    found = describe(ROUTES)
    Draft202012Validator(OPENAPI_31).validate(found)
    for shape in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(shape)
    for methods in found["paths"].values():
        for operation in methods.values():
            for content in operation.get("requestBody", {"content": {}})["content"].values():
                schema = content["schema"] | {"components": found["components"]}
                Draft202012Validator(schema).validate(content["example"])
            for parameter in operation["parameters"]:
                Draft202012Validator.check_schema(parameter["schema"])
                if "example" in parameter:
                    Draft202012Validator(parameter["schema"]).validate(parameter["example"])


def test_every_error_of_the_client_is_a_problem() -> None:
    """Of the kind of its class or of one that it derives from; any other is logged."""
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ReckonerError)
    ]
    internal = {kind.__name__ for kind in kinds if not any(issubclass(kind, known) for known, _ in NAMES)}
    assert internal == ELSEWHERE
    assert as_problem(errors.UserUnknownError("No such user.")).problem.detail == "No such user."
    assert "secret" not in as_problem(errors.StoreError("a secret")).problem.detail


def test_a_query_is_read_as_it_is_meant() -> None:
    """A plus is a blank, repeated values are a list, and what is unknown or repeated is named."""

    class Asked(msgspec.Struct):
        n: int = 1
        tags: tuple[str, ...] = ()
        fresh: bool = False

    reader = Reader(Asked, None, frozenset())
    assert reader.parameters({}, b"n=3&tags=a+b&tags=c%2Fd&fresh=true") == Asked(3, ("a b", "c/d"), True)
    for query, name in ((b"m=1", "unknown-parameter"), (b"n=1&n=1", "invalid-parameter"), (b"n=%ff", "malformed")):
        with pytest.raises(ProblemError) as caught:
            reader.parameters({}, query)
        assert caught.value.problem.type.endswith(name)
    with pytest.raises(ProblemError, match="over 1,500 parameters"):
        reader.parameters({}, b"&".join([b"tags=x"] * 1_501))
    with pytest.raises(ProblemError, match="takes none"):
        Reader(Nothing, None, frozenset()).parameters({}, b"n=1")
