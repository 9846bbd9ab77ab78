"""Two shops, one home and one server: every command that uses the store refuses the second shop."""

from pathlib import Path

from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.location import open_store
from tests.commands import CommandLine
from tests.processes import environment, run
from tests.system import System, eventually, synthetic_pairs


def write(path: Path, seed: int) -> Path:
    rows = [f"{user},{item}" for user, item in synthetic_pairs(seed)]
    path.write_text("\n".join(["user,item", *rows]), encoding="utf-8")
    return path


async def test_a_second_prefix_is_refused_by_all_that_use_the_store(tmp_path: Path) -> None:
    """With and without a Redis: it neither imports, nor builds, nor works. When it has taken the store over, the first
    one is refused.
    """
    home, files = tmp_path / "a home", [write(tmp_path / f"{shop}.csv", seed) for seed, shop in enumerate("ab")]
    away_a, away_b = (CommandLine(home=home, prefix=f"shop-{shop}", redis_url="redis://127.0.0.1:1") for shop in "ab")
    assert away_a.run("import", str(files[0])).code == 0
    store = open_store((home / "store").as_uri())
    current = store.current_snapshot()
    sentence = (
        f"The store {home / 'store'} belongs to prefix shop-a. Set RECKONER_STORE_URL to another store for prefix "
        "shop-b. If nobody else needs this one, take it over with `reckoner store take`.\n"
    )
    for arguments in (("import", str(files[1])), ("users",)):
        ended = away_b.run(*arguments)
        assert (ended.code, ended.out, ended.err) == (1, "", sentence), arguments
    async with System(home) as system:
        first, second = (CommandLine(home=home, prefix=f"shop-{shop}") for shop in "ab")
        assert first.run("fit", "--no-wait").code == 0
        for arguments in (("import", str(files[1])), ("users",), ("fit",), ("worker",)):
            ended = second.run(*arguments)
            assert (ended.code, ended.out) == (1, ""), arguments
            assert sentence.rstrip() in ended.err, arguments
        assert store.current_snapshot() == current
        lines = {line["check"]: line for line in second.run("doctor", "--json").objects}
        assert (lines["owner"]["state"], lines["owner"]["message"] + "\n") == ("wrong", sentence)
        taken = second.run("store", "take")
        assert (taken.code, taken.out) == (
            0,
            f"The store {home / 'store'} now belongs to prefix shop-b of this Redis.\n",
        )
        assert second.run("import", str(files[1])).code == 0
        assert store.current_snapshot() != current
        for arguments in (("import", str(files[0])), ("fit",), ("worker",)):
            assert "belongs to prefix shop-b" in first.run(*arguments).err
        assert await ask_size(system) == 2


async def ask_size(system: System) -> int:
    """How many prefixes have a token."""
    async with system.reckoner() as reckoner:
        return len([name async for name in reckoner.redis.scan_iter(match="*:store")])


async def test_an_emptied_embedded_redis_keeps_its_store(tmp_path: Path) -> None:
    """Flushed, or its data deleted: workers start, and the model is rebuilt from the snapshot."""
    async with System(tmp_path / "a home") as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers()
        generation = await system.fit()
        await system.stop_workers()
        async with system.reckoner() as reckoner:
            await ask(reckoner.redis, "FLUSHALL")
        system.start_workers()
        assert await system.fit() == generation
        async with system.reckoner() as reckoner:
            await eventually(lambda: ask(reckoner.redis, "EXISTS", system.keys.store))


def test_a_worker_of_another_redis_is_refused(tmp_path: Path, redis_url: str, prefix: str) -> None:
    """With one sentence and exit code 1. After `store take` it would start."""
    settings = {"RECKONER_HOME": tmp_path / "a home", "RECKONER_PREFIX": prefix}
    here = environment(**settings, RECKONER_REDIS_URL=redis_url)
    there = environment(**settings, RECKONER_REDIS_URL=f"{redis_url}?db=1")
    assert run("producer", "import", str(write(tmp_path / "a.csv", 1)), environ=here).returncode == 0
    assert run("producer", "fit", "--no-wait", environ=here).returncode == 0
    for module, arguments in (("producer", ("fit", "--no-wait")), ("workers", ()), ("workers", ("--child",))):
        ended = run(module, *arguments, environ=there)
        assert ended.returncode == 1, (module, arguments)
        assert ended.stderr.count("of another Redis, or of this one before it was emptied") == 1
        assert "Traceback" not in ended.stderr
    assert run("producer", "store", "take", environ=there).returncode == 0
    assert run("producer", "fit", "--no-wait", environ=there).returncode == 0
    assert run("producer", "fit", "--no-wait", environ=here).returncode == 1
