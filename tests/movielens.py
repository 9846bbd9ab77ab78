"""The demonstration's MovieLens data, with a snapshot's indices."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.interactions import Interactions, interactions


def read_movielens(folder: Path) -> Interactions:
    """100,004 interactions of 671 users and 9,066 items, written into the folder by a child process."""
    path = folder / "movielens.csv"
    subprocess.run(
        [sys.executable, "-m", "reckoner.producer.trial.demo_data", str(path)], check=True, capture_output=True
    )
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["user"].encode(), row["item"].encode()) for row in csv.DictReader(file)]
    user_ids, users = np.unique([user for user, _ in rows], return_inverse=True)  # sorted by bytes
    item_ids, items = np.unique([item for _, item in rows], return_inverse=True)
    return interactions(users, items, None, n_users=user_ids.size, n_items=item_ids.size)
