"""RedisBackoff: a worker pauses on trouble of Redis, and raises other errors."""

import time

import pytest
from redis import exceptions
from structlog.testing import capture_logs

import reckoner.workers.engine.backoff
from reckoner.workers.engine.backoff import FIRST_PAUSE_S, LONGEST_PAUSE_S, RedisBackoff


def test_a_worker_pauses_at_a_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without trouble there is no pause; trouble during a pause does not extend it."""
    monkeypatch.setattr(reckoner.workers.engine.backoff, "FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr(reckoner.workers.engine.backoff, "LONGEST_PAUSE_S", 120.0)
    trouble = RedisBackoff()
    assert trouble.pause_s <= 0
    trouble.back_off(exceptions.ConnectionError("lost"))
    assert 0 < (first_s := trouble.pause_s) <= 90
    trouble.back_off(exceptions.ConnectionError("lost again"))
    assert trouble.pause_s <= first_s


def test_pauses_grow_while_troubles_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are bounded, and logged once."""
    monkeypatch.setattr(reckoner.workers.engine.backoff, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(reckoner.workers.engine.backoff, "LONGEST_PAUSE_S", 0.004)
    trouble, pauses = RedisBackoff(), list[float]()
    with capture_logs() as lines:
        for _ in range(5):
            trouble.back_off(exceptions.OutOfMemoryError("full"))
            pauses.append(trouble.pause_s)
            time.sleep(max(trouble.pause_s, 0.0) + 0.001)
    bounds = [0.0015, 0.003, 0.006, 0.006, 0.006]
    assert all(pause_s <= bound_s for pause_s, bound_s in zip(pauses, bounds, strict=True))
    assert [line["error"] for line in lines] == ["OutOfMemoryError"]


def test_a_trouble_after_a_calm_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """New trouble is logged, and starts with a short pause."""
    monkeypatch.setattr(reckoner.workers.engine.backoff, "CALM_S", 0.0)
    trouble = RedisBackoff()
    with capture_logs() as lines:
        for _ in range(3):
            trouble.back_off(exceptions.ConnectionError("lost"))
            assert trouble.pause_s <= 1.5 * FIRST_PAUSE_S < LONGEST_PAUSE_S
            time.sleep(max(trouble.pause_s, 0.0) + 0.001)
    assert len(lines) == 3


def test_other_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the wrong type counts as trouble: maintenance repairs it."""
    trouble = RedisBackoff()
    with pytest.raises(ValueError, match="a mistake"):
        trouble.back_off(ValueError("a mistake"))
    assert trouble.pause_s <= 0
    monkeypatch.setattr(reckoner.workers.engine.backoff, "FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr(reckoner.workers.engine.backoff, "LONGEST_PAUSE_S", 60.0)
    trouble.back_off(exceptions.ResponseError("WRONGTYPE Operation against a key"))
    assert trouble.pause_s > 0


def test_trouble_lasts_until_all_commands_succeed() -> None:
    """A stopping worker gives up after a lease."""
    trouble = RedisBackoff()
    time.sleep(0.2)
    assert trouble.lasts_s >= 0.2
    trouble.note_success()
    assert trouble.lasts_s < 0.2
