"""The entry for classifiers: image by image in, all figures out."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from flawsmith.core.errors import ConfigError, DataError, nearest
from flawsmith.core.sample import PROVENANCES, Provenance, Sample
from flawsmith.evaluate.calibration import BINS
from flawsmith.evaluate.class_figures import ClassProvenance, Showing, class_provenance
from flawsmith.evaluate.class_pictures import Lookup
from flawsmith.evaluate.classes import FOREIGN, UNKNOWN, ClassRules, ClassScore, ClassTally, MapPoint, check_score
from flawsmith.evaluate.evaluation import ORIGIN, DatasetFacts, interval_words
from flawsmith.evaluate.intervals import LEVEL, Result

SCHEMA_VERSION = 1
CELL_PICTURES = 12
_PICTURES_IN_ALL = 1000  # of one provenance: with many classes, each cell of the matrix shows fewer
_MAP_POINTS = 1500


class FeatureMap(Result):
    """Features of the images on their first two principal components: a picture, not a figure, so it shows all kinds
    of images together. Columns have one entry per image shown."""

    features: int  # how many numbers an image has
    explained: tuple[float, float]  # share of the variance on each axis
    of: int  # images that have features; those shown are an even choice of them
    label: tuple[str, ...]
    provenance: tuple[Provenance, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]


class ClassEvaluation(Result):
    """Every figure of a classifier, one entry per provenance: synthetic and real images are never pooled."""

    schema_version: Literal[1] = SCHEMA_VERSION
    headline: str
    headline_provenance: Provenance
    dataset: DatasetFacts
    classes: tuple[str, ...]
    healthy: tuple[str, ...]
    unknown_at: float
    rule: str | None = None  # what does not pass, in words; null: what is given no healthy class
    interval_level: float = LEVEL
    calibration_bins: int = BINS
    resamples: int
    seed: int
    provenances: tuple[ClassProvenance, ...]
    feature_map: FeatureMap | None  # null where fewer than 3 images have features

    @property
    def main(self) -> ClassProvenance:
        """The figures that the headline speaks of: real photographs wherever there are any."""
        return next(p for p in self.provenances if p.provenance == self.headline_provenance)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values: no NaN, an undefined figure is null beside its reason, pictures left out."""
        return self.model_dump(mode="json")


