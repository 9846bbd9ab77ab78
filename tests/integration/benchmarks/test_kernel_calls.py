"""A side of the kernels' benchmark is called in a process of its own, and what it answers is judged."""

import dataclasses
import sys
from pathlib import Path

import pytest

from reckoner.producer.trial.synthesis import Size
from tests.benchmarks.frame import WrongAnswerError
from tests.benchmarks.kernel_calls import Call
from tests.benchmarks.kernel_data import Data, RandomPairs, What
from tests.benchmarks.night_data import Tails

PYTHON = Path(sys.executable)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("data"), Size(users=300, items=200, interactions=9_000))


async def with_a_model(data: Data) -> Data:
    """With the one that our build makes, if it has none yet."""
    if not data.model.exists():
        ptr, items, values = await Call(PYTHON, "call_ours", "build", data, "cosine").whole(200)
        data.keep_model({"row_ptr": ptr, "row_items": items, "row_values": values})
    return data


@pytest.mark.parametrize(
    ("program", "task", "truth"),
    [
        ("call_ours", "build", "cosine"),
        ("call_ours", "score-reasons", "scores"),
        ("call_ours", "build-slim", "slim"),
        ("call_ease", "build-slim", "ease"),
        ("call_implicit", "build", "cosine"),
        ("call_implicit", "build-bm25", "bm25"),
        ("call_implicit", "score", "scores"),
        ("call_implicit", "score-alone", "scores"),
    ],
)
async def test_a_call_has_figures(data: Data, program: str, task: str, truth: What) -> None:
    """Of a call whose answer is true: how long it took, and on how many cores."""
    ours, scores = program == "call_ours", truth == "scores"
    options = {"holds_itself": program == "call_implicit" and not scores, "means": ours and scores}
    figures = await Call(PYTHON, program, task, await with_a_model(data), truth, **options)()
    assert set(figures) == {"s", "cores", "GB"}
    assert 0 < figures["s"] < 60


@pytest.mark.parametrize(("program", "holds_itself"), [("call_ours", False), ("call_scipy", True)])
@pytest.mark.parametrize(
    "shape", [RandomPairs(users=300, items=900, interactions=1200), Tails(users=3000, items=800)], ids=["pairs", "shop"]
)
async def test_a_call_on_a_sparse_catalogue_has_figures(
    tmp_path: Path, shape: RandomPairs | Tails, program: str, holds_itself: bool
) -> None:
    """Pairs that were drawn twice count once, and some items have no user."""
    data = Data(tmp_path, shape)
    assert (await Call(PYTHON, program, "build", data, "cosine", holds_itself=holds_itself)())["s"] > 0


async def test_a_wrong_answer_has_none(data: Data) -> None:
    """The scores of implicit are sums, and no means."""
    call = Call(PYTHON, "call_implicit", "score", await with_a_model(data), "scores")
    with pytest.raises(WrongAnswerError, match="is off by"):
        await dataclasses.replace(call, means=True)()


async def test_a_process_that_fails_is_reported(data: Data) -> None:
    """With the last that it said."""
    with pytest.raises(WrongAnswerError, match=r"its process ended with 2: .* invalid choice: 'nothing'"):
        await Call(PYTHON, "call_ours", "nothing", data, "cosine")()


async def test_more_copies_of_users_change_no_cosine(data: Data, tmp_path: Path) -> None:
    """So the growth of the build can be measured with them."""
    doubled = Data(tmp_path, Size(users=300, items=200, interactions=9_000), copies=2)
    assert doubled.arrays.shape == (600, 200)
    assert abs(doubled.truth("cosine").values - data.truth("cosine").values).max() < 1e-6
