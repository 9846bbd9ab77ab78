"""The scoring kernel alone: all users of a snapshot in blocks, with reasons, in one thread.

It prints `up` when it begins, and its CPU time at the end.
"""

import argparse
import json
import time
from itertools import cycle
from pathlib import Path

import numpy as np

from reckoner.workers.kernels.scoring.candidates import lay_out
from reckoner.workers.kernels.scoring.score import LeftOut, score_users
from tests.benchmarks.timed_call import read

NEVER = np.zeros(1, np.uint8)
BLOCK_USERS = 500


def main() -> int:
    """Score, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshot", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--for-ever", action="store_true", help="score again and again until killed")
    options = parser.parse_args()
    arrays = read(options.snapshot, options.model)
    users, items = arrays.shape
    row_items, user_items = arrays.row_items.view(np.uint32), arrays.user_items.view(np.uint32)
    candidates = lay_out(arrays.row_ptr, row_items, arrays.row_values, 0, items, stop=NEVER)
    assert candidates is not None
    print("up", flush=True)
    began = time.process_time()
    for first in cycle(range(0, users, BLOCK_USERS)) if options.for_ever else range(0, users, BLOCK_USERS):
        user_ptr = arrays.user_ptr[first : first + BLOCK_USERS + 1]
        left = LeftOut(user_ptr, user_items)
        score_users(candidates, user_ptr, user_items, None, options.length, left=left, stop=NEVER)
    print(json.dumps({"CPU s": time.process_time() - began}))
    return 0
