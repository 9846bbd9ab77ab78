"""The process of one side of the kernels' benchmark: it reads the arrays, makes one call, and reports.

Only numpy and Python's own library: a peer's environment has nothing of ours.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 100
LENGTH = 10
THREADS = 2
# EASE's penalty, lambda.
EASE_L2 = 250.0


class Arrays(NamedTuple):
    """A snapshot's matrix of U users and I items, in which each interaction weighs 1, and a model of it.

    `user_ptr` int64[U + 1] and `user_items` int32[nnz] are the rows, `item_ptr` int64[I + 1] and `item_users`
    int32[nnz] the columns. `row_ptr` int64[I + 1], `row_items` int32 and `row_values` float32 are the neighbours of
    each item; they are empty where there is no model yet.
    """

    user_ptr: NDArray[np.int64]
    user_items: NDArray[np.int32]
    item_ptr: NDArray[np.int64]
    item_users: NDArray[np.int32]
    row_ptr: NDArray[np.int64]
    row_items: NDArray[np.int32]
    row_values: NDArray[np.float32]
    length: int = LENGTH
    """N, the length of a user's list."""
    processes: int = THREADS
    """The number of processes of a side that has no threads."""

    @property
    def shape(self) -> tuple[int, int]:
        """U and I."""
        return self.user_ptr.size - 1, self.item_ptr.size - 1


class Lists(NamedTuple):
    """Items and values of some rows: row r is at ptr[r]..ptr[r + 1], in any order."""

    ptr: NDArray[np.int64]
    items: NDArray[Any]
    values: NDArray[Any]

    def of(self, rows: NDArray[np.int64]) -> "Lists":
        """Those of the chosen rows alone, one after the other."""
        sizes = self.ptr[rows + 1] - self.ptr[rows]
        places = [np.arange(self.ptr[row], self.ptr[row + 1]) for row in rows]
        at = np.concatenate(places) if places else np.empty(0, np.int64)
        return Lists(np.concatenate(([0], np.cumsum(sizes))), self.items[at], self.values[at])


Task = Callable[[Arrays], Lists]


def run(tasks: Mapping[str, Task], arguments: list[str] | None = None) -> int:
    """Do the task of the command line, timed, and write the requested rows of its answer.

    Times include child processes that it waited for.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=tasks)
    parser.add_argument("--snapshot", type=Path, required=True, help="the folder of the snapshot's arrays")
    parser.add_argument("--model", type=Path, help="the folder of the model's arrays")
    parser.add_argument("--sample", type=Path, required=True, help="the rows whose answers are looked at")
    parser.add_argument("--report", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--length", type=int, default=LENGTH, help="the length of lists")
    parser.add_argument("--processes", type=int, default=THREADS, help="of a side that has no threads")
    options = parser.parse_args(arguments)
    arrays = read(options.snapshot, options.model)._replace(length=options.length, processes=options.processes)
    before, began = os.times(), time.perf_counter()
    lists = tasks[options.task](arrays)
    took_s, after = time.perf_counter() - began, os.times()
    cpu_s = sum(after[:4]) - sum(before[:4])
    answer = lists.of(np.load(options.sample))
    np.savez(options.report / "answer.npz", **answer._asdict())
    told = {"s": took_s, "cores": cpu_s / took_s, "CPU s": cpu_s, "GB": _peak_gb()}
    (options.report / "report.json").write_text(json.dumps(told), encoding="utf-8")
    return 0


def _peak_gb() -> float:
    """The largest memory of this process; `getrusage` would count what its parent had before."""
    [line] = [line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if "VmHWM" in line]
    return int(line.split()[1]) * 1024 / 1e9


def read(snapshot: Path, model: Path | None) -> Arrays:
    """The arrays, copied into memory: some peers write to them."""

    def load(folder: Path, name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(folder / f"{name}.npy")
        # Peers take 32 bits; no index is larger.
        return array.view(np.int32) if array.dtype == np.uint32 else array

    user_ptr, user_items = load(snapshot, "user_ptr"), load(snapshot, "user_items")
    item_ptr, item_users = load(snapshot, "item_ptr"), load(snapshot, "item_users")
    names = ("row_ptr", "row_items", "row_values")
    nothing: NDArray[Any] = np.empty(0)
    row_ptr, row_items, row_values = (nothing if model is None else load(model, name) for name in names)
    return Arrays(user_ptr, user_items, item_ptr, item_users, row_ptr, row_items, row_values)
