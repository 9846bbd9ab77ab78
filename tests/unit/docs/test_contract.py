"""The reading contract's schema and the decoder accept and refuse the same values."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import UNSET

from reckoner.shared.errors import WireError
from reckoner.shared.wire.codecs import Codec
from reckoner.shared.wire.shapes import BASKET, RECORD, RESULT, BasketResult, Options, Record, Result, ScoredItem
from tests.root import ROOT

CONTRACT = json.loads((ROOT / "docs" / "reading-contract.v2.schema.json").read_text())
SHAPES = {"result": Result, "scored_item": ScoredItem, "basket": BasketResult, "record": Record, "options": Options}
CODECS: dict[str, Codec[Any]] = {"result": RESULT, "basket": BASKET, "record": RECORD}

ids = st.text("abcXYZ019_-", min_size=1, max_size=64)
texts = st.text(st.characters(codec="utf-8"), max_size=5)
places = st.lists(
    st.builds(ScoredItem, item=texts, score=st.floats(0, 1, width=32, exclude_min=True), because=texts), max_size=3
)
values: dict[str, st.SearchStrategy[Any]] = {
    "result": st.builds(Result, format=st.just(2), items=places),
    "basket": st.builds(BasketResult, format=st.just(2), items=places, unknown=st.lists(texts, max_size=3)),
    "record": st.builds(
        Record,
        format=st.just(2),
        generation=ids,
        model=ids,
        snapshot=ids,
        options=st.builds(
            Options,
            list_length=st.integers(1, 1000),
            exclude_history=st.booleans(),
            recency=st.just(UNSET) | st.floats(0, 10, exclude_min=True),
        ),
        made_ms=st.integers(0, 2**53),
        users=st.integers(0, 2**53),
        popular=st.lists(texts, min_size=1, max_size=5),
        additions=st.integers(0, 2**53),
    ),
}
ODD: list[Any] = [None, True, "", "a b", "x" * 65, -1, 0, 1, 2, 0.5, 2**60, [], [None], ["i", 0.5], {}, {"item": "i"}]


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({**CONTRACT, "$ref": f"#/$defs/{name}"})


def bare(schema: Any) -> Any:
    """A schema without titles and descriptions."""
    if isinstance(schema, dict):
        return {name: bare(part) for name, part in schema.items() if not (name in WORDS and isinstance(part, str))}
    return [bare(part) for part in schema] if isinstance(schema, list) else schema


WORDS = ("title", "description")


def test_the_contract_is_a_schema() -> None:
    """It is valid and names itself and its format."""
    Draft202012Validator.check_schema(CONTRACT)
    assert CONTRACT["$id"].endswith(":2")
    assert all(part["description"] for part in CONTRACT["$defs"].values())


@pytest.mark.parametrize("name", SHAPES)
def test_the_contract_matches_the_decoder(name: str) -> None:
    """Field by field: types, patterns, bounds, required fields, and open or closed."""
    names = {shape.__name__: name for name, shape in SHAPES.items()}
    _, generated = msgspec.json.schema_components(SHAPES.values(), ref_template="#/$defs/{name}")
    # Where JSON Schema's `$` is the end, Python's may stand before a new line.
    expected = json.dumps(bare(generated[SHAPES[name].__name__])).replace(r"\\Z", "$")
    for shape, here in names.items():
        expected = expected.replace(f"#/$defs/{shape}", f"#/$defs/{here}")
    assert bare(CONTRACT["$defs"][name]) == json.loads(expected)


@given(st.sampled_from(list(values)).flatmap(lambda name: st.tuples(st.just(name), values[name])))
def test_every_written_value_keeps_the_contract(named: tuple[str, Any]) -> None:
    """Any value, as its cached bytes."""
    name, value = named
    validator(name).validate(json.loads(CODECS[name].encode(value)))


@given(st.data())
def test_what_the_contract_refuses_is_refused_here_too(data: st.DataObject) -> None:
    """And vice versa, for a field or an element removed, added or changed at any depth."""
    name = data.draw(st.sampled_from(list(values)))
    value = json.loads(CODECS[name].encode(data.draw(values[name])))
    parts = list(containers(value))
    part = data.draw(st.sampled_from(parts))
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))
    key = data.draw(st.sampled_from([*keys, "more"]))
    if key in keys and data.draw(st.booleans()):
        del part[key]
    elif key in keys or isinstance(part, dict):
        part[key] = data.draw(st.sampled_from(ODD))
    else:
        part.append(data.draw(st.sampled_from(ODD)))
    try:
        CODECS[name].decode(json.dumps(value).encode())
        taken = True
    except WireError:
        taken = False
    assert validator(name).is_valid(value) == taken


def containers(value: Any) -> Any:
    """All objects and arrays within a value."""
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from containers(part)
