"""What a command line without an array library has to know of artifacts needs none."""

import subprocess
import sys


def test_store_and_model_ids_need_no_numpy() -> None:
    """The store and the id of a model are there in an environment in which numpy cannot be imported."""
    program = "import sys; sys.modules['numpy'] = None; import shared.store, shared.model_config, shared.manifests"
    subprocess.run([sys.executable, "-c", program], check=True)
