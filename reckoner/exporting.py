"""Exports to Python: `from reckoner.exporting import export_generation`. It needs the extra `data`."""

from reckoner.producer.client.exporting import export_batches, export_generation

__all__ = ["export_batches", "export_generation"]
