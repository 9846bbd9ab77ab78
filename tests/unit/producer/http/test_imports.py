"""What serves requests is small."""

import subprocess
import sys


def test_serving_imports_no_arrays_and_no_queue() -> None:
    """Neither numpy, pandas, pyarrow nor arq are loaded by any route."""
    program = (
        "import sys\nfrom reckoner.producer.http import serving\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'numpy', 'pandas', 'pyarrow', 'arq', 'numba'})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
