"""Importing: files of interactions become the current snapshot."""

from producer.importing.columns import Columns
from producer.importing.pipeline import ImportReport, import_interactions
from producer.importing.repeats import Repeats

__all__ = ["Columns", "ImportReport", "Repeats", "import_interactions"]
