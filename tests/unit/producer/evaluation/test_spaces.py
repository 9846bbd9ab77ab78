"""Search spaces: files as people write them, built-in families, and equal trials for equal seeds."""

from pathlib import Path

import pytest

from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.spaces import FAMILIES, Range, Space, built_in, draw, read_space
from reckoner.shared.errors import UsageError
from reckoner.shared.store.model_config import ModelConfig


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "space.toml"
    file.write_text(text, "utf-8")
    return file


def test_a_file_has_values_lists_and_ranges(tmp_path: Path) -> None:
    """By similarity."""
    file = written(
        tmp_path,
        '[slim]\nl2 = { from = 5, to = 80, log = true }\nneighbours = 50\n["cosine"]\nrecency = [0, 0.5]\n[llr]\n',
    )
    assert read_space(file) == {
        "slim": {"l2": Range(5, 80, log=True), "neighbours": 50},
        "cosine": {"recency": [0, 0.5]},
        "llr": {},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("[slim", "is not valid TOML"),
        ("[slims]", "[slims] is invalid: Invalid enum value 'slims'"),
        ("slim = 3", "[slim] is invalid: Expected `object`"),
        ("[slim]\nl2 = []", "l2 has no values"),
        ("[slim]\nl2 = 'x'", "Expected `float"),
        ("[slim]\nl2 = [-1]", "Expected `float` >= 0"),
        ("[slim]\nk1 = 2", "slim takes no k1"),
        ("[slim]\nl2 = { from = 5, to = 5 }", "from must be below to"),
        ("[slim]\nl2 = { from = 0, to = 5, log = true }", "from must be above 0"),
        ("[slim]\nl2 = { from = 1 }", "missing required field `to`"),
        ("[slim]\nl2 = { from = 1, to = 5, step = 2 }", "unknown field `step`"),
        ("[slim]\nneighbours = { from = 0, to = 5 }", "Expected `int` >= 1"),
        ("[slim]\nrecency = 11", "recency:"),
        ("[slim]\nsimilarity = 3", "similarity has no values"),
    ],
)
def test_a_wrong_file_gets_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    """It names the file and the similarity."""
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_space(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file or directory"):
        read_space(tmp_path / "nowhere.toml")


def test_lists_are_combined_if_the_trials_suffice() -> None:
    """Each combination once."""
    space: Space = {"cosine": {"neighbours": [5, 9], "shrink": [0, 1, 2.5], "power": 2}}
    found = draw(space, 6, seed=0)
    assert {(each.config.neighbours, each.config.shrink, each.config.power) for each in found} == {
        (neighbours, shrink, 2) for neighbours in (5, 9) for shrink in (0, 1, 2.5)
    }
    assert draw(space, 50, seed=0) == found


def test_each_part_of_a_range_is_taken_once() -> None:
    """Of the logarithms, if they are asked for; to three digits, within the range."""
    space: Space = {"slim": {"l2": Range(1, 1000, log=True), "user_norm": Range(0, 1), "l1": [1, 2]}}
    found = [each.config for each in draw(space, 30, seed=3)]
    assert len(found) == 30
    assert sorted(int(config.parameter("user_norm") * 30) for config in found) == list(range(30))
    in_decades = [sum(10**low <= config.parameter("l2") < 10 ** (low + 1) for config in found) for low in range(3)]
    assert in_decades == [10, 10, 10]
    assert sum(config.parameter("l1") == 2 for config in found) == 15
    assert all(float(f"{config.parameter('l2'):.3g}") == config.parameter("l2") for config in found)


def test_equal_seeds_draw_equal_trials() -> None:
    """These are frozen: other numbers would forget the trials that are done."""
    space = {"cosine": {"shrink": Range(0, 10), "neighbours": Range(5, 50)}}
    one = draw(space, 3, seed=1)
    assert one == draw(space, 3, seed=1)
    assert one != draw(space, 3, seed=2)
    assert [each.name for each in one] == [
        "cosine neighbours=28 shrink=8.33", "cosine neighbours=42 shrink=1.67", "cosine neighbours=12 shrink=5",
    ]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("with_times", [False, True])
def test_a_family_gives_as_many_trials_as_are_asked_for(family: str, with_times: bool) -> None:
    """All differ; `all` tries slim in half of them. Data without times get no recency."""
    space, turns = built_in(family, with_times=with_times)
    found = draw(space, 40, 0, turns)
    assert len(set(found)) == len(found) == 40
    assert {each.config.similarity for each in found} == set(FAMILIES[family])
    assert any(each.recency is not None for each in found) == with_times
    if family == "all":
        assert sum(each.config.similarity == "slim" for each in found) == 20


def test_a_candidate_without_parameters_is_the_default() -> None:
    """A similarity alone is one trial."""
    assert draw({"llr": {}}, 10, seed=0) == [Candidate(ModelConfig("llr"))]
