"""The whole path on one screen: photographs → data set → model → evaluation → decision → recipe → verdicts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from flawsmith.core import ConfigError, Prediction, Sample
from flawsmith.core.files import staged_folder, write_atomic
from flawsmith.dataset import Dataset
from flawsmith.dataset.few import with_labelled
from flawsmith.model.crops import usable
from flawsmith.model.segment import Segmenter, SegmentSettings
from flawsmith.model.train import Progress

Scored = Iterator[tuple[Sample, Prediction]]


def training_data(folder: Path, labelled: int | None = None, seed: int = 0) -> tuple[Dataset, Dataset | None]:
    """The training and validation images; `labelled` keeps so many defective ones to learn from."""
    dataset = Dataset.open(folder)
    train = dataset.split("train")
    if labelled is not None:
        train = with_labelled(train, labelled, seed)
    return train, dataset.split("val") if "val" in dataset.column("split") else None


def plan_training(folder: Path, settings: SegmentSettings, labelled: int | None = None) -> dict[str, Any]:
    """What a training would use, without training."""
    train, val = training_data(folder, labelled, settings.train.seed)
    kinds = settings.kinds or train.classes
    marked = [row for row in usable(train, kinds).column("defects") if row]
    return {
        "train": len(train),
        "val": len(val) if val else 0,
        "defective": len(marked),
        "kinds": list(kinds),
        "settings": settings.model_dump(mode="json"),
    }


def train_segmenter(
    folder: Path,
    run: Path,
    settings: SegmentSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    labelled: int | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Segmenter:
    """Learn from the train split, stop on the val split, keep model, checkpoint, logs and settings in `run`."""
    settings = settings or SegmentSettings()
    if run.exists() and any(run.iterdir()) and not (resume or overwrite):
        raise ConfigError(f"{run} is not empty: add --resume to go on, --overwrite to start anew, or choose another")
    train, val = training_data(folder, labelled, settings.train.seed)
    if not resume:
        with staged_folder(run, overwrite=True) as stage:
            text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
            write_atomic(stage / "settings.yaml", text.encode())
    model = Segmenter(settings).fit(train, val, run, resume, on_step)
    model.save(run)
    return model


def score(model: Segmenter, dataset: Dataset, roi: np.ndarray | None = None) -> Scored:
    """Every image of `dataset` with what the model says of it, one at a time."""
    for sample in dataset:
        yield sample, next(model.predict([sample.image()], roi))