def evaluate_classes(
    pairs: Iterable[tuple[Sample, ClassScore]],
    classes: tuple[str, ...],
    *,
    unknown_at: float = 0.5,
    healthy: tuple[str, ...] | None = None,
    rule: str | None = None,
    lookup: Lookup | None = None,
    dataset: DatasetFacts | None = None,
    confusions: int = 5,
    pictures: int = 3,
    resamples: int = 400,
    seed: int = 0,
) -> ClassEvaluation:
    """Compare a classifier's verdicts with the labels. Pairs are read once; of images only small pictures are kept.

    pairs:      sample, whose `label` is the truth, and the model's output for it; a label outside `classes` is an
                image of no known class, for which the right verdict is "unknown"
    classes:    what the model knows, in the order of its probabilities
    unknown_at: an image is called unknown when its `unknown` reaches this, in (0, 1]; else its verdict is the most
                probable class
    healthy:    classes that pass; None: those whose samples are healthy
    rule:       what does not pass, in words, where each score says whether it `passes`
    lookup:     pixels of a training image by its id, to show the nearest ones; None: their ids alone
    confusions: how many of the most frequent confusions to show, for each provenance, with `pictures` images each
    resamples:  of the bootstrap by groups behind the intervals of figures that are no proportions

    Raises `DataError` for no images at all, one image given twice, and outputs that are not what a sound model gives,
    naming the image; `ConfigError` for settings out of range.

    >>> evaluation = evaluate_classes(pairs, ("good", "dent", "rust"))      # doctest: +SKIP
    >>> evaluation.main.balanced_accuracy.value                             # doctest: +SKIP
    0.962
    """
    classes = tuple(classes)
    _check_settings(classes, unknown_at, healthy, min(confusions, pictures, resamples))
    per_cell = min(max(_PICTURES_IN_ALL // (len(classes) + 1) ** 2, 1), max(CELL_PICTURES, pictures))
    rules = ClassRules(classes, unknown_at, per_cell, _MAP_POINTS, resamples, seed)
    tallies = _read(pairs, rules)
    passing = _healthy(tallies, classes) if healthy is None else tuple(c for c in classes if c in healthy)
    showing = Showing(confusions, pictures, lookup)
    provenances = tuple(class_provenance(p, tallies[p], passing, showing) for p in PROVENANCES if p in tallies)
    return ClassEvaluation(
        headline=class_headline(provenances[0]),
        headline_provenance=provenances[0].provenance,
        dataset=dataset or DatasetFacts(name="unnamed"),
        classes=classes,
        healthy=passing,
        unknown_at=unknown_at,
        rule=rule,
        resamples=resamples,
        seed=seed,
        provenances=provenances,
        feature_map=feature_map({p: tallies[p] for p in PROVENANCES if p in tallies}),
    )


def class_headline(figures: ClassProvenance) -> str:
    """One sentence for a quality engineer."""
    right, passing, foreign = figures.accuracy, figures.passing, figures.unknown.foreign
    parts = ["no image of a known class was evaluated, so nothing is known of its accuracy"]
    if right.n:
        parts = [f"{right.k} of {right.n} images were given their right class{interval_words(right)}"]
    if passing and passing.escapes.n:
        escapes = passing.escapes
        parts.append(f"{escapes.k} of {escapes.n} defective ones would pass{interval_words(escapes)}")
    if passing and passing.false_rejects.n:
        rejects = passing.false_rejects
        parts.append(f"{rejects.k} of {rejects.n} good ones would be rejected{interval_words(rejects)}")
    if foreign.n:
        parts.append(f'{foreign.k} of {foreign.n} of classes it does not know were called "{UNKNOWN}"')
    return f"{ORIGIN[figures.provenance]}: {'; '.join(parts)}."


def feature_map(tallies: dict[Provenance, ClassTally]) -> FeatureMap | None:
    """Principal components of all kept features, by singular values; None where fewer than 3 images have any."""
    kept: list[tuple[Provenance, MapPoint]] = [(p, point) for p, tally in tallies.items() for point in tally.map.cases]
    widths = {len(point.features) for _, point in kept}
    if len(widths) > 1:
        raise DataError(f"images have {sorted(widths)} features: score all of them with one model")
    if len(kept) < 3 or min(widths) < 2:
        return None
    kept.sort(key=lambda entry: (entry[0], entry[1].badness[2]))
    table = np.stack([point.features for _, point in kept]).astype(float)
    table -= table.mean(axis=0)
    left, sizes, right = np.linalg.svd(table, full_matrices=False)
    # the sign of a component is arbitrary: its largest weight is made positive
    signs = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(axis=1)])
    places = left[:, :2] * sizes[:2] * signs
    shares = sizes[:2] ** 2 / max(float((sizes**2).sum()), np.finfo(float).tiny)
    return FeatureMap(
        features=table.shape[1],
        explained=(float(shares[0]), float(shares[1])),
        of=sum(tally.featured for tally in tallies.values()),
        label=tuple(point.label for _, point in kept),
        provenance=tuple(provenance for provenance, _ in kept),
        x=tuple(float(f"{v:.5g}") for v in places[:, 0]),
        y=tuple(float(f"{v:.5g}") for v in places[:, 1]),
    )


def _read(pairs: Iterable[tuple[Sample, ClassScore]], rules: ClassRules) -> dict[Provenance, ClassTally]:
    tallies: dict[Provenance, ClassTally] = {}
    seen: set[str] = set()
    for sample, score in pairs:
        if sample.id in seen:
            raise DataError(f"{sample.id} was given twice: every image may count only once")
        seen.add(sample.id)
        check_score(sample.id, score, rules.classes)
        tallies.setdefault(sample.provenance, ClassTally(rules)).add(sample, score)
    if not tallies:
        raise DataError("there are no images to evaluate: choose a split that has some (flawsmith dataset info)")
    return tallies


def _healthy(tallies: dict[Provenance, ClassTally], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Classes of healthy samples. One label on healthy and on defective samples would make escapes guesswork."""
    known = [r for tally in tallies.values() for r in tally.records if r.truth != FOREIGN]
    good, bad = {r.label for r in known if r.healthy}, {r.label for r in known if not r.healthy}
    if both := sorted(good & bad):
        raise DataError(
            f"images labelled {', '.join(both)} are partly healthy, partly not: correct the labels, or name the "
            "classes that pass with healthy=(…)"
        )
    return tuple(c for c in classes if c in good)


def _check_settings(classes: tuple[str, ...], unknown_at: float, healthy: tuple[str, ...] | None, least: int) -> None:
    if not classes or len(set(classes)) != len(classes):
        raise ConfigError(f"classes {list(classes)}: wanted at least one, each once, in the order of probabilities")
    if UNKNOWN in classes:
        raise ConfigError(f'a class named "{UNKNOWN}" cannot be told from that verdict: rename it')
    if not 0 < unknown_at <= 1:
        raise ConfigError(f"unknown_at {unknown_at:g}: wanted more than 0 and at most 1")
    for name in healthy or ():
        if name not in classes:
            raise ConfigError(f"healthy names {name!r}, which is no class.{nearest(name, list(classes))}")
    if least < 0:
        raise ConfigError("confusions, pictures and resamples cannot be negative")
