"""`reckoner tune` on a worker: its report, its bytes, and what it says about wrong commands."""

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.commands import CommandLine, Ended
from tests.patience import PATIENCE_S
from tests.processes import wait_until
from tests.world import Hand, World, publish_tastes


@pytest.fixture
def commands(redis_url: str, prefix: str, own_world: World, tmp_path: Path) -> CommandLine:
    publish_tastes(own_world)
    url = own_world.store.root.as_uri()
    return CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path / "a höme", store_url=url)


async def tune(commands: CommandLine, *arguments: str) -> Ended:
    return await asyncio.to_thread(commands.run, "tune", "--split", "random", *arguments)


async def test_equal_inputs_give_equal_bytes(worker: Hand, commands: CommandLine, tmp_path: Path) -> None:
    """But for the seconds. The default stands among the trials, and is shown the test part."""
    space = tmp_path / "space.toml"
    space.write_text("[cosine]\nneighbours = [1, 10, 30]\n[slim]\nl2 = { from = 1, to = 50, log = true }\n")
    reports = [await tune(commands, str(space), "--trials", "5", "--json") for _ in range(2)]
    assert [ended.code for ended in reports] == [0, 0], reports[0].err
    [one, other] = [re.sub(r'"took":\{.*\}', "", ended.out) for ended in reports]
    assert one == other
    [report] = reports[0].objects
    assert {trial["name"] for trial in report["trials"]} == {
        "cosine user_norm=1", "slim l2=2.66", "slim l2=18.8",
        "cosine neighbours=1", "cosine neighbours=10", "cosine neighbours=30",
    }  # fmt: skip
    assert report["rounds"] == [{"trials": 6, "users": report["counts"]["users"]}]
    assert report["test"]["models"][0]["name"] == "cosine user_norm=1"
    assert set(report["took"]["trials"]) == {trial["name"] for trial in report["trials"]}
    text = await tune(commands, str(space), "--trials", "5")
    lines = text.out.splitlines()
    assert lines[-1] == report["command"]
    table = lines[next(number for number, line in enumerate(lines) if line.startswith("trial")) + 2 :]
    assert [re.split(" {2,}", line)[0] for line in table[:6]] == [trial["name"] for trial in report["trials"]]


async def test_a_family_is_searched_without_a_file(worker: Hand, commands: CommandLine) -> None:
    """The data have no times, so no trial has a recency; by the metric that is asked for."""
    ended = await tune(commands, "--trials", "3", "--family", "neighbours", "--metric", "hit", "--json")
    assert ended.code == 0, ended.err
    [report] = ended.objects
    assert [trial["config"]["similarity"] for trial in report["trials"] if trial["name"] != "cosine user_norm=1"]
    assert report["metric"] == "hit@10"
    assert all(trial["recency"] is None for trial in report["trials"])
    assert len(report["trials"]) == 4


def test_ctrl_c_says_that_the_same_command_goes_on(commands: CommandLine, own_world: World) -> None:
    """There is no worker, so no trial is done."""
    process = commands.start("tune", "--split", "random")
    try:
        wait_until(lambda: len(list(own_world.store.entries("snapshots"))) > 2, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "the same command goes on with them" in err.splitlines()[-1]
    assert len(list(own_world.store.entries("snapshots"))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.toml"], "nowhere.toml cannot be read"),
        (["nowhere.toml", "--family", "all"], "not both"),
        (["--share", "1"], "--share is 1"),
        (["--days", "3"], "--days is for the split global"),
        (["--split", "last"], "The data have no times"),
        (["--metric", "mrr"], "mrr"),
    ],
)
async def test_wrong_commands_get_a_sentence(commands: CommandLine, arguments: list[str], message: str) -> None:
    ended = await tune(commands, *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1


async def test_without_interactions_it_says_so(redis_url: str, prefix: str, tmp_path: Path) -> None:
    commands = CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path / "höme")
    ended = await tune(commands)
    assert ended.code == 1
    assert "reckoner import" in ended.err
