"""Filters are built once from what a request says, in any order."""

from typing import Any

import pytest

from reckoner.shared.errors import UsageError, WireError
from reckoner.shared.wire.filters import MAX_EXCLUDED, MAX_TAGS, Filter, filter_of
from reckoner.shared.wire.shapes import SPEC, UserSpec


def test_equal_requests_have_the_same_filter() -> None:
    """Whatever the order and the kind of collection; each difference makes another key."""
    wanted = filter_of(only=["b", "a", "b"], without={"c"}, exclude=("z", "é"))
    assert wanted == Filter(("a", "b"), ("c",), ("z", "é"))
    assert wanted.key == filter_of(only=["a", "b"], without=["c"], exclude=["é", "z", "z"]).key
    others = [filter_of(only=["a"]), filter_of(without=["a"]), filter_of(exclude=["a"]), filter_of(only=["a", "b"])]
    assert len({wanted.key, *(other.key for other in others)}) == 5


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"only": "shoes"}, "only is the string 'shoes', but must be a list of tags."),
        ({"without": b"shoes"}, "without is b'shoes', but must be a list of tags."),
        ({"exclude": 5}, "exclude is 5, but must be a list of items."),
        ({"max_per_tag": 0}, "max_per_tag is 0, but must be a whole number of at least 1."),
        ({"max_per_tag": True}, "max_per_tag is True, but must be a whole number of at least 1."),
        ({"diversity": 0}, "diversity is 0, but must be a number above 0 and at most 1."),
        ({"diversity": float("nan")}, "diversity is nan, but must be a number above 0 and at most 1."),
        ({"diversity": "1"}, "diversity is '1', but must be a number above 0 and at most 1."),
        ({"only": [5]}, "The tag 5 is not a str: ids are strings."),
        ({"exclude": [""]}, "The item '' is empty."),
        ({"only": [f"{n}" for n in range(MAX_TAGS + 1)]}, "only has 101 tags. At most 100 are supported."),
        (
            {"exclude": [f"{n}" for n in range(MAX_EXCLUDED + 1)]},
            "exclude has 1,001 items. At most 1,000 are supported.",
        ),
        (
            {"exclude": [f"{n:0>1000}" for n in range(66)]},
            "The tags and items of a filter have 66,000 bytes. At most 65,536 are supported.",
        ),
    ],
)
def test_an_invalid_filter_is_refused(given: dict[str, Any], says: str) -> None:
    """In one sentence that says what is wrong."""
    with pytest.raises(UsageError) as refused:
        filter_of(**given)
    assert str(refused.value) == says


def test_a_planted_filter_that_is_too_large_is_refused() -> None:
    """Whatever the bytes in Redis say."""
    too_many = Filter(exclude=tuple(f"{n}" for n in range(MAX_EXCLUDED + 1)))
    assert SPEC.decode(SPEC.encode(UserSpec("u", "g", Filter(only=("a",))))) == UserSpec("u", "g", Filter(only=("a",)))
    with pytest.raises(WireError):
        SPEC.decode(SPEC.encode(UserSpec("u", "g", too_many)))
