"""Importing: interactions in files and databases become the current snapshot."""

from producer.importing.columns import Columns
from producer.importing.databases import Query
from producer.importing.pipeline import ImportReport, import_interactions
from producer.importing.repeats import Repeats
from producer.importing.urls import find_database, is_database

__all__ = ["Columns", "ImportReport", "Query", "Repeats", "find_database", "import_interactions", "is_database"]
