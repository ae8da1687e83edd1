"""Findings from the manifest alone: columns against each other, without a look at any file."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from flawsmith.core.sample import GROUPS, SPLITS
from flawsmith.dataset.duplicates import codes
from flawsmith.dataset.findings import LISTED, Finding
from flawsmith.dataset.grouping import default_columns
from flawsmith.dataset.manifest import Dataset
from flawsmith.dataset.split import membership_of

pc: Any = pyarrow.compute  # its annotations refuse plain values
_NO_LABEL = ("", "nan", "none", "null", "n/a")
_FEW_IMAGES, _IMBALANCE, _TINY_PX = 10, 20, 10
_DEFECT_NUMBERS = ("x0", "y0", "x1", "y1", "area_px", "layer")
_NEEDED = ("file_name", "id", "sha256", "width", "height", "channels", "bit_depth")


def row_findings(dataset: Dataset) -> Iterator[Finding]:
    """Everything that is wrong with single rows and their defects."""
    table = dataset.table
    if not len(table):
        yield Finding("empty", 1, (str(dataset.root),))
        return
    if dataset.info.content_hash and dataset.info.content_hash != dataset.content_hash:
        yield Finding("content-hash", 1, (str(dataset.root),))
    yield from _of_names(table)
    yield from _of_labels(table)
    yield from _of_defects(dataset)


def set_findings(dataset: Dataset) -> Iterator[Finding]:
    """Everything that concerns the data set as a whole: splits, groups, balance, mixtures."""
    if not len(dataset):
        return
    yield from _of_splits(dataset.table)
    yield from _of_groups(dataset.table)
    yield from _of_balance(dataset.table)
    yield from _of_mixtures(dataset.table)


def found(code: str, table: pa.Table, bad: Any, seen: pa.ChunkedArray | None = None) -> Iterator[Finding]:
    """A finding on the rows where `bad` is true; `seen` is the column that shows it."""
    rows = np.flatnonzero(_bools(bad))
    if rows.size:
        yield Finding(code, len(rows), _places(table, rows, seen))


def _places(table: pa.Table, rows: np.ndarray, seen: pa.ChunkedArray | None = None) -> tuple[str, ...]:
    picked = pa.array(rows[:LISTED])
    names = pc.take(table["file_name"], picked).to_pylist()
    if seen is None:
        return tuple(str(name) for name in names)
    return tuple(f"{name}: {value}" for name, value in zip(names, pc.take(seen, picked).to_pylist(), strict=True))


def _bools(mask: Any) -> np.ndarray:
    """A null counts as true: what is not known is not right."""
    return mask if isinstance(mask, np.ndarray) else pc.fill_null(mask, True).to_numpy(zero_copy_only=False)


def _of_names(table: pa.Table) -> Iterator[Finding]:
    missing = np.zeros(len(table), bool)
    for name in _NEEDED:
        missing |= table[name].is_null().to_numpy()
    yield from found("incomplete-row", table, missing)
    twice = np.zeros(len(table), bool)
    for name in ("id", "file_name"):
        numbers = codes(pc.utf8_lower(table[name]))
        twice |= np.bincount(numbers)[numbers] > 1
    yield from found("same-id", table, twice)
    leaves = pc.match_substring_regex(table["file_name"], r"^/|^[A-Za-z]:|\\|(^|/)\.\.(/|$)")
    yield from found("outside-path", table, leaves)


def _of_labels(table: pa.Table) -> Iterator[Finding]:
    label = pc.utf8_lower(pc.utf8_trim_whitespace(table["label"]))
    unlabelled = pc.is_in(label, value_set=pa.array(_NO_LABEL)).to_numpy() | table["label"].is_null().to_numpy()
    yield from found("no-label", table, unlabelled | table["healthy"].is_null().to_numpy(), table["label"])
    healthy = pc.fill_null(table["healthy"], False).to_numpy()
    defective = pc.fill_null(pc.invert(table["healthy"]), False).to_numpy()
    marked = pc.fill_null(pc.greater(pc.list_value_length(table["defects"]), 0), False).to_numpy()
    good = pc.fill_null(pc.equal(label, "good"), False).to_numpy()
    yield from found("healthy-with-defects", table, healthy & marked)
    against = (good & defective) | (~good & healthy & ~marked & ~unlabelled)
    yield from found("label-against-health", table, against, table["label"])
    yield from found("no-region", table, defective & ~marked)


def _of_defects(dataset: Dataset) -> Iterator[Finding]:
    table = dataset.table
    defects: Any = table["defects"].combine_chunks()
    rows, every = pc.list_parent_indices(defects).to_numpy(), pc.list_flatten(defects)
    value = {name: pc.fill_null(pc.struct_field(every, name), -9).to_numpy() for name in _DEFECT_NUMBERS}
    width, height = (pc.fill_null(table[name], 2**31 - 1).to_numpy()[rows] for name in ("width", "height"))
    across, down = value["x1"] - value["x0"], value["y1"] - value["y0"]
    outside = (value["x0"] < 0) | (value["y0"] < 0) | (across < 1) | (down < 1)
    outside |= (value["x1"] > width) | (value["y1"] > height)
    layers = pc.fill_null(pc.list_value_length(table["masks"]), 0).to_numpy()[rows]
    area, layer = value["area_px"], value["layer"]
    wrong = (area < 1) | (area > across.astype(np.int64) * down) | (layer < -1) | (layer >= layers)
    known = pc.is_in(pc.struct_field(every, "kind"), value_set=pa.array(dataset.classes, pa.string()))
    strange = ~known.to_numpy(zero_copy_only=False)
    tiny = (area > 0) & (area < _TINY_PX)
    wrong &= ~outside
    for code, bad in (("bad-box", outside), ("bad-area", wrong), ("unknown-kind", strange), ("tiny-region", tiny)):
        at = np.flatnonzero(bad)
        if at.size:
            names = pc.take(table["file_name"], pa.array(rows[at[:LISTED]])).to_pylist()
            seen = map(_described, pc.take(every, pa.array(at[:LISTED])).to_pylist())
            yield Finding(code, len(at), tuple(f"{name}: {what}" for name, what in zip(names, seen, strict=True)))


def _described(defect: dict[str, Any]) -> str:
    box = ", ".join(str(defect[edge]) for edge in ("x0", "y0", "x1", "y1"))
    return f"{defect['kind']!r} box ({box}) area {defect['area_px']} layer {defect['layer']}"


def _of_splits(table: pa.Table) -> Iterator[Finding]:
    split = table["split"]
    yield from found("unknown-split", table, pc.invert(pc.is_in(split, value_set=pa.array([*SPLITS, None]))), split)
    yield from found("unsplit", table, split.is_null())


def _of_groups(table: pa.Table) -> Iterator[Finding]:
    splits = pc.index_in(table["split"], value_set=pa.array(SPLITS))
    has, splits = splits.is_valid().to_numpy(), pc.fill_null(splits, 0).to_numpy()
    kept_whole = default_columns(table)
    for name in GROUPS:
        if table[name].null_count == len(table):
            continue
        numbers = codes(table[name])
        met = np.unique(numbers[has] * len(SPLITS) + splits[has])
        crossing = np.bincount(met // len(SPLITS)) > 1
        if crossing.any():
            where = _crossings(table[name], numbers, met, crossing)
            code = "group-across-splits" if name in kept_whole else "coarse-group-across-splits"
            yield Finding(code, int(crossing.sum()), tuple(f"{name} {text}" for text in where))


def _crossings(column: pa.ChunkedArray, numbers: np.ndarray, met: np.ndarray, crossing: np.ndarray) -> Iterator[str]:
    for number in np.flatnonzero(crossing)[:LISTED].tolist():
        splits = [SPLITS[code % len(SPLITS)] for code in met[met // len(SPLITS) == number]]
        yield f"{column[int(np.argmax(numbers == number))].as_py()}: {', '.join(splits)}"


def _of_balance(table: pa.Table) -> Iterator[Finding]:
    if not pc.any(pc.fill_null(table["healthy"], True)).as_py():
        yield Finding("no-healthy", 1, ("the whole data set",))
    membership, names = membership_of(table)
    images = np.bincount(membership[:, 1], minlength=len(names))[:-1]
    classes = list(zip(names, images.tolist(), strict=False))
    few = [f"{name}: {count}" for name, count in classes if count < _FEW_IMAGES]
    rare = [f"{name}: {count} of {images.max()}" for name, count in classes if count * _IMBALANCE < images.max()]
    absent = list(_absent_classes(table, membership, names))
    for code, where in (("few-images", few), ("imbalance", rare), ("class-not-in-split", absent)):
        if where:
            yield Finding(code, len(where), tuple(where[:LISTED]))


def _absent_classes(table: pa.Table, membership: np.ndarray, names: list[str]) -> Iterator[str]:
    for split in SPLITS:
        rows = pc.fill_null(pc.equal(table["split"], split), False).to_numpy()
        there = np.bincount(membership[rows[membership[:, 0]], 1], minlength=len(names))
        if there[-1]:
            yield from (f"{name}: {split}" for name, count in zip(names, there, strict=True) if not count)


def _of_mixtures(table: pa.Table) -> Iterator[Finding]:
    for column, code in (("bit_depth", "mixed-depth"), ("channels", "mixed-channels"), ("pixel_mm", "mixed-scale")):
        counts = pc.value_counts(table[column]).to_pylist()
        if len(counts) > 1:
            where = tuple(f"{entry['values']}: {entry['counts']} images" for entry in counts[:LISTED])
            yield Finding(code, len(counts), where)
