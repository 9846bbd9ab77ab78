"""Tests of results on another processor than this one."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

import workers
from tests.integration.workers.kernels import every_similarity
from tests.interactions import random_interactions


def test_a_processor_without_long_vectors_gives_the_same_bytes(tmp_path: Path) -> None:
    """Every similarity and all lists, with kernels compiled for the oldest processor and numpy held to its baseline."""
    data = random_interactions(3, n_users=300, n_items=700, n_pairs=12_000, weighted=True)
    np.savez(tmp_path / "data.npz", **vars(data))
    variables = {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "NUMBA_CPU_NAME": "x86-64" if platform.machine() == "x86_64" else "generic",
        "NUMBA_CPU_FEATURES": "",
        "NPY_DISABLE_CPU_FEATURES": ",".join(every_similarity.numpy_features()),
        "PYTHONPATH": str(Path(workers.__path__[0]).parent),
    }
    command = [sys.executable, every_similarity.__file__, str(tmp_path / "data.npz")]
    with subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True) as process:
        expected = every_similarity.digest(str(tmp_path / "data.npz"))
        answer, _ = process.communicate()
    assert answer.split() == [expected, "-", "False"]
