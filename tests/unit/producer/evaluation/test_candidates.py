"""Candidates are written as people write them."""

import pytest

from reckoner.producer.evaluation.candidates import Candidate, parse_candidate
from reckoner.shared.errors import UsageError
from reckoner.shared.store.fit_options import SLIM, configuration, parse_options
from reckoner.shared.store.model_config import ModelConfig


@pytest.mark.parametrize(
    ("text", "candidate"),
    [
        ("cosine", Candidate(ModelConfig("cosine"))),
        ("cosine user_norm=1 recency=0.5", Candidate(ModelConfig("cosine", user_norm=1.0), 0.5)),
        ("llr recency=0", Candidate(ModelConfig("llr"), 0.0)),
        (
            "slim neighbours=1000000 l2=0.12345678 recency=0.1234567",
            Candidate(ModelConfig("slim", neighbours=1_000_000, l2=0.12345678), 0.1234567),
        ),
    ],
)
def test_a_candidate_is_read_as_it_is_named(text: str, candidate: Candidate) -> None:
    """Without a recency it has the default for the data."""
    assert parse_candidate(text) == candidate
    assert candidate.name == text


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("slim", "reckoner fit --similarity slim"),
        ("cosine user_norm=1 recency=0", "reckoner fit --similarity cosine --user-norm 1 --recency 0"),
    ],
)
def test_a_candidate_has_a_command_that_builds_it(text: str, command: str) -> None:
    """Whose options a fit understands."""
    candidate = parse_candidate(text)
    assert candidate.command == command
    given, recency = parse_options(command.removeprefix("reckoner fit "))
    assert Candidate(configuration(given, SLIM), recency) == candidate


@pytest.mark.parametrize("recency", ["-1", "11", "x", "nan"])
def test_an_invalid_recency_is_refused(recency: str) -> None:
    """In one sentence."""
    with pytest.raises(UsageError, match=rf"^--model 'cosine recency={recency}': recency: .*\.$"):
        parse_candidate(f"cosine recency={recency}")
