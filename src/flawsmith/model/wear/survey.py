"""Every wear region of a data set: its mask labelled or segmented, measured and described in one way."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError, DataError, nearest
from flawsmith.core.sample import Sample
from flawsmith.model.wear.describe import DescribeSettings, Features, describe_wear
from flawsmith.model.wear.edge import Point
from flawsmith.model.wear.measure import WearMeasurement, WearSettings, measure_wear

if TYPE_CHECKING:
    from flawsmith.model.segment import Segmenter

Source = Literal["label", "segmenter"]


class SurveySettings(Settings):
    """How regions are measured and described; `threshold` is the segmenter's score from which a pixel is worn."""

    measure: WearSettings = WearSettings()
    describe: DescribeSettings = DescribeSettings()
    threshold: float = Field(default=0.5, gt=0, lt=1)


@dataclass(frozen=True, eq=False)
class WearRegion:
    """One image's wear: bool (H, W) mask and what follows from it. `source` says who drew the mask."""

    id: str
    mask: np.ndarray = field(repr=False)
    measurement: WearMeasurement
    features: Features
    source: Source

    def vb(self, unit: Literal["mm", "px"]) -> float:
        """VB mean of zone B. Raises `DataError` for mm without a pixel size."""
        value = self.measurement.vb_mean_mm if unit == "mm" else self.measurement.vb_mean_px
        if value is None:
            raise DataError(f"{self.id} has no pixel_mm, so its VB is in pixels only: import it with --pixel-mm")
        return value


@dataclass(frozen=True, eq=False)
class Survey:
    """`regions` by image id; `left_out` says of each other image why it has none."""

    regions: dict[str, WearRegion]
    left_out: dict[str, str]

    def some(self) -> "Survey":
        """Itself. Raises `DataError` naming the first reason when no region could be measured."""
        if not self.regions:
            name, reason = next(iter(self.left_out.items()), ("", "there are no images"))
            raise DataError(f"none of {len(self.left_out)} images has wear that can be measured; {name}: {reason}")
        return self


def read_region(
    image: np.ndarray,
    mask: np.ndarray,
    pixel_mm: float | None = None,
    name: str = "",
    source: Source = "label",
    settings: SurveySettings | None = None,
    line: tuple[Point, Point] | None = None,
) -> WearRegion:
    """Measure and describe the wear of an image (H, W[, C]) in its mask, bool (H, W). Raises as `measure_wear`."""
    settings = settings or SurveySettings()
    measurement = measure_wear(mask, pixel_mm, image, line, settings.measure)
    return WearRegion(name, mask, measurement, describe_wear(mask, image, pixel_mm, settings.describe), source)


def labelled_mask(sample: Sample, kind: str, shape: tuple[int, int]) -> np.ndarray | None:
    """Bool (H, W) of all wear that was drawn; None where none was. A box alone is no outline to measure."""
    drawn = [d for d in sample.defects if d.kind == kind and d.mask is not None]
    if not drawn:
        return None
    return np.logical_or.reduce([d.full_mask(shape) for d in drawn])


def segmented_mask(segmenter: "Segmenter", image: np.ndarray, kind: str, threshold: float = 0.5) -> np.ndarray:
    """Bool (H, W): where the segmenter sees wear. `wear_kind` says which of its kinds that is."""
    prediction = next(segmenter.predict([image]))
    return prediction.maps[prediction.kinds.index(wear_kind(segmenter, kind))] >= threshold


def wear_kind(segmenter: "Segmenter", kind: str) -> str:
    """The segmenter's kind of this name, or its only one. Raises `ConfigError` where it knows several others."""
    kinds = segmenter.spec.kinds
    if kind in kinds or len(kinds) == 1:
        return kind if kind in kinds else kinds[0]
    raise ConfigError(f"the segmenter has no kind {kind!r}.{nearest(kind, list(kinds))}")


def survey(
    samples: Iterable[Sample],
    kind: str,
    settings: SurveySettings | None = None,
    segmenter: "Segmenter | None" = None,
    pixel_mm: float | None = None,
) -> Survey:
    """Labelled wear in its mask; with a segmenter also that of images on which nothing was drawn.

    pixel_mm: instead of the samples' own. What cannot be measured is left out, with the reason.
    """
    settings = settings or SurveySettings()
    regions, left_out = {}, {}
    for sample in samples:
        image = sample.image()
        mask = labelled_mask(sample, kind, image.shape[:2])
        source: Source = "label" if mask is not None else "segmenter"
        if mask is None and segmenter is not None and not sample.healthy:
            mask = segmented_mask(segmenter, image, kind, settings.threshold)
        if mask is None:
            left_out[sample.id] = "it shows no wear" if sample.healthy else f"no {kind!r} is drawn as a mask on it"
            continue
        try:
            scale = pixel_mm or sample.pixel_mm
            regions[sample.id] = read_region(image, mask, scale, sample.id, source, settings)
        except DataError as error:
            left_out[sample.id] = str(error)
    return Survey(regions, left_out)
