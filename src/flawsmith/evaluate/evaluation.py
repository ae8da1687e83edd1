"""The entry: image by image in, all figures out."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.prediction import Prediction
from flawsmith.core.sample import PROVENANCES, Provenance, Sample
from flawsmith.evaluate.figures import ProvenanceFigures, provenance_figures
from flawsmith.evaluate.intervals import LEVEL, Rate, Result
from flawsmith.evaluate.sizes import SIZE_EDGES_PX
from flawsmith.evaluate.tally import ProvenanceTally, Rules

SCHEMA_VERSION = 1
DEFAULT_THRESHOLD = 0.5
ORIGIN: dict[Provenance, str] = {
    "real": "Real photographs",
    "render": "Synthetic images (rendered), no real ones",
    "relief": "Synthetic images (relief), no real ones",
    "paste": "Synthetic images (defects pasted), no real ones",
    "inpaint": "Synthetic images (defects inpainted), no real ones",
}


class DatasetFacts(Result):
    """What was evaluated, for the record."""

    name: str
    content_hash: str = ""
    split: str | None = None
    model: str = ""


class Evaluation(Result):
    """Every figure of an evaluation, one entry per provenance: synthetic and real images are never pooled."""

    schema_version: Literal[1] = SCHEMA_VERSION
    headline: str
    headline_provenance: Provenance
    dataset: DatasetFacts
    kinds: tuple[str, ...]
    threshold: float
    threshold_given: bool  # False: nobody chose it, it is the default
    rule: str
    by_decision: bool  # True: images are judged by a decision, not by their score alone
    min_area_px: int
    roi_px: int | None  # pixels in the region of interest, where there is one
    interval_level: float = LEVEL
    resamples: int
    seed: int
    provenances: tuple[ProvenanceFigures, ...]

    @property
    def main(self) -> ProvenanceFigures:
        """The figures that the headline speaks of: real photographs wherever there are any."""
        return next(p for p in self.provenances if p.provenance == self.headline_provenance)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values: no NaN, an undefined figure is null beside its reason, pictures left out."""
        return self.model_dump(mode="json")


def evaluate(
    pairs: Iterable[tuple[Sample, Prediction]],
    kinds: tuple[str, ...],
    *,
    threshold: float | None = None,
    min_area_px: int = 1,
    roi: np.ndarray | None = None,
    rejects: Callable[[Prediction], bool] | None = None,
    rule: str = "",
    dataset: DatasetFacts | None = None,
    size_edges_px: tuple[int, ...] = SIZE_EDGES_PX,
    pictures: int = 6,
    resamples: int = 400,
    seed: int = 0,
) -> Evaluation:
    """Compare predictions with truth. Pairs are read once, and no map or image is kept.

    pairs:         sample with its labels, and the model's raw prediction for it
    kinds:         what the model knows, in the order of its maps
    threshold:     operating threshold in (0, 1] for pixels, regions and image scores; None: 0.5
    min_area_px:   predicted regions with fewer pixels are left out of region and box figures
    roi:           bool (H, W), for images that all have this size; nothing outside it is counted
    rejects:       the decision on an image, described in `rule`; None: rejected when its score reaches the threshold
    size_edges_px: ascending borders of the size bins, in pixels of defect area
    pictures:      how many of the worst defective and of the worst healthy images to show, for each provenance
    resamples:     of the bootstrap behind the intervals of figures that are no proportions

    Raises `DataError` for no images at all, one image given twice, labels or predictions that contradict themselves or
    do not fit, naming the image; `ConfigError` for settings out of range.

    >>> evaluation = evaluate(pairs, model.kinds, threshold=0.4)        # doctest: +SKIP
    >>> evaluation.main.image.auroc.value                               # doctest: +SKIP
    0.987
    """
    level = DEFAULT_THRESHOLD if threshold is None else threshold
    rules = Rules(level, min_area_px, tuple(size_edges_px), pictures, resamples, seed, roi, rejects)
    _check_settings(tuple(kinds), rules)
    tallies: dict[Provenance, ProvenanceTally] = {}
    seen: set[str] = set()
    for sample, prediction in pairs:
        if sample.id in seen:
            raise DataError(f"{sample.id} was given twice: every image may count only once")
        seen.add(sample.id)
        _check_pair(sample, prediction, tuple(kinds), roi)
        tallies.setdefault(sample.provenance, ProvenanceTally(tuple(kinds), rules)).add(sample, prediction)
    if not tallies:
        raise DataError("there are no images to evaluate: choose a split that has some (flawsmith dataset info)")
    provenances = tuple(provenance_figures(p, tallies[p]) for p in PROVENANCES if p in tallies)
    rule = rule or (f"score ≥ {level:g}" if rejects is None else "the given decision")
    return Evaluation(
        headline=headline(provenances[0], rule),
        headline_provenance=provenances[0].provenance,
        dataset=dataset or DatasetFacts(name="unnamed"),
        kinds=tuple(kinds),
        threshold=level,
        threshold_given=threshold is not None,
        rule=rule,
        by_decision=rejects is not None,
        min_area_px=min_area_px,
        roi_px=None if roi is None else int(np.count_nonzero(roi)),
        resamples=resamples,
        seed=seed,
        provenances=provenances,
    )


