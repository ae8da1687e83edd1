"""A trained model and its data set to a recipe: which images prove it, which measure int8, what the card tells."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset
from flawsmith.decide.rules import Decision
from flawsmith.deploy.card import Story
from flawsmith.deploy.export import Export, ExportSettings, export_recipe
from flawsmith.line.recipe import DatasetEntry
from flawsmith.model.models import Model


@dataclass(frozen=True)
class ExportRequest:
    """What a user may ask of an export.

    name:               of the recipe; None takes the output folder's
    split:              held-out images for the parity gate, at most `images` of them, half of them defective
    calibration_images: training images for the ranges of int8
    engines:            None tries all that are installed
    """

    name: str | None = None
    split: str = "val"
    images: int = 100
    calibration_images: int = 48
    engines: tuple[str, ...] | None = None
    roi: np.ndarray | None = None
    headline: str = ""
    figures: tuple[tuple[str, str, str], ...] = ()
    limits: tuple[str, ...] = ()
    threads: int | None = None
    overwrite: bool = False


def export_model(
    model: Model,
    dataset: Dataset,
    decision: Decision,
    out: Path,
    request: ExportRequest | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Export:
    """Write a recipe folder. Raises as `export_recipe`, and `DataError` for the training split as held-out images."""
    request = request or ExportRequest()
    if request.split == "train":
        raise DataError("the parity gate must not use training images: take --split val or test")
    _check_origin(decision, model.identity(request.roi))
    held_out = spread(dataset.split(request.split), request.images)
    calibration = spread(dataset.split("train"), request.calibration_images)
    training = _training(dataset, healthy_only=model.spec.task == "anomaly")
    settings = ExportSettings(
        name=request.name or out.resolve().name,
        dataset=DatasetEntry(name=dataset.info.name, content_hash=dataset.info.content_hash),
        pixel_mm=_pixel_mm(dataset),
        engines=request.engines,
        roi=request.roi,
        story=Story(training, request.headline, request.figures, request.limits),
        threads=request.threads,
        overwrite=request.overwrite,
    )
    return export_recipe(model.module(), model.spec, decision, out, held_out, calibration, settings, progress)


def _check_origin(decision: Decision, identity: str) -> None:
    """Raise `ConfigError` when the decision was calibrated for another model or region of interest."""
    made_for = decision.calibration.model if decision.calibration else ""
    if made_for and made_for != identity:
        raise ConfigError(
            "the decision was calibrated for another model or region of interest, so what it demonstrates does not "
            "hold here: run flawsmith calibrate again, or take the 'calibration' section out of the decision"
        )


def spread(dataset: Dataset, most: int) -> list[Sample]:
    """At most `most` images, half of them defective where there are enough, spread evenly over the manifest."""
    healthy = np.asarray(dataset.column("healthy"), bool)
    defective, good = np.flatnonzero(~healthy), np.flatnonzero(healthy)
    bad = min(len(defective), max(most // 2, most - len(good)))
    rows = np.concatenate([_even(defective, bad), _even(good, most - bad)])
    return list(dataset.take(np.sort(rows)))


def _even(rows: np.ndarray, count: int) -> np.ndarray:
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)] if count else rows[:0]


def _pixel_mm(dataset: Dataset) -> float | None:
    """The data set's pixel size, or the one that all its images state."""
    stated = set(dataset.column("pixel_mm"))
    return dataset.info.pixel_mm or (stated.pop() if len(stated) == 1 else None)


def _training(dataset: Dataset, healthy_only: bool = False) -> tuple[str, ...]:
    """Sentences on the training split, or its healthy images, for the model card."""
    train = dataset.split("train")
    if healthy_only:
        train = train.where(np.asarray(train.column("healthy"), bool))
    healthy, provenance = train.column("healthy"), train.column("provenance")
    origin = ", ".join(f"{provenance.count(p)} {p}" for p in sorted(set(provenance)))
    kinds = [defect["kind"] for row in train.column("defects") for defect in row or ()]
    marked = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dataset.classes)
    sources = f" Sources: {', '.join(dataset.info.sources)}." if dataset.info.sources else ""
    return (
        f"{len(train)} training images ({origin}): {healthy.count(False)} defective, {healthy.count(True)} healthy.",
        f"Marked regions: {marked or 'none'}.",
        f"Licence of the images: {dataset.info.licence}.{sources}",
    )
