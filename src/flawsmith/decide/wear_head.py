"""Photographs of a cutter head's inserts, over passes, as the rows of its report."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.image import decode, image_files
from flawsmith.decide.wear_report import InsertWear
from flawsmith.model.segment import Segmenter
from flawsmith.model.wear.edge import Point
from flawsmith.model.wear.history import WearHistory, WearReading
from flawsmith.model.wear.history_file import amount_of, joined, read_rows
from flawsmith.model.wear.learn import WearRun
from flawsmith.model.wear.picture import draw_wear
from flawsmith.model.wear.survey import SurveySettings, WearRegion, read_region, segmented_mask

NAME_COLUMNS = ("file", "insert", "pass")
Line = tuple[Point, Point]
Found = tuple["Shot", WearRegion | None]  # None: it could not be measured


@dataclass(frozen=True)
class Shot:
    """One photograph: which insert it shows, after how many passes (None: not known)."""

    path: Path
    name: str
    insert: str
    passes: float | None = None


@dataclass(frozen=True)
class HeadSettings:
    """survey: as in the run, but for what is said anew; pixel_mm: edge of a pixel on the flank; line: on the edge."""

    survey: SurveySettings
    pixel_mm: float | None = None
    line: Line | None = None


@dataclass(frozen=True, eq=False)
class Head:
    """`inserts` for `write_wear_report`, new `readings` by insert in mm, and why photographs were left out."""

    inserts: tuple[InsertWear, ...]
    readings: dict[str, tuple[WearReading, ...]]
    left_out: dict[str, str] = field(default_factory=dict)


def list_shots(inputs: Sequence[Path], pattern: str | None = None, table: Path | None = None) -> list[Shot]:
    """The photographs in files and folders, with insert and pass of each; in the order of insert and pass.

    pattern: regular expression for the path below the folder, with the groups (?P<insert>…) and (?P<pass>…); the
             latter may be missing
    table:   CSV file of the columns file, insert, pass; `file` is the path below the folder

    Without either, each photograph is an insert, called by its file name. Raises `ConfigError` for a wrong pattern,
    `DataError` for a photograph without insert, or an insert with two photographs of one pass.
    """
    if pattern is not None and table is not None:
        raise ConfigError("--names and --table both say which insert is shown: give one of them")
    named = _named(inputs)
    told = _by_table(table) if table is not None else _by_pattern(pattern) if pattern is not None else _by_stem
    shots = [Shot(path, name, *told(name)) for name, path in named]
    seen: dict[tuple[str, float | None], str] = {}
    for shot in shots:
        key = (shot.insert, shot.passes)
        if key in seen:
            after = "without a pass" if shot.passes is None else f"after pass {shot.passes:g}"
            raise DataError(
                f"{seen[key]} and {shot.name} both show insert {shot.insert!r} {after}: tell them apart by --names "
                "or --table, or leave one out"
            )
        seen[key] = shot.name
    return sorted(shots, key=lambda shot: (shot.insert, -1 if shot.passes is None else shot.passes))


def _named(inputs: Sequence[Path]) -> list[tuple[str, Path]]:
    found = []
    for given in inputs:
        if not given.exists():
            raise ConfigError(f"{given} does not exist; name photographs or folders of them")
        some = image_files(given) if given.is_dir() else [given]
        found += [(p.relative_to(given).as_posix() if given.is_dir() else p.name, p) for p in some]
    if not found:
        raise DataError(f"no photographs in {', '.join(map(str, inputs))}; wanted PNG, JPEG, BMP, TIFF or WebP files")
    return found


def _by_stem(name: str) -> tuple[str, float | None]:
    return Path(name).stem, None


def _by_pattern(pattern: str) -> Callable[[str], tuple[str, float | None]]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--names {pattern!r} is no regular expression: {error}") from None
    if "insert" not in compiled.groupindex:
        raise ConfigError(f"--names {pattern!r} has no group (?P<insert>…), as in '(?P<insert>T\\d+)_(?P<pass>\\d+)'")

    def told(name: str) -> tuple[str, float | None]:
        match = compiled.search(name)
        insert = match["insert"] if match else None
        if match is None or not insert:
            raise DataError(f"--names {pattern!r} finds no insert in {name!r}: mend the pattern, or leave the file out")
        return insert, _passes(match["pass"], name) if "pass" in compiled.groupindex else None

    return told


def _passes(text: str | None, name: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise DataError(f"the pass of {name!r} is {text!r}; wanted a number") from None


def _by_table(table: Path) -> Callable[[str], tuple[str, float | None]]:
    rows: dict[str, tuple[str, float]] = {}
    for line, row in read_rows(table, NAME_COLUMNS):
        if row["file"] in rows:
            raise DataError(f"{table}, line {line}: {row['file']!r} stands there twice; remove one")
        rows[row["file"]] = row["insert"], amount_of(table, line, "pass", row["pass"])

    def told(name: str) -> tuple[str, float | None]:
        if name not in rows:
            raise DataError(f"{table} has no line for {name!r}: add one, or leave the photograph out")
        return rows[name]

    return told


def read_head(
    shots: Iterable[Shot],
    run: WearRun,
    histories: Mapping[str, WearHistory],
    settings: HeadSettings,
) -> Head:
    """Segment, measure and estimate every photograph; the newest of each insert is shown.

    Raises `ConfigError` where the run has no segmenter or its unit does not fit. A photograph that cannot be measured
    is left out with the reason; its insert stays in the report, and shows no older one in its place.
    """
    segmenter = _segmenter(run, settings)
    regions: dict[str, list[Found]] = {}
    left_out = {}
    for shot in shots:
        region = None
        try:
            image = decode(shot.path)
            mask = segmented_mask(segmenter, image, run.facts.kind, settings.survey.threshold)
            region = read_region(image, mask, settings.pixel_mm, shot.name, "segmenter", settings.survey, settings.line)
        except DataError as error:
            left_out[shot.name] = str(error)
        regions.setdefault(shot.insert, []).append((shot, region))
    readings = {insert: tuple(_readings(several)) for insert, several in regions.items()}
    inserts = [
        _insert(insert, several, run, histories.get(insert), readings[insert], settings)
        for insert, several in regions.items()
    ]
    # an insert that was not photographed today still belongs to the head
    inserts += [InsertWear(name, history=history) for name, history in histories.items() if name not in regions]
    return Head(tuple(sorted(inserts, key=lambda insert: insert.name)), readings, left_out)


def _segmenter(run: WearRun, settings: HeadSettings) -> Segmenter:
    if run.segmenter is None:
        raise ConfigError("this wear run has no segmenter to find wear in photographs: train wear with --segmenter RUN")
    if run.facts.unit == "mm" and settings.pixel_mm is None:
        raise ConfigError("this wear run was learnt in mm: say with --pixel-mm how large a pixel is")
    return run.segmenter


def _readings(several: Sequence[Found]) -> Iterator[WearReading]:
    for shot, region in several:
        if shot.passes is not None and region is not None and region.measurement.vb_mean_mm is not None:
            yield WearReading(shot.passes, region.measurement.vb_mean_mm)


def _insert(
    insert: str,
    several: Sequence[Found],
    run: WearRun,
    history: WearHistory | None,
    readings: Sequence[WearReading],
    settings: HeadSettings,
) -> InsertWear:
    over_passes = joined(history, insert, readings) if history or readings else None
    shot, newest = several[-1]
    if newest is None:  # an older photograph would pass for how the insert is now
        return InsertWear(insert, history=over_passes)
    # features in pixels and in mm have different names: a run learnt in pixels says nothing of mm
    fits = (run.facts.unit == "mm") == (settings.pixel_mm is not None)
    estimate = run.model.predict([newest.features])[0] if fits else None
    picture: np.ndarray = draw_wear(decode(shot.path), newest.mask, newest.measurement)
    return InsertWear(insert, newest.measurement, picture, over_passes, estimate)
