"""Tests of kernels that are compiled otherwise than for this processor, in processes of their own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.integration.workers.kernels import every_similarity
from tests.interactions import random_interactions
from tests.root import ROOT


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of interactions with weights."""
    path = tmp_path / "data.npz"
    np.savez(path, **vars(random_interactions(3, n_users=300, n_items=700, n_pairs=12_000, weighted=True)))
    return path


def digests(data: Path, **variables: str) -> tuple[str, list[str]]:
    """The digest of every similarity of this process, and what one says that compiles kernels anew with variables."""
    own = {"NUMBA_CACHE_DIR": str(data.with_name("cache")), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, every_similarity.__file__, str(data)]
    with subprocess.Popen(command, env=os.environ | own | variables, stdout=subprocess.PIPE, text=True) as process:
        expected = every_similarity.digest(str(data))
        answer, _ = process.communicate()
    return expected, answer.split()


def test_a_processor_without_long_vectors_gives_the_same_bytes(data: Path) -> None:
    """Every similarity and all lists, with kernels compiled for the oldest processor and numpy held to its baseline."""
    expected, answer = digests(
        data,
        NUMBA_CPU_NAME="x86-64" if platform.machine() == "x86_64" else "generic",
        NUMBA_CPU_FEATURES="",
        NPY_DISABLE_CPU_FEATURES=",".join(every_similarity.numpy_features()),
    )
    assert answer == [expected, "-", "False"]


def test_kernels_stay_inside_their_arrays(data: Path) -> None:
    """Every index is looked at, as kernels usually do not; tiles are cut at the first columns, where some are empty."""
    expected, answer = digests(data, NUMBA_BOUNDSCHECK="1")
    assert answer[:1] == [expected]
