"""`reckoner evaluate` on a worker: its figures, its page, its gate and its memory; equal bytes each time."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.splits import Protocol, hold_out, interactions_of
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.serving.evaluations import newest_judgement
from reckoner.shared.settings import Settings
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.workers.process.wiring import connect_worker
from tests.commands import CommandLine, Ended
from tests.integration.producer.conftest import work
from tests.patience import PATIENCE_S
from tests.processes import wait_until
from tests.world import ITEMS, USERS, Generation, Hand, World, publish_tastes


class Tags(HTMLParser):
    """Notes the names of all elements and of their attributes."""

    def __init__(self, found: set[str]) -> None:
        super().__init__()
        self.found = found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.update([tag, *(name for name, _ in attrs)])


OWNERS = ("owner.json", "owner-server.json")
EVIL = '<script>alert("&")</script>'


@pytest.fixture
async def live(redis_url: str, prefix: str, own_world: World) -> AsyncIterator[Generation]:
    """A worker on a store of the test's own, and a live generation of four neighbours an item."""
    redis = connect_worker(Settings(), redis_url)
    hand = Hand(own_world, redis, prefix)
    made = await hand.adopt(own_world)
    working = asyncio.create_task(work(hand))
    yield made
    await cancel_and_wait(working)
    hand.close()
    await redis.aclose()


@pytest.fixture
def commands(redis_url: str, prefix: str, own_world: World, tmp_path: Path) -> CommandLine:
    url = own_world.store.root.as_uri()
    return CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path / "a höme", store_url=url)


async def evaluate(commands: CommandLine, *arguments: str) -> Ended:
    return await asyncio.to_thread(commands.run, "evaluate", "--split", "random", "--share", "0.3", *arguments)


async def test_models_stand_beside_the_live_one_and_popularity(
    live: Generation, commands: CommandLine, own_world: World
) -> None:
    """Popularity's figures are those of its lists; the differences are to the live model."""
    ended = await evaluate(commands, "--model", "cosine neighbours=9 shrink=2.5", "--live", "--json")
    assert ended.code == 0, ended.err
    [report] = ended.objects
    models = {model["name"]: model for model in report["models"]}
    assert list(models) == ["cosine neighbours=4", "cosine neighbours=9 shrink=2.5", "popularity"]
    assert report["baseline"] == "cosine neighbours=4"
    assert [model["is_live"] for model in report["models"]] == [True, False, False]
    assert "difference" not in models["cosine neighbours=4"]["metrics"]["ndcg@10"]
    split = hold_out(interactions_of(own_world.snapshot), Protocol(split="random", share=0.3))
    popular = metrics.popular_lists(split.training, split.test.users)
    wanted = metrics.per_user(popular, split.test, len(split.training.item_ids))
    for name, values in wanted.items():
        figure = models["popularity"]["metrics"][name]
        assert figure["mean"] == pytest.approx(values.mean())
        assert figure["low"] <= figure["mean"] <= figure["high"]
        beside = figure["mean"] - models["cosine neighbours=4"]["metrics"][name]["mean"]
        assert figure["difference"]["mean"] == pytest.approx(beside)
    assert report["counts"]["users"] == split.test.users.size
    assert set(report["took"]) == {"cosine neighbours=4", "cosine neighbours=9 shrink=2.5"}


async def test_equal_inputs_give_equal_bytes(live: Generation, commands: CommandLine, tmp_path: Path) -> None:
    """In the page, and in the JSON but for the seconds; nothing is left in the store but the history."""
    pages, reports = [tmp_path / "one.html", tmp_path / "other.html"], []
    for page in pages:
        ended = await evaluate(commands, "--model", "cosine neighbours=9", "--live", "--json", "--html", str(page))
        assert ended.code == 0, ended.err
        reports.append(re.sub(r'"took":\{.*\}', "", ended.out))
    assert reports[0] == reports[1]
    assert pages[0].read_bytes() == pages[1].read_bytes()


async def test_folds_are_averaged(live: Generation, commands: CommandLine) -> None:
    """Each user counts once, with the mean of the draws."""
    [pooled] = (await evaluate(commands, "--popular", "--folds", "2", "--json")).objects
    single = [(await evaluate(commands, "--popular", "--seed", seed, "--json")).objects[0] for seed in "01"]
    found = [report["models"][0]["lists"]["coverage"] for report in (pooled, *single)]
    assert found[0] == pytest.approx(sum(found[1:]) / 2)
    hits = [report["models"][0]["metrics"]["recall@20"]["mean"] for report in (pooled, *single)]
    assert hits[0] == pytest.approx(sum(hits[1:]) / 2)
    assert "means over 2 draws" in pooled["protocol"]


