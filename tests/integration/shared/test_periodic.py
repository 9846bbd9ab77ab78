"""A lock is renewed by its holder only."""

import pytest
from redis.asyncio import Redis

from reckoner.shared.periodic import renewing
from reckoner.shared.redis.scripts import ask
from tests.system import eventually

TTL_MS = 1_000


@pytest.mark.parametrize(("holder", "most_ms"), [("mine", TTL_MS), ("another", 3_600_000)])
async def test_a_lock_is_renewed_only_by_its_token(
    redis: Redis, prefix: str, monkeypatch: pytest.MonkeyPatch, holder: str, most_ms: int
) -> None:
    """A holder that stood still must not keep a dead successor's lock alive."""
    lock, asked = f"{prefix}:sweeper", 0
    await ask(redis, "SET", lock, holder, "PX", 3_600_000)
    execute = redis.execute_command

    async def counted(*command: object, **options: object) -> object:
        nonlocal asked
        answer = await execute(*command, **options)  # type: ignore[no-untyped-call]
        asked += 1
        return answer

    async def is_asked_twice() -> bool:
        return asked >= 2

    monkeypatch.setattr(redis, "execute_command", counted)
    async with renewing(redis, lock, "mine", TTL_MS):
        await eventually(is_asked_twice)
    assert most_ms - TTL_MS < await ask(redis, "PTTL", lock) <= most_ms
    await ask(redis, "DEL", lock)
