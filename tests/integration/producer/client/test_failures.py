"""Failures are grouped by reason, and a group is retried or dropped at once."""

from collections.abc import AsyncIterator

import pytest

from reckoner.producer.client.failures import EXAMPLES
from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import LetterUnknownError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import Options, Record, UserSpec
from tests.world import make_known


@pytest.fixture
async def reckoner(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        record = Record(2, "gen", "model", "snapshot", Options(20), 1, 12, popular=["i"])
        await make_known(client.redis, client.keys, record, {})
        yield client


async def fail(reckoner: OpenReckoner, user: str, reason: str, generation: str = "gen") -> None:
    spec = UserSpec(user, generation)
    [flow_id] = await reckoner.flows.create([spec], [reckoner.keys.join_user(generation, user)])
    flow = await reckoner.flows.load(flow_id)
    assert flow is not None
    await reckoner.flows.fail(flow, reason, lease=None)


async def refuse(reckoner: OpenReckoner) -> None:
    name = f"{reckoner.keys.prefix}:planted"
    await ask(reckoner.redis, "SET", name, b"\xff")
    assert await reckoner.flows.refusals.string("job", "planted", name, b"\xff", "no job")


async def test_reasons_that_differ_in_ids_and_numbers_are_one_group(reckoner: OpenReckoner) -> None:
    """The group with the newest letter comes first; counts and times cover all of its letters."""
    assert await reckoner.operator.failures() == []
    await fail(reckoner, "a", "model 0123456789abcdef is missing, after 3 tries")
    await refuse(reckoner)
    for number in range(EXAMPLES + 2):
        await fail(reckoner, f"user {number}", f"model {number:016x} is missing, after {number:,} tries")
    await fail(reckoner, "b", "no space is left")
    space, missing, refused = await reckoner.operator.failures()
    assert [space.count, missing.count, refused.count] == [1, EXAMPLES + 3, 1]
    assert space.reason == "no space is left"
    assert missing.reason == f"model {EXAMPLES + 1:016x} is missing, after {EXAMPLES + 1} tries"
    assert missing.newest[0].reason == missing.reason
    assert len(missing.newest) == EXAMPLES
    assert missing.first_ms <= refused.first_ms <= missing.last_ms == missing.newest[0].at_ms
    assert [group.retries for group in (space, missing, refused)] == [True, True, False]


async def test_a_group_is_retried_and_what_cannot_be_stays(reckoner: OpenReckoner) -> None:
    """Each retried letter is a job again; a job of a deleted generation is refused in a sentence."""
    for user in ("a", "b"):
        await fail(reckoner, user, "no space is left")
    await make_known(reckoner.redis, reckoner.keys, Record(2, "old", "m2", "s2", Options(20), 1, 12, ["i"]), {})
    await fail(reckoner, "c", "no space is left", "old")
    await ask(reckoner.redis, "DEL", reckoner.keys.record("old"))
    await fail(reckoner, "d", "another reason")
    _, group = await reckoner.operator.failures()
    done = await reckoner.operator.retry_failures(group.id)
    assert done.retried == 2
    [refusal] = done.refused
    assert "was deleted" in refusal
    left = await reckoner.operator.failures()
    assert [(each.reason, each.count) for each in left] == [("another reason", 1), ("no space is left", 1)]
    status = await reckoner.operator.status()
    assert status.queued == 2


async def test_a_group_is_dropped_and_the_others_stay(reckoner: OpenReckoner) -> None:
    """A group that is gone is refused."""
    for user in ("a", "b"):
        await fail(reckoner, user, "no space is left")
    await refuse(reckoner)
    refused, group = await reckoner.operator.failures()
    assert await reckoner.operator.drop_failures(group.id) == 2
    assert await reckoner.operator.failures() == [refused]
    for call in (reckoner.operator.drop_failures, reckoner.operator.retry_failures):
        with pytest.raises(LetterUnknownError):
            await call(group.id)
