"""A wear run: what `train wear` learns from the regions of a data set and keeps in a folder of its own."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from pydantic import Field

from flawsmith.core.config import Settings, validate
from flawsmith.core.errors import ConfigError, DataError, nearest
from flawsmith.core.files import read_json, sha256_of, write_json
from flawsmith.dataset.grouping import AUTO, Grouping, group_rows
from flawsmith.dataset.manifest import MANIFEST, Dataset
from flawsmith.model.segment import Segmenter, fingerprints
from flawsmith.model.wear.estimate import WEIGHTS, EstimateSettings, WearModel
from flawsmith.model.wear.mark import RUN, holds_wear
from flawsmith.model.wear.survey import Survey, SurveySettings, survey, wear_kind

SEGMENTER = "segmenter"
VB_COLUMN = "vb_mm"
WORN, NOT_WORN = "worn", "not worn"


class WearTrainSettings(Settings):
    """Everything `flawsmith train wear` can be told.

    kind:      the defect kind that is wear; None: the only one
    limit_mm:  VB from which an insert is worn. None: the images' labels tell the levels where there are several, else
               the `quantile` of VB parts them
    group:     which images are one insert: "auto" is the first filled column of part, session and lot, else likeness;
               otherwise as in `dataset split`
    """

    kind: str | None = None
    survey: SurveySettings = SurveySettings()
    estimate: EstimateSettings = EstimateSettings()
    limit_mm: float | None = Field(default=None, gt=0)
    quantile: float = Field(default=0.5, gt=0, lt=1)
    group: str = AUTO


class WearFacts(Settings):
    """What a run says of itself beside the weights.

    vb_from:   "mask": VB was measured in the regions that were learnt from; "manifest": it is the column `vb_mm`
    level_by:  what told the levels; level_at: VB from which an insert is worn, None where labels told
    vb_mean, usual_level: the answers that need no model, to compare with
    trained_on: the first eight bytes of each image's SHA-256 as a number
    """

    format: Literal[1] = 1
    task: Literal["wear"] = "wear"
    kind: str
    unit: Literal["mm", "px"]
    vb_from: Literal["mask", "manifest"]
    level_by: Literal["label", "limit", "quantile"]
    level_at: float | None
    vb_mean: float
    usual_level: str
    regions: int
    segmented: int
    groups: int
    left_out: dict[str, str]
    trained_on: tuple[int, ...]

    def level(self, label: str, vb: float) -> str:
        """The true level of an image."""
        return label if self.level_at is None else WORN if vb >= self.level_at else NOT_WORN


@dataclass(frozen=True, eq=False)
class WearRun:
    """A fitted `WearModel`, how its regions are read, and the segmenter for images on which nothing is drawn."""

    model: WearModel
    settings: WearTrainSettings
    facts: WearFacts
    segmenter: Segmenter | None = field(default=None, repr=False)

    @property
    def trained_on_(self) -> np.ndarray:
        return np.array(self.facts.trained_on, np.int64)

    def save(self, folder: Path) -> None:
        """The model's JSON, `wear_run.json`, and the segmenter in a folder of its own."""
        self.model.save(folder)
        if self.segmenter is not None:
            self.segmenter.save(folder / SEGMENTER)
        kept = {"facts": self.facts.model_dump(mode="json"), "settings": self.settings.model_dump(mode="json")}
        write_json(folder / RUN, kept)

    @classmethod
    def load(cls, folder: Path) -> "WearRun":
        """Raises `DataError` when the folder holds no wear run, or a damaged one."""
        if not holds_wear(folder):
            raise DataError(f"{folder} is no wear run (no {RUN}): make one with flawsmith train wear")
        kept = read_json(folder / RUN)
        try:
            facts = validate(WearFacts, kept["facts"], str(folder / RUN))
            settings = validate(WearTrainSettings, kept["settings"], str(folder / RUN))
        except (KeyError, TypeError, ConfigError) as error:
            raise DataError(f"{folder / RUN} is damaged or of another flawsmith ({error}): train again") from error
        segmenter = Segmenter.load(folder / SEGMENTER) if (folder / SEGMENTER).is_dir() else None
        return cls(WearModel.load(folder), settings, facts, segmenter)


