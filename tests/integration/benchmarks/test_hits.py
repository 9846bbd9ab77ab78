"""The benchmark of a hit reads what it has written. Speed is not judged here."""

import pytest

from tests.benchmarks import hits


async def test_a_hit_and_a_bare_read_are_measured(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both on the same lists, and a hit costs more."""
    monkeypatch.setattr(hits, "ROUNDS", 1)
    assert await hits.hit_ratio(redis_url, prefix) > 0.5
