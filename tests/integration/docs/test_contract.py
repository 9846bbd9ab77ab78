"""The workers' values in Redis keep the reading contract, under its names."""

import json
from hashlib import sha256
from math import inf
from typing import Any

from jsonschema import Draft202012Validator

from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import BasketSpec
from tests.root import ROOT
from tests.world import ITEMS, USERS, Hand, World

CONTRACT = json.loads((ROOT / "docs" / "reading-contract.v2.schema.json").read_text())


def validate(name: str, value: Any) -> Any:
    Draft202012Validator({**CONTRACT, "$ref": f"#/$defs/{name}"}).validate(value)
    return value


async def test_what_the_workers_write_keeps_the_contract(world: World, hand: Hand, prefix: str) -> None:
    """From the fit of a model to all lists and a basket's, read without our code."""
    [fit] = await hand.runtime.flows.create([world.unfitted.fit], [hand.runtime.keys.join_fit("g")])
    await hand.deliver_all()
    assert (await hand.runtime.flows.load(fit)) is not None
    record = await hand.runtime.record(world.unfitted.id)
    await hand.runtime.runs.start(record, 4, 2)
    await hand.deliver_all()

    pointer = validate("pointer", (await ask(hand.redis, "GET", f"{prefix}:generation")).decode())
    reported = validate("record", json.loads(await ask(hand.redis, "GET", f"{prefix}:record:{pointer}")))
    assert (reported["generation"], reported["users"], reported["options"]["list_length"]) == (pointer, len(USERS), 5)
    assert 0 < len(reported["popular"]) <= 5
    names = [f"{prefix}:rec:{pointer}:".encode() + user.encode() for user in USERS]
    lists = [validate("result", json.loads(data)) for data in await ask(hand.redis, "MGET", *names)]
    assert [len(found["items"]) > 0 for found in lists] == [user != "with an empty history" for user in USERS]
    for found in lists:
        scores = [score for _, score, _ in found["items"]]
        assert all(score > 0 for score in scores)
        assert scores == sorted(scores, reverse=True)
    basket = ["nobody's", *ITEMS[:3]]
    spec = BasketSpec(sorted(basket), pointer)
    await hand.runtime.flows.create([spec], [hand.runtime.keys.join_basket(pointer, basket)])
    await hand.deliver_all()
    digest = sha256(b"".join(b"%d:" % len(item) + item for item in sorted(item.encode() for item in basket)))
    data = await ask(hand.redis, "GET", f"{prefix}:basket:{pointer}:{digest.hexdigest()}")
    assert validate("basket", json.loads(data))["unknown"] == ["nobody's"]
    cached = await ask(hand.redis, "HGETALL", f"{prefix}:titles:{reported['snapshot']}")
    names = await ask(hand.redis, "HKEYS", f"{prefix}:lists:{reported['snapshot']}")
    assert names == [b"popular"]
    popular = await ask(hand.redis, "HGET", f"{prefix}:lists:{reported['snapshot']}", "popular")
    assert validate("list", json.loads(popular))[:5] == reported["popular"]
    hidden, events = hand.runtime.results.hidden, hand.runtime.events
    await events.hide("Ada", ['a "hat",\n', "b"])
    left = await ask(hand.redis, "GET", f"{prefix}:left:Ada")
    assert sorted(validate("left", json.loads(b"[" + left[:-2] + b"]"))) == ['a "hat",\n', "b"]
    await hidden.hide(["hat"])
    await hidden.hide(["coat"], 2**52)
    scores = await ask(hand.redis, "ZRANGE", f"{prefix}:hidden", 0, -1, "WITHSCORES")
    until = {item.decode(): float(score) for item, score in zip(scores[::2], scores[1::2], strict=True)}
    assert until == {"coat": 2**52, "hat": inf}
    validate("hidden", {item: None if score == inf else score for item, score in until.items()})
    assert await ask(hand.redis, "GET", f"{prefix}:hidden:version") is not None
    tags = hand.runtime.results.tags
    await tags.write("s", {"hat": ["new"]})
    await tags.change("s", "hat", add=["sale"])
    for key, wanted in ((f"{prefix}:tags:s", ["new"]), (f"{prefix}:tagging", ["new", "sale"])):
        assert validate("tags", json.loads(await ask(hand.redis, "HGET", key, "hat"))) == wanted
    titles = validate("titles", {item.decode(): title.decode() for item, title in cached.items()})
    assert titles == {item: f"The {item}" for item in ITEMS[:30]}