def identity_of_run(folder: Path, run: WearRun) -> str:
    """Hex SHA-256 of the saved model and run, and of the segmenter."""
    parts = [sha256_of(folder / WEIGHTS), sha256_of(folder / RUN)]
    parts += [run.segmenter.identity()] if run.segmenter else []
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def learn_wear(
    dataset: Dataset, groups: np.ndarray, settings: WearTrainSettings, segmenter: Segmenter | None = None
) -> WearRun:
    """Measure every region of the images and learn VB and level from its features.

    groups: int (N,), images of one insert share a number

    Raises `ConfigError` for a kind that is not there or a limit without scale, `DataError` when no region can be
    measured or too few are left.
    """
    kind = the_kind(dataset, settings.kind)
    if segmenter is not None:
        wear_kind(segmenter, kind)
    found = survey(dataset, kind, settings.survey, segmenter).some()
    kept = np.isin(dataset.column("id"), list(found.regions))
    learnt = dataset.where(kept)
    unit = the_unit(found)
    vb, vb_from = true_vb(learnt, found, unit)
    labels = learnt.column("label")
    level_by, level_at = _levels(vb, labels, unit, settings)
    facts = WearFacts(
        kind=kind,
        unit=unit,
        vb_from=vb_from,
        level_by=level_by,
        level_at=level_at,
        vb_mean=float(np.mean(vb)),
        usual_level="",
        regions=len(vb),
        segmented=sum(region.source == "segmenter" for region in found.regions.values()),
        groups=len(set(groups[kept].tolist())),
        left_out=found.left_out,
        trained_on=tuple(fingerprints(learnt).tolist()),
    )
    levels = [facts.level(label, value) for label, value in zip(labels, vb, strict=True)]
    if len(set(levels)) < 2:
        where = f"{min(vb):.3g} to {max(vb):.3g} {unit}"
        raise DataError(
            f"all {len(levels)} regions are {levels[0]!r}, VB {where}: choose a --limit-mm within, or measure others"
        )
    features = [found.regions[name].features for name in learnt.column("id")]
    model = WearModel(settings.estimate).fit(features, vb, levels, [str(group) for group in groups[kept]])
    facts = facts.model_copy(
        update={"usual_level": min(Counter(levels).items(), key=lambda pair: (-pair[1], pair[0]))[0]}
    )
    return WearRun(model, settings, facts, segmenter)


def insert_groups(dataset: Dataset, key: str, alike: Callable[[], np.ndarray]) -> Grouping:
    """Which images are of one insert.

    Other than for a split, a column counts however few groups it leaves: images of an insert that is learnt from would
    make the error of the model too small. Raises as `group_rows`.
    """
    filled = [name for name in ("part", "session", "lot") if dataset.table[name].null_count < len(dataset)]
    return group_rows(dataset, filled[0] if key == AUTO and filled else key, None, alike)


def the_kind(dataset: Dataset, asked: str | None) -> str:
    """The defect kind that is wear. Raises `DataError` without masks, `ConfigError` where it must be named."""
    kinds = list(dataset.classes)
    if not kinds:
        raise DataError(f"{dataset.root} has no defect kinds; wear is learnt from masks: import a set that has them")
    if asked is not None and asked not in kinds:
        raise ConfigError(f"kind {asked!r} is not in {dataset.root}.{nearest(asked, kinds)}")
    if asked is None and len(kinds) > 1:
        raise ConfigError(f"{dataset.root} has the kinds {', '.join(kinds)}: say which is wear with --kind")
    return asked or kinds[0]


def the_unit(found: Survey) -> Literal["mm", "px"]:
    """Raises `DataError` where only some images have a scale: their sizes cannot be compared."""
    without = [name for name, region in found.regions.items() if region.measurement.pixel_mm is None]
    if without and len(without) < len(found.regions):
        raise DataError(
            f"{len(without)} of {len(found.regions)} images have no pixel_mm, as {without[0]}: give all of them one"
        )
    return "px" if without else "mm"


def true_vb(
    dataset: Dataset, found: Survey, unit: Literal["mm", "px"]
) -> tuple[list[float], Literal["mask", "manifest"]]:
    """VB of each image: the manifest's column `vb_mm` where it has one, else as measured in the region.

    Raises `DataError` where the column has gaps or the pixels no size: both kinds of VB do not mix.
    """
    names = dataset.column("id")
    path = dataset.root / MANIFEST
    if VB_COLUMN not in pq.read_schema(path).names:
        return [found.regions[name].vb(unit) for name in names], "mask"
    if unit == "px":
        raise DataError(
            f"{path} gives {VB_COLUMN}, but the images have no pixel_mm to compare by: import with --pixel-mm"
        )
    table = pq.read_table(path, columns=["id", VB_COLUMN]).to_pydict()
    given = dict(zip(table["id"], table[VB_COLUMN], strict=True))
    for name in names:
        if not isinstance(given[name], int | float) or not 0 <= given[name] < float("inf"):
            raise DataError(f"{path}: {VB_COLUMN} of {name} is {given[name]!r}; wanted mm of 0 or more for every image")
    return [float(given[name]) for name in names], "manifest"


def _levels(
    vb: list[float], labels: list[str], unit: Literal["mm", "px"], settings: WearTrainSettings
) -> tuple[Literal["label", "limit", "quantile"], float | None]:
    if settings.limit_mm is not None:
        if unit == "px":
            raise ConfigError(
                f"--limit-mm {settings.limit_mm:g} needs the pixel's size, and these images have none: import them "
                "with --pixel-mm, or leave the limit out"
            )
        return "limit", settings.limit_mm
    if len(set(labels)) > 1:
        return "label", None
    return "quantile", float(np.quantile(vb, settings.quantile))
