"""Damage to a pointer and to the record of the generation that it names, after which it counts as none."""

from typing import Protocol

import pytest
from arq import ArqRedis

from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask


class Damage(Protocol):
    """Is given the keys, the key of the pointer, and the generation that it names."""

    __name__: str

    async def __call__(self, redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None: ...


async def _write(redis: ArqRedis, key: str, *commands: tuple[str | bytes | int, ...]) -> None:
    await ask(redis, "DEL", key)
    for name, *arguments in commands:
        await ask(redis, str(name), key, *arguments)


async def no_pointer(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer is deleted."""
    await _write(redis, pointer)


async def no_text(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer holds bytes that are no text."""
    await _write(redis, pointer, ("SET", b"\xff\x00\xfe"))


async def no_id(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer holds a text that is no id."""
    await _write(redis, pointer, ("SET", "no id: *"))


async def unknown(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer holds an id that no generation has."""
    await _write(redis, pointer, ("SET", "unknown"))


async def no_string(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The pointer is a list."""
    await _write(redis, pointer, ("RPUSH", "planted"))


async def no_record(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is deleted."""
    await _write(redis, keys.record(generation))


async def no_json(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is bytes that are no JSON."""
    await _write(redis, keys.record(generation), ("SET", b"\x80bomb"))


async def no_model(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is JSON with a snapshot and without what else a record has."""
    await _write(redis, keys.record(generation), ("SET", '{"format":1,"snapshot":"s"}'))


async def another(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is whole, and that of another generation."""
    record = await ask(redis, "GET", keys.record(generation))
    await _write(redis, keys.record(generation), ("SET", record.replace(generation.encode(), b"another")))


async def no_string_of_a_record(redis: ArqRedis, keys: Keys, pointer: str, generation: str) -> None:
    """The record is a hash."""
    await _write(redis, keys.record(generation), ("HSET", "planted", "planted"))


ALL: tuple[Damage, ...] = (
    *(no_pointer, no_text, no_id, unknown, no_string),
    *(no_record, no_json, no_model, another, no_string_of_a_record),
)
DAMAGES = [pytest.param(damage, id=damage.__name__) for damage in ALL]
