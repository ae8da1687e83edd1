"""Data sets to export and folders to import."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hard_shapes import HARD, dataset_of, picture

from flawsmith.core.defect import Defect
from flawsmith.core.image import encode_png
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset


@pytest.fixture
def hard_dataset(tmp_path: Path) -> Dataset:
    """One image per hard shape, one with all, one healthy; odd sizes; in splits."""
    shape = (27, 31)
    kinds = {name: mask(shape) for name, mask in HARD.items()}
    samples = [
        Sample(f"a/{name.replace(' ', '-')}", picture(shape), False, "scratch", (Defect.from_mask("scratch", mask),))
        for name, mask in kinds.items()
    ]
    every = tuple(Defect.from_mask(name, mask) for name, mask in kinds.items())
    samples.append(Sample("b/all", picture((27, 31, 3)), False, "ring", every, split="train"))
    samples.append(Sample("b/healthy", picture((5, 3)), True, split="test"))
    return dataset_of(tmp_path / "hard", samples)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, object], Path]:
    """Write a file under the source folder: an array as PNG, text as it is, anything else as JSON."""

    def write(name: str, content: object) -> Path:
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            path.write_bytes(encode_png(content))
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write
