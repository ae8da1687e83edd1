"""What calibration keeps of an image: the region area at each threshold, a few hundred bytes instead of a map."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.prediction import Prediction
from flawsmith.core.sample import Sample
from flawsmith.decide.regions import area_profile
from flawsmith.decide.select import Facts

# Declared before any data is seen, as the walk over them must be. Fine near 0 and 1, where networks put most scores,
# and round, because people will read and edit them.
_TAIL = (1e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08)
THRESHOLDS: tuple[float, ...] = (
    *_TAIL,
    *(round(0.02 * i, 2) for i in range(5, 46)),
    *(round(1 - t, 5) for t in reversed(_TAIL)),
    1.0,
)


@dataclass(frozen=True, eq=False)
class ImageSummary:
    """One image as calibration sees it.

    areas: int32 (K, T): per kind and threshold, the largest minimum area at which the image is still rejected
    """

    facts: Facts
    areas: np.ndarray


@dataclass(frozen=True, eq=False)
class PartAreas:
    """Independent parts, n of them; a part seen in several images is as bad as the worst of these.

    reject, review: int32 (n, T), as `ImageSummary.areas`: the largest over the kinds that may reject, and over those
                    that may reject or review
    """

    reject: np.ndarray
    review: np.ndarray

    def __len__(self) -> int:
        return len(self.reject)

    @cached_property
    def reject_sorted(self) -> np.ndarray:
        """(T, n): ascending at each threshold, for counting."""
        return np.sort(self.reject.T, axis=1)

    @cached_property
    def review_sorted(self) -> np.ndarray:
        return np.sort(self.review.T, axis=1)


def summarise(
    sample: Sample,
    prediction: Prediction,
    thresholds: Sequence[float] = THRESHOLDS,
    counting: Mapping[str, tuple[int, float]] | None = None,
    min_areas: Sequence[int] | None = None,
) -> ImageSummary:
    """Reduce one prediction; the maps are not kept.

    counting:  (max_count, joined_at) of the kinds of which some regions are allowed
    min_areas: the only minimum areas that will be asked for, ascending; knowing them saves most of the work

    Raises `DataError` when the scores are no numbers in [0, 1]: a bound on such a model would mean nothing.
    """
    levels, counting = np.asarray(thresholds, np.float64), counting or {}
    maps = np.asarray(prediction.maps, np.float32)
    if not (maps.size and maps.min() >= -1e-3 and maps.max() <= 1 + 1e-3):
        raise DataError(f"{sample.id}: the model gave scores that are not numbers in [0, 1]; it must not be used")
    areas = [
        area_profile(plane, levels, *counting.get(kind, (0, None)), min_areas)
        for kind, plane in zip(prediction.kinds, maps, strict=True)
    ]
    return ImageSummary(Facts.of(sample), np.stack(areas))


def gather(
    summaries: Sequence[ImageSummary], parts: Iterable[Sequence[int]], reject: np.ndarray, review: np.ndarray
) -> PartAreas:
    """Merge the images of each part. `reject` and `review` are bool (K,): which kinds may do so."""
    rows = list(parts)
    levels = summaries[0].areas.shape[1]

    def worst(kinds: np.ndarray) -> np.ndarray:
        images = np.stack([summary.areas[kinds].max(axis=0, initial=0) for summary in summaries])
        merged = [images[part].max(axis=0) for part in map(list, rows)]
        return np.array(merged, np.int32).reshape(len(rows), levels)

    return PartAreas(worst(reject), worst(review))
