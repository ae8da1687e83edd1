"""From kept records to figures: what is said of a classifier on the images of one provenance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawsmith.core.sample import Provenance
from flawsmith.evaluate.calibration import NO_KNOWN, CalibrationFigures, calibration_figures
from flawsmith.evaluate.class_pictures import Confusion, Lookup, MatrixCell, confusions, matrix_cells
from flawsmith.evaluate.classes import FOREIGN, UNKNOWN, ClassRecord, ClassTally
from flawsmith.evaluate.figures import group_remarks, group_unit
from flawsmith.evaluate.images import area_estimates
from flawsmith.evaluate.intervals import (
    Estimate,
    Figure,
    Rate,
    Result,
    group_weights,
    mean_estimate,
    ratio_estimate,
    worthwhile,
)

NO_IMAGE = "no image of this class"
NO_OTHER = "no image of another class"
NO_FOREIGN = "no image of an unknown class"


class ClassFigures(Result):
    """One class, over the images of known classes; one that is called unknown is a miss of its own class."""

    label: str
    healthy: bool
    images: int
    verdicts: int  # images of known classes that were given this class
    precision: Rate
    recall: Rate
    f1: Figure
    auroc: Figure  # of its probability, against the other known classes
    average_precision: Figure
    unknown: Rate  # its images that were called unknown


class ConfusionMatrix(Result):
    """Counts by truth (rows) and verdict (columns). Known classes come first, in order, then labels not known."""

    rows: tuple[str, ...]
    known_rows: int
    columns: tuple[str, ...]  # the classes, then "unknown"
    counts: tuple[tuple[int, ...], ...]


class ForeignFigures(Result):
    """Images with one label that the model was not trained for."""

    label: str
    images: int
    unknown: Rate


class UnknownFigures(Result):
    """The verdict "unknown", of images of known classes (wrong) and of no known class (right)."""

    judged: bool  # False: no image has any `unknown`, so the model seems not to judge it
    known: Rate
    foreign: Rate
    auroc: Figure  # of `unknown`: how often a foreign image has more of it than a known one
    foreign_labels: tuple[ForeignFigures, ...]


class PassFigures(Result):
    """A part passes when its most probable class is a healthy one and it is not called unknown; or as a decision says,
    where one was given: then `unknown_…` are those that do not pass and whose verdict is unknown."""

    healthy_classes: tuple[str, ...]
    escapes: Rate  # defective images of known classes that pass
    false_rejects: Rate  # healthy ones that are given a defect class
    unknown_defective: Rate
    unknown_healthy: Rate
    foreign_escapes: Rate  # defective images of no known class that pass


class ClassProvenance(Result):
    """All figures of the images of one provenance. Except where said, they are of images of known classes only."""

    provenance: Provenance
    images: int
    known: int
    foreign: int
    splits: dict[str, int]
    groups: int  # what the intervals resample
    group_unit: str
    accuracy: Rate
    accuracy_by_group: Figure
    balanced_accuracy: Figure  # mean recall of the classes that have images
    macro_f1: Figure
    macro_auroc: Figure
    macro_average_precision: Figure
    classes: tuple[ClassFigures, ...]
    matrix: ConfusionMatrix
    unknown: UnknownFigures
    passing: PassFigures | None  # null where no class is healthy
    calibration: CalibrationFigures
    confusions: tuple[Confusion, ...]
    cells: tuple[MatrixCell, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Showing:
    """What of the pictures: so many of the most frequent confusions, so many images of each, and how to find others."""

    confusions: int
    pictures: int
    lookup: Lookup | None


def class_provenance(
    provenance: Provenance, tally: ClassTally, healthy: Sequence[str], showing: Showing
) -> ClassProvenance:
    """`tally` has seen at least one image; `healthy` are the classes that pass."""
    rules = tally.rules
    records = sorted(tally.records, key=lambda r: r.sample_id)
    known = [r for r in records if r.truth != FOREIGN]
    names = {r.group for r in records}
    arrays = _Arrays.of(known, rules.classes, rules.resamples, rules.seed)
    matrix = confusion_matrix(records, rules.classes)
    classes = [_Estimates.of(arrays, index) for index in range(len(rules.classes))]
    right = arrays.truth == arrays.verdict
    groups = [r.group for r in known]
    return ClassProvenance(
        provenance=provenance,
        images=len(records),
        known=len(known),
        foreign=len(records) - len(known),
        splits=dict(sorted(tally.splits.items())),
        groups=len(names),
        group_unit=group_unit(names),
        accuracy=Rate.of(int(right.sum()), len(known), NO_KNOWN),
        accuracy_by_group=arrays.ratio(right, np.ones(len(known))).figure(NO_KNOWN),
        balanced_accuracy=mean_estimate([c.recall for c in classes]).figure(NO_KNOWN),
        macro_f1=mean_estimate([c.f1 for c in classes]).figure(NO_KNOWN),
        macro_auroc=mean_estimate([c.auroc for c in classes]).figure("images of one class only"),
        macro_average_precision=mean_estimate([c.average_precision for c in classes]).figure(
            "images of one class only"
        ),
        classes=tuple(
            _class(label, label in healthy, index, arrays, classes[index]) for index, label in enumerate(rules.classes)
        ),
        matrix=matrix,
        unknown=unknown_figures(records, len(rules.classes), rules.resamples, rules.seed),
        passing=pass_figures(records, rules.classes, healthy) if healthy else None,
        calibration=calibration_figures(arrays.probabilities, arrays.truth, groups, rules.resamples, rules.seed),
        confusions=confusions(tally, matrix.counts, showing.confusions, showing.pictures, showing.lookup),
        cells=matrix_cells(tally, matrix.rows, matrix.counts),
        remarks=_remarks(tally, len(names), matrix),
    )


@dataclass(frozen=True, eq=False)
class _Arrays:
    """Images of known classes as columns, and how often each resample draws their groups."""

    truth: np.ndarray  # (N,)
    verdict: np.ndarray  # (N,)
    probabilities: np.ndarray  # (N, K)
    weights: np.ndarray
    members: np.ndarray

    @classmethod
    def of(cls, known: list[ClassRecord], classes: tuple[str, ...], resamples: int, seed: int) -> "_Arrays":
        groups = [r.group for r in known]
        return cls(
            np.array([r.truth for r in known], int),
            np.array([r.verdict for r in known], int),
            np.array([r.probabilities for r in known], np.float32).reshape(-1, len(classes)),
            *group_weights(groups, worthwhile(resamples, groups), seed),
        )

    def ratio(self, top: np.ndarray, bottom: np.ndarray) -> Estimate:
        return ratio_estimate(top, bottom, self.weights, self.members)


@dataclass(frozen=True)
class _Estimates:
    """One class's figures before they are written down, so that means over the classes have intervals too."""

    recall: Estimate
    f1: Estimate
    auroc: Estimate
    average_precision: Estimate

    @classmethod
    def of(cls, arrays: _Arrays, index: int) -> "_Estimates":
        own, said = arrays.truth == index, arrays.verdict == index
        areas = area_estimates(arrays.probabilities[:, index], own, arrays.weights, arrays.members)
        # without an image of the class every verdict for it is wrong: 0 would be a statement about the class
        counted = 1.0 * own + said if own.any() else np.zeros(len(own))
        return cls(
            recall=arrays.ratio(own & said, own),
            f1=arrays.ratio(2.0 * (own & said), counted),
            auroc=areas["auroc"],
            average_precision=areas["average_precision"],
        )


