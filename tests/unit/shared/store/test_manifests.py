"""What a command line without an array library has to know of artifacts needs none."""

import subprocess
import sys


def test_store_and_model_ids_need_no_numpy() -> None:
    """The store and the id of a model are there in an environment in which numpy cannot be imported."""
    modules = ", ".join(f"reckoner.shared.store.{name}" for name in ("directory", "model_config", "manifests"))
    program = f"import sys; sys.modules['numpy'] = None; import {modules}"
    subprocess.run([sys.executable, "-c", program], check=True)
