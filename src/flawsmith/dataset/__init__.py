"""Labelled photographs as one folder: import, check, split, view, export."""

from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset

__all__ = ["Dataset", "DatasetInfo", "write_dataset"]
