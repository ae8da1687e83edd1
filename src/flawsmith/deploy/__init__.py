"""A trained model to a recipe for the line: export, quantise, and the parity gate in front of it."""

from flawsmith.deploy.export import Export, ExportSettings, export_recipe
from flawsmith.deploy.request import ExportRequest, export_model

__all__ = ["Export", "ExportRequest", "ExportSettings", "export_model", "export_recipe"]