async def test_a_page_holds_no_script_and_asks_for_nothing(
    live: Generation, commands: CommandLine, own_world: World, tmp_path: Path
) -> None:
    """Ids of the data are escaped; no element loads anything."""
    data, page = own_world.snapshot, tmp_path / "page.html"
    users = np.repeat(np.arange(data.n_users), np.diff(data.user_ptr))
    with own_world.store.scratch() as scratch:
        renamed = write_snapshot(
            scratch, user_ids=sorted([EVIL, *USERS[1:]]), item_ids=sorted([EVIL, *ITEMS[1:]]), users=users,
            items=data.user_items,
        )  # fmt: skip
        own_world.store.publish("snapshots", renamed, scratch)
    own_world.store.set_current_snapshot(renamed)
    ended = await evaluate(commands, "--model", "cosine", "--html", str(page))
    assert ended.code == 0, ended.err
    text, tags = page.read_text("utf-8"), set[str]()
    Tags(tags).feed(text)
    assert not tags & {"script", "img", "link", "iframe", "object", "src", "href", "a", "onload", "onclick"}
    assert EVIL not in text
    assert "url(" not in text
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text


async def test_the_gate_refuses_what_is_worse_beyond_noise(
    live: Generation, commands: CommandLine, own_world: World, reckoner: OpenReckoner
) -> None:
    """By the exit code; and a gate of a night finds what the newest evaluation of both says."""
    publish_tastes(own_world)
    same = await evaluate(commands, "--model", "cosine neighbours=4", "--gate")
    assert same.code == 0, same.err
    better = await evaluate(commands, "--model", "cosine neighbours=30", "--gate")
    assert better.code == 0, better.err
    worse = await evaluate(commands, "--model", "cosine neighbours=1", "--gate", "--json")
    assert worse.code == 1, worse.err
    [report] = worse.objects
    assert report["models"][1]["metrics"]["ndcg@10"]["difference"]["verdict"] == "worse"
    entries = await reckoner.operator.entries(10, "evaluation")
    assert len(entries) == 3
    now, one, many = ((ModelConfig(neighbours=number).facts(), 0.0) for number in (4, 1, 30))
    judged = [newest_judgement(entries, wanted, now) for wanted in (one, many)]
    assert [found.difference.verdict for found in judged if found] == ["worse", "better"]
    reverse = newest_judgement(entries, now, one)
    assert judged[0] is not None
    assert reverse is not None
    assert (reverse.difference, reverse.metric) == (judged[0].difference.reversed(), judged[0].live)
    assert newest_judgement(entries, one, many) is None
    assert newest_judgement(entries, (one[0], 0.5), now) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "cosines"], "--model 'cosines'"),
        (["--model", "cosine k1=2"], "cosine takes no k1"),
        (["--model", "cosine shrink"], "not NAME=VALUE"),
        (["--share", "1"], "--share is 1"),
        (["--days", "3"], "--days is for the split global"),
        (["--split", "last", "--folds", "2"], "--folds is for"),
        (["--split", "last"], "The data have no times"),
        (["--split", "global", "--folds", "4"], "--folds 4 with --share 0.3 leaves no training part"),
        (["--gate"], "--gate judges models beside the live one"),
    ],
)
async def test_wrong_commands_get_a_sentence(
    live: Generation, commands: CommandLine, arguments: list[str], message: str
) -> None:
    ended = await evaluate(commands, *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1


async def test_without_a_live_generation_there_is_no_gate(commands: CommandLine, own_world: World) -> None:
    """It says how to get one."""
    ended = await evaluate(commands, "--gate", "--model", "cosine")
    assert ended.code == 1
    assert "There is no model yet" in ended.err


def test_ctrl_c_leaves_nothing_behind(commands: CommandLine, own_world: World) -> None:
    """It says so; there is no worker, so the fit is under way."""
    before = {*own_world.store.root.rglob("*")}
    process = commands.start("evaluate", "--model", "cosine", "--split", "random")
    try:
        wait_until(lambda: len(list(own_world.store.entries("snapshots"))) > 1, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Stopped. Nothing was left behind."
    assert {*own_world.store.root.rglob("*")} - before <= {own_world.store.root / name for name in OWNERS}


async def test_a_page_that_cannot_be_written_is_said(live: Generation, commands: CommandLine, tmp_path: Path) -> None:
    for place, reason in ((tmp_path / "nowhere" / "page.html", "there is no directory"), (tmp_path, "Is a directory")):
        ended = await evaluate(commands, "--popular", "--html", str(place))
        assert (ended.code, ended.out) == (1, "")
        assert f"The file {place} cannot be written: {reason}" in ended.err


async def test_a_report_is_printed_though_its_page_cannot_be_written(live: Generation, commands: CommandLine) -> None:
    """A full device is found only at the end."""
    ended = await evaluate(commands, "--popular", "--json", "--html", "/dev/full")
    assert ended.code == 1
    assert ended.objects[0]["models"][0]["name"] == "popularity"
    assert "The file /dev/full cannot be written" in ended.err
