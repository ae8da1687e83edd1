"""What a classifier says of one image, and what is kept of it."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.sample import Sample
from flawsmith.core.spec import UNKNOWN
from flawsmith.evaluate.intervals import group_of
from flawsmith.evaluate.pictures import Badness, WorstCases, thumbnail

FOREIGN = -1  # in place of the index of a class: a label that the model does not know
SUM_TOLERANCE = 1e-3
_HELD_PX = 240  # longer side of images that are held until the page is drawn
_HELD_HEAT_PX = 64


@dataclass(frozen=True, eq=False)
class ClassScore:
    """A classifier's output for one image.

    probabilities: float32 (K,), adding up to 1, in the order of the classes
    unknown:       how sure the model is that the image is of none of its classes, in [0, 1]; 0 where not judged
    features:      float32 (D,), what the decision was made from; None: not given
    heat:          float32 (h, w) in [0, 1], where the model looked (Grad-CAM or attention); None: not given
    nearest:       ids of the training images with the nearest features, the nearest first
    passes:        whether a decision lets the part pass; None: it goes by its class
    """

    probabilities: np.ndarray
    unknown: float = 0.0
    features: np.ndarray | None = None
    heat: np.ndarray | None = None
    nearest: tuple[str, ...] = ()
    passes: bool | None = None


@dataclass(frozen=True)
class ClassRules:
    """How images are judged and what is kept of them: the same for all.

    classes:       what the model knows, in the order of its probabilities
    unknown_at:    an image is called unknown when its `unknown` reaches this
    cell_pictures: images kept for each cell of the confusion matrix
    map_points:    images kept for the feature map, of each provenance
    """

    classes: tuple[str, ...]
    unknown_at: float
    cell_pictures: int
    map_points: int
    resamples: int
    seed: int

    def verdict(self, score: ClassScore) -> int:
        """Index of the verdict: a class, or K for unknown."""
        if score.unknown >= self.unknown_at:
            return len(self.classes)
        return int(np.argmax(score.probabilities))

    def name(self, verdict: int) -> str:
        return (*self.classes, UNKNOWN)[verdict]


@dataclass(frozen=True, eq=False)
class ClassRecord:
    """What is kept of every image. truth: index of its class, or `FOREIGN`; verdict: see `ClassRules.verdict`."""

    sample_id: str
    group: str
    label: str
    healthy: bool
    truth: int
    verdict: int
    probabilities: np.ndarray
    unknown: float
    passes: bool | None = None

    @property
    def right(self) -> bool:
        """Its class; for an image of no known class, "unknown"."""
        return self.verdict == (len(self.probabilities) if self.truth == FOREIGN else self.truth)

    @property
    def sureness(self) -> float:
        """How sure the model is of this verdict."""
        called = self.verdict == len(self.probabilities)
        return self.unknown if called else float(self.probabilities[self.verdict])


@dataclass(frozen=True, eq=False)
class Pick:
    """An image that may be shown: its file, or the image itself made small."""

    badness: Badness
    record: ClassRecord
    pixels: Path | np.ndarray
    heat: np.ndarray | None
    nearest: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MapPoint:
    """One image's features. Kept by a number made of its id, so the choice is even and does not depend on order."""

    badness: Badness
    label: str
    features: np.ndarray


