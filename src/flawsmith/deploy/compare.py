"""Classifiers side by side on the same images, as they would run on the line: accuracy, size and time of the exported
network."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.spec import predict_image, top_class
from flawsmith.dataset.manifest import Dataset
from flawsmith.deploy.onnx_graph import export_onnx
from flawsmith.evaluate.intervals import Rate
from flawsmith.line.engine import ONNX_FILE, open_engine
from flawsmith.model.classify import Classifier

ENGINE = "onnxruntime"
_WARM_UP = 3


@dataclass(frozen=True, eq=False)
class Compared:
    """One classifier on the images of a comparison.

    right:      bool (N,), in the order of the images
    balanced:   mean of the classes' recalls, in [0, 1]
    megabytes:  of the exported ONNX, 10⁶ bytes
    ms:         median of one image, shrinking included; `ms_iqr` its quartiles
    """

    name: str
    right: np.ndarray
    balanced: float
    parameters: int
    megabytes: float
    ms: float
    ms_iqr: tuple[float, float]

    @property
    def accuracy(self) -> Rate:
        return Rate.of(int(self.right.sum()), len(self.right))

    def as_json(self, reference: "Compared") -> dict[str, Any]:
        """With `reference`, the points of accuracy between the two and the images that only one of them gets right."""
        return {
            "name": self.name,
            "accuracy": self.accuracy.model_dump(mode="json", exclude={"reason"}),
            "balanced_accuracy": round(self.balanced, 4),
            "points_to_reference": round(100 * float(self.right.mean() - reference.right.mean()), 2),
            "only_this_right": int((self.right & ~reference.right).sum()),
            "only_reference_right": int((~self.right & reference.right).sum()),
            "parameters": self.parameters,
            "megabytes": round(self.megabytes, 3),
            "ms": round(self.ms, 3),
            "ms_iqr": [round(end, 3) for end in self.ms_iqr],
            "share_of_reference_ms": round(self.ms / reference.ms, 4),
        }


def compare(
    models: Mapping[str, Classifier], part: Dataset, reference: str, threads: int = 1, repeats: int = 50
) -> list[dict[str, Any]]:
    """`Compared.as_json` of each model, in the order given: all exported to ONNX and run by ONNX Runtime, batch of 1.

    part:      images that none was trained on (see `pipeline.unseen`), all of classes that every model knows
    reference: the name of the model that the others are held against
    repeats:   timed images; the models take turns, so that whatever else runs disturbs all of them alike

    Raises `ConfigError` for an unknown reference, `DataError` without images and for labels that a model does not know.
    """
    if reference not in models:
        raise ConfigError(f"there is no model {reference!r} to compare with: {', '.join(models)}")
    if not len(part):
        raise DataError("a comparison needs images and got none")
    for name, model in models.items():
        if strange := sorted(set(part.column("label")) - set(model.spec.classes)):
            raise DataError(f"{name} does not know {', '.join(strange)}: compare on images of its classes")
    networks = {name: export_onnx(model.module(), model.spec) for name, model in models.items()}
    timings = _timings(models, networks, part, threads, repeats)
    found = {
        name: _compared(name, model, networks[name], part, timings[name], threads) for name, model in models.items()
    }
    return [each.as_json(found[reference]) for each in found.values()]


def rows(compared: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of a table for people."""
    columns = ("model", "right", "accuracy", "95 % interval", "balanced", "parameters", "MB", "ms")
    lines = []
    for one in compared:
        rate = one["accuracy"]
        lines.append(
            (
                one["name"],
                f"{rate['k']}/{rate['n']}",
                f"{rate['value']:.3f}",
                f"{rate['low']:.3f} … {rate['high']:.3f}",
                f"{one['balanced_accuracy']:.3f}",
                f"{one['parameters']:,}",
                f"{one['megabytes']:.1f}",
                f"{one['ms']:.2f}",
            )
        )
    return columns, lines


def _compared(
    name: str, model: Classifier, network: bytes, part: Dataset, timings: Sequence[float], threads: int
) -> Compared:
    engine = open_engine(ENGINE, {ONNX_FILE: network}, model.spec, threads)
    labels = np.array(part.column("label"))
    said = np.array([top_class(predict_image(engine, s.image(), model.spec), model.spec)[0] for s in part])
    low, middle, high = np.percentile(timings, (25, 50, 75))
    return Compared(
        name=name,
        right=said == labels,
        balanced=float(np.mean([(said[labels == label] == label).mean() for label in np.unique(labels)])),
        parameters=sum(p.numel() for p in model.module().parameters()),  # what is shared counts once
        megabytes=len(network) / 1e6,
        ms=float(middle),
        ms_iqr=(float(low), float(high)),
    )


def _timings(
    models: Mapping[str, Classifier], networks: Mapping[str, bytes], part: Dataset, threads: int, repeats: int
) -> dict[str, list[float]]:
    """Milliseconds of each model, the models taking turns image by image."""
    images = [sample.image() for sample in part.take(np.arange(min(len(part), 10)))]
    engines = {name: open_engine(ENGINE, {ONNX_FILE: networks[name]}, models[name].spec, threads) for name in models}
    found: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(_WARM_UP + repeats):
        for name, engine in engines.items():
            start = time.perf_counter()
            predict_image(engine, images[turn % len(images)], models[name].spec)
            if turn >= _WARM_UP:
                found[name].append(1000 * (time.perf_counter() - start))
    return found
