"""Exports to Python and to files: `from reckoner.exporting import export_generation`. It needs the extra `data`."""

from reckoner.producer.exporting.batches import export_batches, export_generation
from reckoner.producer.exporting.files import export_file

__all__ = ["export_batches", "export_file", "export_generation"]
