"""A process gives freed memory back to the system."""

import subprocess
import sys

KEEPS = """
import numpy as np
from pathlib import Path
from reckoner.shared.memory import return_freed_memory

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

{call}
before = pages()
for _ in range(3):
    arrays = [np.ones(2_500_000) for _ in range(3)]
    del arrays
print(pages() - before)
"""


def pages_kept(call: str) -> int:
    """The pages that a process keeps of large arrays that it freed."""
    return int(subprocess.run([sys.executable, "-c", KEEPS.format(call=call)], check=True, capture_output=True).stdout)


def test_a_process_gives_the_memory_of_large_arrays_back() -> None:
    """glibc's malloc keeps one of them otherwise."""
    assert pages_kept("return_freed_memory()") * 4 < pages_kept("")
