"""A generation comes back as a frame."""

import ast
import re
from typing import Any

import msgspec
import pandas
import polars
import pytest

from reckoner.exporting import export_batches, export_generation
from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.exporting import batches as exporting
from reckoner.shared.errors import GenerationUnknownError, ListsMissingError, NothingFittedError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import HOLDING, RESULT
from tests.root import ROOT
from tests.world import LIST_LENGTH, USERS, Generation, Hand, World


def rows(generation: Generation) -> list[tuple[str, int, str, float, str]]:
    """The expected rows, in the order of the users' ids."""
    return [
        (user, rank, place.item, place.score, place.because)
        for user in USERS
        for rank, place in enumerate(RESULT.decode(generation.lists[user]).items, 1)
    ]


async def test_a_frame_has_each_place_of_each_list(reckoner: OpenReckoner, world: World, whole: Generation) -> None:
    """The current generation and the named one, in Arrow, pandas and Polars; scores are the same floats."""
    table = await export_generation(reckoner, world.store)
    assert table.column_names == ["user", "rank", "item", "score", "because"]
    expected = rows(whole)
    assert len({user for user, *_ in expected}) == len(USERS) - 1, "one has an empty list"
    exact = [(*row[:3], pytest.approx(row[3], rel=1e-7), row[4]) for row in expected]
    assert [tuple(row.values()) for row in table.to_pylist()] == exact
    assert (await export_generation(reckoner, world.store, whole.id)).equals(table)
    frame = table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert [str(score) for score in frame["score"].to_numpy()] == [str(row[3]) for row in expected]
    assert polars.DataFrame(table)["item"].to_list() == [row[2] for row in expected]


async def test_titles_stand_beside_items_and_reasons(reckoner: OpenReckoner, world: World, whole: Generation) -> None:
    """They are null where the data have none."""
    table = await export_generation(reckoner, world.store, titles=True)
    known = world.titles
    expected = [(known.get(item), known.get(because)) for _, _, item, _, because in rows(whole)]
    assert {title is None for title, _ in expected} == {True, False}, "some items have titles, some none"
    assert list(zip(table["title"].to_pylist(), table["because_title"].to_pylist(), strict=True)) == expected


async def test_batches_are_of_bounded_size(
    reckoner: OpenReckoner, world: World, whole: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they are the table; at the least a batch has one user."""
    for places, users in ((2 * LIST_LENGTH, 2), (1, 1)):
        monkeypatch.setattr(exporting, "PLACES_AT_ONCE", places)
        batches = [batch async for batch in export_batches(reckoner, world.store)]
        assert len(batches) == len(USERS) / users
        assert max(len(batch) for batch in batches) <= users * LIST_LENGTH
        assert [tuple(row.values())[:3] for batch in batches for row in batch.to_pylist()] == [
            row[:3] for row in rows(whole)
        ]


async def test_a_generation_without_all_lists_is_refused(reckoner: OpenReckoner, hand: Hand, world: World) -> None:
    """None was fitted; this one is unknown; that one was fitted only."""
    with pytest.raises(NothingFittedError):
        await export_generation(reckoner, world.store)
    generation = await hand.adopt(world, 1)
    with pytest.raises(GenerationUnknownError):
        await export_generation(reckoner, world.store, "another")
    with pytest.raises(ListsMissingError, match=f"{generation.id} does not hold every user's list"):
        await export_generation(reckoner, world.store)


async def test_missing_lists_are_no_silence(reckoner: OpenReckoner, world: World, whole: Generation) -> None:
    """One is deleted while the others are read; then the record says that some have expired."""
    batches = export_batches(reckoner, world.store)
    await ask(reckoner.redis, "DEL", reckoner.keys.result(whole.id, USERS[1]))
    with pytest.raises(ListsMissingError, match="were deleted during the export"):
        assert [len(batch) async for batch in batches] == [len(rows(whole)) - LIST_LENGTH]
    held = (await reckoner.results.generations.holdings())[whole.id]
    expired = HOLDING.encode(msgspec.structs.replace(held, until_ms=1))
    await ask(reckoner.redis, "HSET", reckoner.keys.held, whole.id, expired)
    with pytest.raises(ListsMissingError, match="have expired"):
        await export_generation(reckoner, world.store)


async def test_the_example_of_the_page_works(redis_url: str, prefix: str, world: World, whole: Generation) -> None:
    """Top-level await, as in a notebook."""
    page = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
    [program] = [
        block
        for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        if "export_generation" in block
    ]
    program = program.replace('"redis://localhost:6379"', f"{redis_url!r}, prefix={prefix!r}")
    names: dict[str, Any] = {"store": world.store}
    await eval(compile(program, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    assert len(names["frame"]) == len(rows(whole))