@dataclass
class ClassTally:
    """Everything kept of the images of one provenance; memory grows by a few numbers an image."""

    rules: ClassRules
    records: list[ClassRecord] = field(default_factory=list)
    splits: Counter[str] = field(default_factory=Counter)
    cells: dict[tuple[str, int], WorstCases[Pick]] = field(default_factory=dict)
    map: WorstCases[MapPoint] = field(init=False)
    featured: int = 0
    features: int | None = None  # their number, D

    def __post_init__(self) -> None:
        self.map = WorstCases(self.rules.map_points)

    def add(self, sample: Sample, score: ClassScore) -> None:
        """One image that passed `check_score`; its pixels are let go unless it may be shown."""
        classes = self.rules.classes
        record = ClassRecord(
            sample_id=sample.id,
            group=group_of(sample.groups, sample.id),
            label=sample.label,
            healthy=sample.healthy,
            truth=classes.index(sample.label) if sample.label in classes else FOREIGN,
            verdict=self.rules.verdict(score),
            probabilities=score.probabilities,
            unknown=float(score.unknown),
            passes=score.passes,
        )
        self.records.append(record)
        self.splits[sample.split or "none"] += 1
        self._keep_picture(sample, score, record)
        if score.features is not None:
            self._keep_features(sample, score.features)

    def _keep_picture(self, sample: Sample, score: ClassScore, record: ClassRecord) -> None:
        """Of right verdicts the least sure are worth a look, of wrong ones the surest."""
        cell = self.cells.setdefault((record.label, record.verdict), WorstCases(self.rules.cell_pictures))
        badness = 0, record.sureness if record.right else -record.sureness, record.sample_id
        if not cell.wants(badness):
            return
        pixels = sample.pixels if isinstance(sample.pixels, Path) else _small(sample.pixels)
        heat = None if score.heat is None or record.right else _small_heat(score.heat)
        cell.add(Pick(badness, record, pixels, heat, score.nearest))

    def _keep_features(self, sample: Sample, features: np.ndarray) -> None:
        if self.features not in (None, len(features)):
            raise DataError(f"{sample.id}: {len(features)} features, others have {self.features}; use one model")
        self.features = len(features)
        self.featured += 1
        # 48 bits fit a float exactly
        draw = float(int.from_bytes(hashlib.sha256(sample.id.encode("utf-8", "surrogatepass")).digest()[:6], "big"))
        if self.map.wants((0, draw, sample.id)):
            self.map.add(MapPoint((0, draw, sample.id), sample.label, features.astype(np.float32)))


def _small(pixels: np.ndarray) -> np.ndarray:
    return thumbnail(pixels, min(_HELD_PX, max(pixels.shape[:2])))


def _small_heat(heat: np.ndarray) -> np.ndarray:
    if max(heat.shape) <= _HELD_HEAT_PX:
        return heat.copy()
    size = [max(round(side * _HELD_HEAT_PX / max(heat.shape)), 1) for side in heat.shape[::-1]]
    return cv2.resize(heat, size, interpolation=cv2.INTER_AREA)


def check_score(where: str, score: ClassScore, classes: tuple[str, ...]) -> None:
    """Raise `DataError`, naming the image, unless the score can be what a sound model gives."""
    given, wanted = score.probabilities, f"float32 ({len(classes)},), one for each of {', '.join(classes)}"
    if given.dtype != np.float32 or given.shape != (len(classes),):
        raise DataError(f"{where}: probabilities {given.dtype} {given.shape}; wanted {wanted}")
    # a NaN makes min and sum NaN, which no comparison accepts
    if not (given.min() >= 0 and abs(float(given.sum(dtype=float)) - 1) <= SUM_TOLERANCE):
        raise DataError(
            f"{where}: probabilities add up to {float(given.sum(dtype=float)):.4g}, the least is {given.min():.4g}; "
            "wanted none below 0 and a sum of 1: give softmax outputs, not logits"
        )
    if not 0 <= score.unknown <= 1:
        raise DataError(f"{where}: unknown is {score.unknown:g}; wanted 0 to 1, the model must not be used")
    features, heat = score.features, score.heat
    if features is not None and (features.ndim != 1 or not features.size or not np.isfinite(features).all()):
        raise DataError(f"{where}: features {features.shape}; wanted (D,), all of them finite")
    if heat is None:
        return
    if heat.ndim != 2 or not heat.size or heat.dtype != np.float32:
        raise DataError(f"{where}: heat {heat.dtype} {heat.shape}; wanted float32 (h, w)")
    if not (heat.min() >= 0 and heat.max() <= 1):
        raise DataError(f"{where}: heat from {heat.min():g} to {heat.max():g}; wanted 0 to 1: divide it by its maximum")
