"""Tests of the names of generations."""

import pytest

from reckoner.shared.serving.generations import generation_id
from reckoner.shared.store.model_config import ModelConfig, fit_spec
from reckoner.shared.wire.shapes import RECORD, Options, Record


@pytest.mark.parametrize(
    ("options", "generation"),
    [(Options(20), "bfec70fc18766bcc"), (Options(7, exclude_history=False), "6f715b25a8ca51d1")],
)
def test_generations_without_recency_keep_their_ids(options: Options, generation: str) -> None:
    """Those from before there was any recency."""
    assert generation_id("m", options) == generation


def test_a_recency_of_0_is_none() -> None:
    """It changes neither the id nor the bytes of the record; any other changes both."""
    zero, some = (fit_spec("s", ModelConfig(), 20, recency=recency).options for recency in (0.0, 0.25))
    assert generation_id("m", zero) == generation_id("m", Options(20)) != generation_id("m", some)
    written = [RECORD.encode(Record(2, "g", "m", "s", options, 1, 2, ["i"])) for options in (zero, some)]
    assert b'"options":{"list_length":20,"exclude_history":true},' in written[0]
    assert b'"options":{"list_length":20,"exclude_history":true,"recency":0.25},' in written[1]
