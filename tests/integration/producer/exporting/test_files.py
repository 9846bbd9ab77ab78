"""A generation is written to a file or a bucket, whole or not at all."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas
import pytest

from reckoner.exporting import export_file
from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.exporting import batches, destinations
from reckoner.shared.errors import ListsMissingError, OutputError, UsageError
from reckoner.shared.redis.scripts import ask
from tests.buckets import bucket
from tests.commands import CommandLine
from tests.world import LIST_LENGTH, USERS, Generation, World

Row = tuple[str, int, str, float, str, str | None, str | None]
READERS: dict[str, Callable[[io.BytesIO], pandas.DataFrame]] = {
    "parquet": pandas.read_parquet,
    "csv": lambda file: pandas.read_csv(file, dtype={"user": str, "item": str}),
    "jsonl": lambda file: pandas.read_json(file, lines=True, dtype={"user": str, "item": str}),
}
# One user's list is a batch.
ONE = LIST_LENGTH


async def got(reckoner: OpenReckoner) -> list[Row]:
    """The places that `get` returns."""
    answers = [answer for answer in await reckoner.get_many(USERS, LIST_LENGTH) if answer.source == "cache"]
    return [
        (answer.user, rank, place.item, place.score or 0, place.because or "", place.title, place.because_title)
        for answer in answers
        for rank, place in enumerate(answer.items, 1)
    ]


def read(kind: str, data: bytes) -> list[Row]:
    frame = READERS[kind](io.BytesIO(data))
    frame = frame.astype(object).where(frame.notna(), None)
    return [
        (user, rank, item, pytest.approx(score, rel=1e-7), *rest) for user, rank, item, score, *rest in frame.values
    ]


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The objects of a server that can be written to."""
    made = dict[str, bytes]()
    with bucket(made, writable=True) as url:
        for name, value in (("ENDPOINT_URL", url), ("REGION", "x"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
            monkeypatch.setenv(f"AWS_{name}", value)
        yield made


async def test_each_format_has_what_get_returns(
    reckoner: OpenReckoner, world: World, whole: Generation, tmp_path: Path
) -> None:
    """Read by pandas. A hidden item is left out by both."""
    await reckoner.catalogue.hide([(await got(reckoner))[0][2]])
    expected = await got(reckoner)
    assert {row[5] is None for row in expected} == {True, False}, "some items have titles, some none"
    for kind in READERS:
        path, calls = tmp_path / f"lïsts.{kind}", list[tuple[int, int]]()
        made = await export_file(
            reckoner, world.store, str(path), progress=lambda *call, calls=calls: calls.append(call)
        )
        assert made == (whole.id, len(USERS), len(expected), kind)
        assert read(kind, path.read_bytes()) == expected
        assert calls == [(len(USERS), len(USERS))]


async def test_the_same_lists_give_the_same_bytes_in_any_batches(
    reckoner: OpenReckoner, world: World, whole: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A format can be given; titles can be left out."""
    for kind in READERS:
        files = []
        for places in (ONE, 2 * ONE, batches.PLACES_AT_ONCE):
            monkeypatch.setattr(batches, "PLACES_AT_ONCE", places)
            path = tmp_path / "lists"
            await export_file(reckoner, world.store, str(path), whole.id, format=kind, titles=False)  # type: ignore[arg-type]
            files.append(path.read_bytes())
        assert files[0] == files[1] == files[2]
        assert [row[:5] for row in read(kind, files[0])] == [row[:5] for row in await got(reckoner)]


async def test_a_file_takes_its_place_when_it_is_whole(
    reckoner: OpenReckoner, world: World, whole: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then an older one stays, also if the generation goes away meanwhile; nothing else stays."""
    monkeypatch.setattr(batches, "PLACES_AT_ONCE", ONE)
    path, seen = tmp_path / "lists.csv", list[bytes]()
    path.write_bytes(b"older")
    await export_file(reckoner, world.store, str(path), progress=lambda *_: seen.append(path.read_bytes()))
    assert set(seen) == {b"older"}
    written = path.read_bytes()
    await ask(reckoner.redis, "DEL", *(reckoner.keys.result(whole.id, user) for user in USERS[1:]))
    seen.clear()
    with pytest.raises(ListsMissingError, match=f"Lists of generation {whole.id} have expired or were deleted during"):
        await export_file(reckoner, world.store, str(path), progress=lambda *_: seen.append(path.read_bytes()))
    assert seen == [written], "it stops at the first missing list"
    assert (path.read_bytes(), os.listdir(tmp_path)) == (written, ["lists.csv"])


@pytest.mark.parametrize("part_bytes", [100, destinations.PART_BYTES])
async def test_an_object_is_there_when_it_is_whole(
    reckoner: OpenReckoner, world: World, whole: Generation, objects: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch, part_bytes: int,
) -> None:  # fmt: skip
    """In parts or at once."""
    monkeypatch.setattr(batches, "PLACES_AT_ONCE", ONE)
    monkeypatch.setattr(destinations, "PART_BYTES", part_bytes)
    for kind in READERS:
        seen = list[bool]()
        key = f"night/lists.{kind}"
        await export_file(
            reckoner,
            world.store,
            f"s3://shop/{key}",
            progress=lambda *_, key=key, seen=seen: seen.append(key in objects),
        )
        assert set(seen) == {False}
        assert read(kind, objects[key]) == await got(reckoner)
    objects.clear()
    await ask(reckoner.redis, "DEL", reckoner.keys.result(whole.id, USERS[-1]))
    with pytest.raises(ListsMissingError):
        await export_file(reckoner, world.store, "s3://shop/lists.csv")
    assert objects == {}


async def test_what_cannot_be_written_is_a_sentence(
    reckoner: OpenReckoner, world: World, whole: Generation, tmp_path: Path, objects: dict[str, bytes]
) -> None:
    """A name without a format, a missing folder, a folder, a URL without a key, a bucket that denies the access."""
    with pytest.raises(UsageError, match="has no known ending"):
        await export_file(reckoner, world.store, str(tmp_path / "lists.xls"))
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        await export_file(reckoner, world.store, str(tmp_path / "missing" / "lists.csv"))
    with pytest.raises(OutputError, match="is a folder"):
        await export_file(reckoner, world.store, str(tmp_path), format="csv")
    with pytest.raises(UsageError, match="as s3://bucket/key"):
        await export_file(reckoner, world.store, "s3://shop", format="csv")
    with bucket({}) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(OutputError, match=r"s3://shop/lists\.csv cannot be written"):
            await export_file(reckoner, world.store, "s3://shop/lists.csv")


async def test_the_command_says_what_it_wrote(
    commands: CommandLine, reckoner: OpenReckoner, world: World, whole: Generation, tmp_path: Path
) -> None:
    """In a sentence or as an object."""
    commands.environ["RECKONER_STORE_URL"] = world.store.root.as_uri()
    path, places = tmp_path / "lists.parquet", len(await got(reckoner))
    said = commands.call("export", str(path))
    assert said.out.startswith(f"Exported {places} places of generation {whole.id} to {path} in "), said.err
    [found] = commands.call("export", str(path), "--no-titles", "--generation", whole.id, "--json").objects
    assert found.pop("duration_s") >= 0
    assert found == {
        "file": str(path), "format": "parquet", "generation": whole.id, "users": len(USERS), "places": places
    }  # fmt: skip
    assert list(pandas.read_parquet(path).columns) == ["user", "rank", "item", "score", "because"]
    ended = commands.call("export", str(path), "--generation", "another")
    assert (ended.code, ended.err) == (1, "There is no such generation: see `reckoner status`.\n")
