"""Event types: the built-in ones, an application's own, and what is said of invalid ones."""

import json
from typing import Any

import pytest

from reckoner.shared.event_types import EventType, EventTypes, parse_event_types


def parsed(**table: Any) -> EventTypes:
    """The types of a table."""
    return parse_event_types(json.dumps(table))


def test_without_a_table_there_are_the_built_in_types() -> None:
    """What most shops need; any other name is unknown."""
    types = parse_event_types("")
    roles = {name: (each.role, each.weight) for name, each in types.by_name.items()}
    assert roles == {
        "interaction": ("history", 1),
        "purchase": ("history", 1),
        "view": ("signal", 1),
        "dislike": ("exclude", 1),
    }
    assert types.find("like") is None


@pytest.mark.parametrize(
    ("role", "counts", "is_left_out"), [("history", True, True), ("signal", True, False), ("exclude", False, True)]
)
def test_a_role_says_what_an_event_does(role: str, counts: bool, is_left_out: bool) -> None:
    """Whether it counts, and whether lists leave its item out."""
    event_type = parsed(some={"role": role}).by_name["some"]
    assert (event_type.counts, event_type.is_left_out) == (counts, is_left_out)


def test_a_table_joins_the_built_in_types_and_replaces_those_of_the_same_name() -> None:
    """A field that is not given has its default."""
    types = parsed(purchase={"weight": 3}, cart={"weight": 2, "role": "signal", "nonpositive": "bad"})
    assert types.find("purchase") == EventType(3.0, "history")
    assert types.find("cart") == EventType(2.0, "signal", "bad")
    assert types.find("view") == EventType(1.0, "signal")


def test_a_default_is_for_all_other_names() -> None:
    """It is no type itself."""
    types = parsed(default={"role": "signal"})
    assert types.find("like") == EventType(role="signal")
    assert types.find("purchase") == EventType()
    assert "default" not in types.by_name


def test_names_match_exactly_and_a_near_miss_is_found() -> None:
    """Another case or a blank is another name; what is alike in nothing has no near one."""
    types = parse_event_types("")
    assert types.find("Purchase") is None
    assert (types.nearest("Purchase"), types.nearest(" view "), types.nearest("xyz")) == ("purchase", "view", None)


NOT_A_WEIGHT = "the weight of the event type 'like' is not a number"
NOT_ABOVE_ZERO = "the weight of the event type 'like' is not a finite number above zero"
NOT_A_ROLE = "the role of the event type 'like' is none of history, signal, exclude"
EXPECTED = 'expected JSON, as in {"purchase": {"weight": 3, "role": "history"}}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"like": {"role": "History"}}', NOT_A_ROLE),
        ('{"like": {"role": ["history"]}}', NOT_A_ROLE),
        ('{"like": {"role": null}}', NOT_A_ROLE),
        ('{"like": {"weight": 0}}', NOT_ABOVE_ZERO),
        ('{"like": {"weight": -1.5}}', NOT_ABOVE_ZERO),
        ('{"like": {"weight": NaN}}', NOT_ABOVE_ZERO),
        ('{"like": {"weight": Infinity}}', NOT_ABOVE_ZERO),
        ('{"like": {"weight": 1e999}}', NOT_ABOVE_ZERO),
        (f'{{"like": {{"weight": 1{"0" * 400}}}}}', NOT_ABOVE_ZERO),
        ('{"like": {"weight": "3"}}', NOT_A_WEIGHT),
        ('{"like": {"weight": true}}', NOT_A_WEIGHT),
        (
            '{"like": {"weight": 1, "role": "exclude"}}',
            "the event type 'like' has a weight, but the role exclude does not count",
        ),
        (
            '{"like": {"nonpositive": "bad", "role": "exclude"}}',
            "the event type 'like' has a nonpositive, but the role exclude does not count",
        ),
        ('{"like": {"nonpositive": "no"}}', "nonpositive of the event type 'like' is none of drop, subtract, bad"),
        (
            '{"like": {"wieght": 3}}',
            "the event type 'like' has the field 'wieght', which is none of weight, role, nonpositive",
        ),
        ('{"like": 3}', "the event type 'like' is not a table, as in { weight = 3, role = \"history\" }"),
        (
            '{"impression": {}}',
            "the name 'impression' is reserved: it says that an item was shown, which counts in no list",
        ),
        ('{"": {}}', "an event type needs a name, but one is empty"),
        (f'{{"{"é" * 33}": {{}}}}', f"the event type '{'é' * 33}' has a name over 64 bytes"),
        (f'{{"{"a" * 99}": {{}}}}', f"the event type '{'a' * 40}…' has a name over 64 bytes"),
        (r'{"\ud800": {}}', "the name of an event type is not UTF-8 text"),
        ("purchase = 3", EXPECTED),
        ("[]", EXPECTED),
        ("[" * 100_000, EXPECTED),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text: str, said: str) -> None:
    """With the type, and what it may be."""
    with pytest.raises(ValueError, match=r"[^.]$") as raised:
        parse_event_types(text)
    assert str(raised.value) == said


@pytest.mark.parametrize("name", ["a" * 64, "é" * 32])
def test_the_longest_name_is_valid(name: str) -> None:
    """64 bytes, however many characters they are."""
    assert name in parsed(**{name: {}}).by_name
