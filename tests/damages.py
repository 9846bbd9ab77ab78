"""Damage to a pointer or its generation's record, after which the pointer is ignored."""

from typing import Protocol

import pytest
from redis.asyncio import Redis

from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask


class Damage(Protocol):
    """Gets the keys, the pointer's key, and its generation."""

    __name__: str

    async def __call__(self, redis: Redis, keys: Keys, pointer: str, generation: str) -> None: ...


async def _write(redis: Redis, key: str, *commands: tuple[str | bytes | int, ...]) -> None:
    await ask(redis, "DEL", key)
    for name, *arguments in commands:
        await ask(redis, str(name), key, *arguments)


async def no_pointer(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer is deleted."""
    await _write(redis, pointer)


async def no_text(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer holds bytes that are not text."""
    await _write(redis, pointer, ("SET", b"\xff\x00\xfe"))


async def no_id(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer holds a text that is not an id."""
    await _write(redis, pointer, ("SET", "no id: *"))


async def unknown(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer holds the id of no generation."""
    await _write(redis, pointer, ("SET", "unknown"))


async def no_string(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer is a list."""
    await _write(redis, pointer, ("RPUSH", "planted"))


async def no_record(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is deleted."""
    await _write(redis, keys.record(generation))


async def no_json(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is bytes that are not JSON."""
    await _write(redis, keys.record(generation), ("SET", b"\x80bomb"))


async def no_model(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is JSON with a snapshot and nothing else."""
    await _write(redis, keys.record(generation), ("SET", '{"format":2,"snapshot":"s"}'))


async def another(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is valid, but of another generation."""
    record = await ask(redis, "GET", keys.record(generation))
    await _write(redis, keys.record(generation), ("SET", record.replace(generation.encode(), b"another")))


async def no_string_of_a_record(redis: Redis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is a hash."""
    await _write(redis, keys.record(generation), ("HSET", "planted", "planted"))


ALL: tuple[Damage, ...] = (
    *(no_pointer, no_text, no_id, unknown, no_string),
    *(no_record, no_json, no_model, another, no_string_of_a_record),
)
DAMAGES = [pytest.param(damage, id=damage.__name__) for damage in ALL]
