"""A trained model to a recipe for the line: export, quantise, and the parity gate in front of it."""

from flawsmith.deploy.export import Export, ExportSettings, export_recipe
from flawsmith.deploy.segmenter import ExportRequest, export_segmenter

__all__ = ["Export", "ExportRequest", "ExportSettings", "export_recipe", "export_segmenter"]