def _class(label: str, healthy: bool, index: int, arrays: _Arrays, estimates: _Estimates) -> ClassFigures:
    own, said = arrays.truth == index, arrays.verdict == index
    images, both = int(own.sum()), int((own & said).sum())
    missing = NO_IMAGE if not images else NO_OTHER
    called = int((own & (arrays.verdict == arrays.probabilities.shape[1])).sum())
    return ClassFigures(
        label=label,
        healthy=healthy,
        images=images,
        verdicts=int(said.sum()),
        precision=Rate.of(both, int(said.sum()), "no image was given this class"),
        recall=Rate.of(both, images, NO_IMAGE),
        f1=estimates.f1.figure(NO_IMAGE),
        auroc=estimates.auroc.figure(missing),
        average_precision=estimates.average_precision.figure(missing),
        unknown=Rate.of(called, images, NO_IMAGE),
    )


def confusion_matrix(records: Sequence[ClassRecord], classes: tuple[str, ...]) -> ConfusionMatrix:
    """Every image is in one cell; a row for each class, whether it has images or not."""
    foreign = sorted({r.label for r in records if r.truth == FOREIGN})
    rows = (*classes, *foreign)
    place = {label: row for row, label in enumerate(rows)}
    counts = np.zeros((len(rows), len(classes) + 1), int)
    for record in records:
        counts[place[record.label], record.verdict] += 1
    return ConfusionMatrix(
        rows=rows, known_rows=len(classes), columns=(*classes, UNKNOWN), counts=tuple(map(tuple, counts.tolist()))
    )


