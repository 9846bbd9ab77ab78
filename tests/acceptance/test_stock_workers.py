"""The tasks pass on stock arq workers as they do on the engine, with the same bytes."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.redis.scripts import ask
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.system import System, synthetic_pairs

BASKET = ("item:01", "item:07", "nothing")
USERS = ["üser 001", "üser 002", "nobody"]


@pytest.mark.parametrize("engine", [True, False])
async def test_a_list_a_basket_and_everybody_pass_on_the_engine_and_on_stock_workers(
    tmp_path: Path, engine: bool
) -> None:
    """What is cached is the reference, clients and commands find it, and nothing is left or given another queue."""
    async with System(tmp_path / "a höme", engine=engine, first_look_s=0.5, log_level="WARNING") as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers(2)
        await system.ready(2)
        generation = await system.fit()
        expected, keys = system.reference_lists(generation), system.keys
        async with system.reckoner() as reckoner:
            redis = reckoner.redis
            [known, _, popular] = await reckoner.recommend_many(USERS, timeout=PATIENCE_S)
            assert (known.source, popular.source) == ("cache", "popular")
            assert await system.lists(generation) == {user: expected[user] for user in USERS[:2]}
            assert (await reckoner.recommend_for(BASKET, timeout=PATIENCE_S)).source == "cache"
            basket = await ask(redis, "GET", keys.basket(generation, BASKET))
            assert basket == system.truth().basket(generation, BASKET)
            similar = await reckoner.similar("item:02", 5, timeout=PATIENCE_S)
            assert [(n.item, n.similarity) for n in similar.items] == system.truth().neighbours("item:02")[:5]
            [job] = await system.enqueue(USERS[:1])
            assert (await system.ended(job)).state == "done"
            await system.forget_lists(generation)
            assert (await system.run(block_size=7)).outcome == "passed"
            assert await system.lists(generation) == expected
            assert bool(await ask(redis, "EXISTS", keys.stock_health)) != engine
            await system.idle()
            [status] = CommandLine(redis_url=system.server.url, home=system.home, engine=engine).run(
                "status", "--json"
            ).objects  # fmt: skip
            assert list(status["lanes"]) == (["click", "batch"] if engine else ["batch"])
            assert (status["queued"], status["dead"], status["refused"]) == (0, 0, {})
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
    assert not [line for line in map(_level, system.log.read_text().splitlines()) if line in ("error", "critical")]


def _level(line: str) -> Any:
    return json.loads(line)["level"]