def headline(figures: ProvenanceFigures, rule: str) -> str:
    """One sentence for a quality engineer."""
    (bad, good), row = nouns(figures), figures.operating
    escaped, alarmed = row.escape_rate, row.false_alarm_rate
    first = f"{escaped.k} of {escaped.n} {bad} would escape{interval_words(escaped)}"
    second = f"{alarmed.k} of {alarmed.n} {good} would be rejected{interval_words(alarmed)}"
    if not escaped.n:
        first = f"no {bad} were evaluated, so nothing is known of escapes"
    if not alarmed.n:
        second = f"no {good} were evaluated, so nothing is known of false rejects"
    return f"{ORIGIN[figures.provenance]}: {first}; {second}, at {rule}."


def nouns(figures: ProvenanceFigures) -> tuple[str, str]:
    """What defective and healthy images are called: parts, unless the data set says that several show the same part."""
    if figures.parts in (None, figures.images):
        return "defective parts", "good parts"
    return "images with a defect", "images without a defect"


def interval_words(rate: Rate) -> str:
    """The exact interval in brackets, for a sentence."""
    if rate.low is None or rate.high is None:
        return ""
    return f" (95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f} %)"


def _check_settings(kinds: tuple[str, ...], rules: Rules) -> None:
    if not kinds or len(set(kinds)) != len(kinds):
        raise ConfigError(f"kinds {list(kinds)}: wanted at least one, each once, in the order of the model's maps")
    if not 0 < rules.threshold <= 1:
        raise ConfigError(f"threshold {rules.threshold:g}: wanted more than 0 and at most 1")
    if rules.min_area_px < 1:
        raise ConfigError(f"min_area_px {rules.min_area_px}: wanted 1 or more")
    edges = rules.size_edges_px
    if any(b <= a for a, b in zip((0, *edges), edges, strict=False)):
        raise ConfigError(f"size_edges_px {list(edges)}: wanted ascending areas in pixels, each above 0")
    if rules.roi is not None and (rules.roi.dtype != bool or rules.roi.ndim != 2 or not rules.roi.any()):
        raise ConfigError(f"roi {rules.roi.dtype} {rules.roi.shape}: wanted bool (H, W) with some of it true")
    if rules.pictures < 0 or rules.resamples < 0:
        raise ConfigError("pictures and resamples cannot be negative")


def _check_pair(sample: Sample, prediction: Prediction, kinds: tuple[str, ...], roi: np.ndarray | None) -> None:
    where, maps = sample.id, prediction.maps
    if prediction.kinds != kinds:
        raise DataError(f"{where}: predicted kinds {list(prediction.kinds)}, wanted {list(kinds)}; use one model")
    if maps.ndim != 3 or len(maps) != len(kinds) or maps.dtype != np.float32 or not maps.size:
        raise DataError(f"{where}: maps {maps.dtype} {maps.shape}; wanted float32 ({len(kinds)}, H, W)")
    # a NaN makes min and max NaN, which no comparison accepts
    if not (maps.min() >= 0 and maps.max() <= 1 and 0 <= prediction.score <= 1):
        raise DataError(f"{where}: the model's scores are not all within 0 and 1; it must not be used")
    if sample.healthy and sample.defects:
        raise DataError(f"{where} is labelled healthy and has {len(sample.defects)} defects; correct its labels")
    if roi is not None and roi.shape != maps.shape[1:]:
        raise DataError(f"{where}: the region of interest is {roi.shape}, its maps {maps.shape[1:]}; make them equal")
    for defect in sample.defects:
        x0, y0, x1, y1 = defect.box
        if x0 < 0 or y0 < 0 or x1 > maps.shape[2] or y1 > maps.shape[1]:
            raise DataError(
                f"{where}: defect {defect.kind!r} at {defect.box} lies outside the maps {maps.shape[1:]}; "
                "predict at the image's own size"
            )
        if defect.mask is not None and not defect.mask.any():
            raise DataError(f"{where}: defect {defect.kind!r} at {defect.box} has an empty mask; correct its labels")
