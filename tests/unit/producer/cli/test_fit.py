"""`reckoner fit` refuses invalid options."""

from typing import Any

import pytest

from reckoner.producer.cli.fit import fit
from reckoner.shared.errors import UsageError


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"alpha": 0.3}, "cosine takes no alpha; its parameters: shrink, user_norm, power."),
        ({"similarity": "cosine", "alpha": 0.3}, "cosine takes no alpha; its parameters: shrink, user_norm, power."),
        ({"b": 0.0}, "cosine takes no b; its parameters: shrink, user_norm, power."),
        ({"similarity": "llr", "shrink": 3.0}, "llr takes no shrink; its parameters: power."),
        (
            {"similarity": "slim", "power": 2.0},
            "slim takes no power; its parameters: user_norm, candidates, l1, l2, l2_share.",
        ),
        ({"power": 0.0}, "--power cannot be used: Expected `float` > 0.0."),
        ({"user_norm": 11.0}, "--user-norm cannot be used: Expected `float` <= 10.0."),
    ],
)
def test_options_that_cannot_be_used_are_named(options: dict[str, Any], sentence: str) -> None:
    """In one sentence, before Redis or the store is used."""
    with pytest.raises(UsageError) as refused:
        fit(**options)
    assert str(refused.value) == sentence
