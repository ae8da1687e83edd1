"""Writing the files that several formats share."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.dataset.formats.format import HEALTHY


def save_image(sample: Sample, path: Path) -> None:
    """The image, byte for byte where it is a file. Raises `DataError` when that cannot be read."""
    if isinstance(sample.pixels, np.ndarray):
        data = encode_png(sample.pixels)
    else:
        try:
            data = sample.pixels.read_bytes()
        except OSError as error:
            raise DataError(f"{sample.pixels} cannot be read ({error.strerror}); import the data set again") from error
    save_bytes(path, data)


def save_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def save_text(path: Path, text: str) -> None:
    save_bytes(path, text.encode())


def save_json(path: Path, value: Any) -> None:
    save_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def class_folder(sample: Sample) -> str:
    """A folder name for the sample's class: "good" when healthy, and never a name that others take for healthy."""
    if sample.healthy:
        return "good"
    name = "".join(c if c.isalnum() or c in "-_ " else "_" for c in sample.label).strip() or "defect"
    return "defect" if name.casefold() in {known.casefold() for known in HEALTHY} else name
