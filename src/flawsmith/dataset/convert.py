"""Import from the layouts of others, export to them, and say what was left out or lost on the way."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from flawsmith.core.config import validate
from flawsmith.core.errors import ConfigError, DataError, nearest
from flawsmith.core.files import check_free, staged_folder, write_json
from flawsmith.core.image import decode
from flawsmith.core.sample import GROUPS, Sample
from flawsmith.dataset.formats import FORMATS, HEALTHY, Format, ReadOptions, Target
from flawsmith.dataset.formats.loss import Loss, measure
from flawsmith.dataset.formats.source import flat_stems, numbered
from flawsmith.dataset.manifest import INFO, MANIFEST, Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset

_SPECK_PX = 4

Progress = Callable[[Iterable[Sample]], Iterable[Sample]]


@dataclass(frozen=True)
class Note:
    """A remark of a reader: what, how often, and where first."""

    what: str
    count: int
    first: str


@dataclass(frozen=True)
class LeftOut:
    """An image that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """What was imported. `out` is None where it was a rehearsal."""

    source: str
    format: str
    out: str | None
    images: int
    healthy: int
    unmarked: int  # defective images without a marked region
    labels: dict[str, int]
    kinds: dict[str, int]  # defects of each kind
    splits: dict[str, int]
    groups: dict[str, int]  # group key to number of different groups
    left_out: tuple[LeftOut, ...]
    notes: tuple[Note, ...]
    content_hash: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and what reading it back showed to be lost.

    loss:       as flawsmith reads the export
    elsewhere:  as programs read it that know nothing of flawsmith's own notes in it
    unmarked:   defective images without a marked region, which layouts of regions cannot tell from healthy ones
    """

    dataset: str
    format: str
    out: str
    images: int
    unmarked: int
    loses: str
    loss: Loss
    elsewhere: Loss

    @property
    def lossless(self) -> bool:
        return self.loss.none and self.elsewhere.none

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "lossless": self.lossless}


@dataclass
class _Tally:
    """Counts what passes by, and keeps what readers say."""

    samples: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {k: Counter() for k in _COUNTED})
    groups: dict[str, set[str]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)

    def count(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        for sample in samples:
            self.samples += 1
            self.counts["labels"][sample.label] += 1
            self.counts["kinds"].update(d.kind for d in sample.defects)
            self.counts["splits"][sample.split or "none"] += 1
            self.counts["health"]["healthy" if sample.healthy else "marked" if sample.defects else "unmarked"] += 1
            for key, value in sample.groups.items():
                self.groups.setdefault(key, set()).add(value)
            yield sample

    def note(self, what: str, where: str) -> None:
        known = self.notes.get(what, Note(what, 0, where))
        self.notes[what] = replace(known, count=known.count + 1)

    def leave_out(self, where: str, error: DataError) -> None:
        self.left_out.append(LeftOut(where, str(error)))


_COUNTED = ("labels", "kinds", "splits", "health")


def import_dataset(
    src: Path,
    out: Path | None,
    format: str = "auto",
    *,
    name: str | None = None,
    kind: str = "defect",
    healthy_labels: Iterable[str] = (),
    group: str | None = None,
    pixel_mm: float | None = None,
    licence: str | None = None,
    min_area_px: int = 0,
    number_block: int = 20,
    number_period: int = 0,
    overwrite: bool = False,
    on_bad: Literal["fail", "skip"] = "fail",
    progress: Progress = iter,
) -> ImportReport:
    """Read the folder `src` in one of `FORMATS` and write it as a data set folder.

    out:            None: read everything but the pixels, write nothing
    kind:           name for defects where the source gives none
    healthy_labels: class names that mean "no defect", in place of `HEALTHY`
    group:          regular expression with groups named part, lot, session or camera, searched in the source path
    pixel_mm:       edge of a pixel on the part, in mm
    min_area_px:    masked regions of fewer pixels are left out and counted; the image stays defective
    on_bad:         "skip" leaves out images that cannot be read and lists them in the report
    progress:       wraps the stream of samples, for a progress bar

    Raises `ConfigError` for a wrong option, `DataError` for a folder or file that cannot be used.

    >>> import_dataset(Path("photos"), Path("parts"), "mvtec").images     # doctest: +SKIP
    412
    """
    format = _chosen_format(src, format)
    if out is not None:
        _check_apart(src, out)
        check_free(out, overwrite, "data set")
    tally = _Tally()
    options = ReadOptions(
        healthy=tuple(healthy_labels) or HEALTHY,
        kind=kind,
        number_block=_at_least(1, number_block, "number_block"),
        number_period=_at_least(0, number_period, "number_period"),
        reject=tally.leave_out if on_bad == "skip" else _fail,
        note=tally.note,
    )
    samples = _unique(_grouped(FORMATS[format].read(src, options), group, tally))
    samples = _without_specks(samples, _at_least(0, min_area_px, "min_area_px"), tally)
    samples = progress(_some(tally.count(samples if out is None else _decoded(samples, options)), src, format, tally))
    if out is None:
        for _ in samples:
            pass
        return _import_report(src, format, None, tally)
    source = src.resolve().name
    info = validate(
        DatasetInfo,
        {
            "name": name or source,
            "pixel_mm": pixel_mm,
            "licence": licence or "unknown",
            "sources": (f"{format}: {source}",),
        },
        "import",
    )
    written = write_dataset(out, samples, info, overwrite).info
    if tally.left_out:
        written = written.model_copy(update={"left_out": len(tally.left_out)})
        write_json(out / INFO, written.model_dump(mode="json"))
    return _import_report(src, format, out, tally, written.content_hash)


def _some(samples: Iterable[Sample], src: Path, format: str, tally: _Tally) -> Iterator[Sample]:
    """The samples; `DataError` at the end where there was none, and for a folder that cannot be read."""
    try:
        yield from samples
    except OSError as error:  # else the folder being written would be blamed
        raise DataError(f"{error.filename or src} cannot be read: {error.strerror or error}") from error
    if tally.samples:
        return
    if tally.left_out:
        first = tally.left_out[0].reason
        raise DataError(f"{src}: none of its {len(tally.left_out)} images can be used; the first: {first}")
    raise DataError(f"{src} holds no images in the layout {format}: {FORMATS[format].recognise(src) or 'it is empty'}")


def _chosen_format(src: Path, format: str) -> str:
    _check_source(src)
    if format == "auto":
        return recognise(src)
    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r}.{nearest(format, ['auto', *FORMATS])}")
    return format


def _check_source(src: Path) -> None:
    if not src.exists():
        raise DataError(f"{src} does not exist; give the folder that holds the images")
    if not src.is_dir():
        raise DataError(f"{src} is a file; unpack it and give the folder")
    if (src / MANIFEST).is_file():
        raise DataError(f"{src} is a flawsmith data set already; use it as it is")


def recognise(src: Path) -> str:
    """The one format that fits. Raises `DataError` with a line per format when none does, with the candidates when
    several do, and for what is no folder of someone else's."""
    _check_source(src)
    reasons = {name: known.recognise(src) for name, known in FORMATS.items()}
    fits = [name for name, reason in reasons.items() if reason is None]
    fits = [name for name in fits if not set(FORMATS[name].yields_to) & set(fits)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise DataError(f"{src} could be any of {', '.join(fits)}; choose with --format")
    lines = "".join(f"\n  {name}: {reason}" for name, reason in reasons.items())
    raise DataError(f"{src} is none of the layouts that are read; choose with --format or rearrange it:{lines}")


def _check_apart(src: Path, out: Path) -> None:
    a, b = src.resolve(), out.resolve()
    if a.is_relative_to(b) or b.is_relative_to(a):
        raise ConfigError(f"the output {out} and the source {src} lie inside one another; choose another folder")


def _at_least(low: int, value: int, name: str) -> int:
    if value < low:
        raise ConfigError(f"{name} is {value}, wanted {low} or more")
    return value


def _fail(where: str, error: DataError) -> None:
    raise type(error)(f"{error} (--skip-bad leaves such images out)") from error


def _unique(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Ids that would collide (a.jpg beside a.png, names that differ in odd characters or case) are numbered."""
    taken: set[str] = set()
    for sample in samples:
        yield replace(sample, id=numbered(sample.id, taken))


def _grouped(samples: Iterable[Sample], group: str | None, tally: _Tally) -> Iterator[Sample]:
    if group is None:
        yield from samples
        return
    pattern = _compiled(group)
    missed: list[str] = []
    matched = 0
    for sample in samples:
        found = pattern.search(sample.source)
        named = {key: value for key, value in found.groupdict().items() if value is not None} if found else {}
        if named:
            matched += 1
        else:
            missed.append(sample.source)
            tally.note(f"images whose path does not match --group {group!r}", sample.source)
        yield replace(sample, groups={**sample.groups, **named})
    if missed and not matched:
        raise ConfigError(f"--group {group!r} matches no image path; it is searched in paths like {missed[0]!r}")


def _without_specks(samples: Iterable[Sample], min_area_px: int, tally: _Tally) -> Iterator[Sample]:
    for sample in samples:
        kept = tuple(d for d in sample.defects if d.mask is None or d.area_px >= min_area_px)
        for _ in range(len(sample.defects) - len(kept)):
            tally.note(f"regions of fewer than {min_area_px} px, left out", sample.source)
        if any(d.mask is not None and d.area_px < _SPECK_PX for d in kept):
            tally.note(
                f"images with regions of fewer than {_SPECK_PX} px; where they are specks: --min-area", sample.source
            )
        yield replace(sample, defects=kept)


def _compiled(group: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise ConfigError(f"--group {group!r} is no regular expression: {error}") from None
    unknown = [key for key in pattern.groupindex if key not in GROUPS]
    if unknown or not pattern.groupindex:
        wrong = f"names {unknown[0]!r}" if unknown else "names nothing"
        raise ConfigError(f"--group {group!r} {wrong}; wanted (?P<part>…), with part, lot, session or camera")
    return pattern


def _decoded(samples: Iterable[Sample], options: ReadOptions) -> Iterator[Sample]:
    """With pixels in memory, one at a time: a damaged image is met here, where it can be left out."""
    for sample in samples:
        if not isinstance(sample.pixels, Path):
            yield sample
            continue
        try:
            pixels = decode(sample.pixels)
        except DataError as error:
            options.reject(sample.source, error)
        else:
            yield replace(sample, pixels=pixels)


def _import_report(src: Path, format: str, out: Path | None, tally: _Tally, content_hash: str = "") -> ImportReport:
    ordered = {key: dict(sorted(counter.items())) for key, counter in tally.counts.items()}
    return ImportReport(
        source=str(src),
        format=format,
        out=str(out) if out else None,
        images=tally.samples,
        healthy=tally.counts["health"]["healthy"],
        unmarked=tally.counts["health"]["unmarked"],
        labels=ordered["labels"],
        kinds=ordered["kinds"],
        splits=ordered["splits"],
        groups={key: len(values) for key, values in sorted(tally.groups.items())},
        left_out=tuple(tally.left_out),
        notes=tuple(tally.notes.values()),
        content_hash=content_hash,
    )


def export_dataset(
    dataset: Dataset, out: Path, format: str, *, overwrite: bool = False, progress: Progress = iter
) -> ExportReport:
    """Write `dataset` in the layout `format`, read it back and measure what was lost.

    Raises `ConfigError` for a format that is not written, `DataError` for an empty data set.
    """
    writers = {name: known for name, known in FORMATS.items() if known.write}
    if format not in writers:
        raise ConfigError(f"format {format!r} is not written.{nearest(format, list(writers))}")
    if not len(dataset):
        raise DataError(f"{dataset.root} has no images to export")
    _check_apart(dataset.root, out)
    known = writers[format]
    with staged_folder(out, overwrite, "export") as stage:
        split = any(dataset.column("split"))
        target = Target(stage, dataset.classes, flat_stems(dataset.column("id")), split)
        assert known.write is not None
        paths = known.write(progress(dataset), target)
        loss = _measured(dataset, known, stage, paths, own_notes=True)
        elsewhere = _measured(dataset, known, stage, paths, own_notes=False) if known.own_notes else loss
    return ExportReport(
        dataset=str(dataset.root),
        format=format,
        out=str(out),
        images=len(dataset),
        unmarked=sum(not healthy and not marks for healthy, marks in _marks(dataset)),
        loses=known.loses,
        loss=loss,
        elsewhere=elsewhere,
    )


def _marks(dataset: Dataset) -> Iterable[tuple[bool, list]]:
    return zip(dataset.column("healthy"), dataset.column("defects"), strict=True)


def _measured(dataset: Dataset, known: Format, stage: Path, paths: dict[str, str], own_notes: bool) -> Loss:
    """Truth against the export as it is read, with or without flawsmith's own notes in it."""
    row = {sample_id: index for index, sample_id in enumerate(dataset.column("id"))}
    of_path = {path: sample_id for sample_id, path in paths.items()}

    def pairs() -> Iterator[tuple[Sample, Sample | None]]:
        for back in known.read(stage, ReadOptions(healthy=("good",), own_notes=own_notes)):
            yield dataset[row.pop(of_path[back.source])], back
        for index in row.values():
            yield dataset[index], None

    return measure(pairs())