def unknown_figures(records: Sequence[ClassRecord], classes: int, resamples: int, seed: int) -> UnknownFigures:
    """`classes`: their number K, which is the verdict "unknown"."""
    foreign = np.array([r.truth == FOREIGN for r in records])
    called = np.array([r.verdict == classes for r in records])
    values = np.array([r.unknown for r in records])
    groups = [r.group for r in records]
    areas = area_estimates(values, foreign, *group_weights(groups, worthwhile(resamples, groups), seed))
    labels = sorted({r.label for r in records if r.truth == FOREIGN})
    own = {label: [r.verdict == classes for r in records if r.label == label] for label in labels}
    return UnknownFigures(
        judged=bool(values.any()),
        known=Rate.of(int((called & ~foreign).sum()), int((~foreign).sum()), NO_KNOWN),
        foreign=Rate.of(int((called & foreign).sum()), int(foreign.sum()), NO_FOREIGN),
        auroc=areas["auroc"].figure(NO_KNOWN if foreign.all() else NO_FOREIGN),
        foreign_labels=tuple(
            ForeignFigures(label=label, images=len(hits), unknown=Rate.of(sum(hits), len(hits)))
            for label, hits in own.items()
        ),
    )


def pass_figures(records: Sequence[ClassRecord], classes: tuple[str, ...], healthy: Sequence[str]) -> PassFigures:
    """Escapes and false rejects when each image goes by its verdict, or by a decision where one was given."""
    by_class = [r.verdict < len(classes) and classes[r.verdict] in healthy for r in records]
    passes = [own if r.passes is None else r.passes for r, own in zip(records, by_class, strict=True)]
    called = [r.verdict == len(classes) for r in records]
    known = [r.truth != FOREIGN for r in records]
    good = [r.label in healthy for r in records]
    bad = np.array(known) & ~np.array(good)
    strange = np.array([r.truth == FOREIGN and not r.healthy for r in records])
    passed, unknown, fine = np.array(passes), np.array(called), np.array(good)
    defective, sound, others = int(bad.sum()), int(fine.sum()), int(strange.sum())
    return PassFigures(
        healthy_classes=tuple(healthy),
        escapes=Rate.of(int((bad & passed).sum()), defective, "no defective images"),
        false_rejects=Rate.of(int((fine & ~passed & ~unknown).sum()), sound, "no healthy images"),
        unknown_defective=Rate.of(int((bad & unknown & ~passed).sum()), defective, "no defective images"),
        unknown_healthy=Rate.of(int((fine & unknown & ~passed).sum()), sound, "no healthy images"),
        foreign_escapes=Rate.of(int((strange & passed).sum()), others, "no defective image of an unknown class"),
    )


def _remarks(tally: ClassTally, groups: int, matrix: ConfusionMatrix) -> tuple[str, ...]:
    """What a reader must know before believing the figures."""
    lines = []
    empty = [row for row, counts in zip(matrix.rows, matrix.counts, strict=True) if not sum(counts)]
    if empty:
        lines.append(
            f"No image of these classes was evaluated: {', '.join(empty)}. Nothing is known of them, and means over "
            "the classes leave them out."
        )
    foreign = matrix.rows[matrix.known_rows :]
    if foreign:
        lines.append(
            f"The model does not know these labels: {', '.join(foreign)}. The right verdict for their images is "
            f'"{UNKNOWN}"; they are counted apart, never in accuracy, precision or recall.'
        )
    return (*lines, *group_remarks(len(tally.records), groups, tally.splits["train"]))
