"""Where this checkout is."""

from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
