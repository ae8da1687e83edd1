"""A data set in figures, from the manifest alone."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from flawsmith.core.sample import GROUPS, SPLITS
from flawsmith.dataset.manifest import Dataset

pc: Any = pyarrow.compute  # its annotations refuse plain values
NO_SPLIT = "none"
_PIXEL_SIZES = 4  # that are listed one by one
_SIZE_EDGES = (0, 10, 100, 1000, 10_000, 100_000)


@dataclass(frozen=True)
class Part:
    """Figures of one split, or of everything. `groups` is None where no grouping is known."""

    images: int
    healthy: int
    defective: int
    without_region: int
    defects: int
    labels: dict[str, int]
    kinds: dict[str, int]
    groups: int | None = None


@dataclass(frozen=True)
class Summary:
    """What `dataset info` shows. Counts are of images unless they say otherwise.

    splits:       by split in use, in the order of the path
    defect_sizes: defects by kind and area in pixels
    image_sizes:  by "width x height", the most frequent first
    groups:       distinct values of each filled group column
    """

    name: str
    images: int
    splits: dict[str, Part]
    total: Part
    provenance: dict[str, int]
    image_sizes: dict[str, int]
    bit_depths: dict[str, int]
    channels: dict[str, int]
    defect_sizes: dict[str, dict[str, int]]
    groups: dict[str, int]
    pixel_mm: dict[str, int]
    content_hash: str
    licence: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(dataset: Dataset) -> Summary:
    """Count everything once; a million rows take seconds."""
    table, info = dataset.table, dataset.info
    return Summary(
        name=info.name,
        images=len(table),
        splits=by_split(table),
        total=part_of(table),
        provenance=counted(table["provenance"]),
        image_sizes=_sizes(table),
        bit_depths=counted(table["bit_depth"]),
        channels=counted(table["channels"]),
        defect_sizes=_defect_sizes(table),
        groups={
            name: len(pc.unique(table[name].drop_null())) for name in GROUPS if table[name].null_count < len(table)
        },
        pixel_mm=_pixel_sizes(pc.fill_null(table["pixel_mm"], info.pixel_mm or 0.0).to_numpy()),
        content_hash=info.content_hash,
        licence=info.licence,
    )


def _pixel_sizes(values: np.ndarray) -> dict[str, int]:
    """Images by edge of a pixel in mm; one range where there are many, as with cameras that move."""
    sizes, counts = np.unique(values[values > 0], return_counts=True)
    found = {f"{size:g}": int(count) for size, count in zip(sizes, counts, strict=True)}
    if len(found) > _PIXEL_SIZES:
        found = {f"{sizes[0]:.4g} … {sizes[-1]:.4g}": int(counts.sum())}
    unknown = len(values) - int(counts.sum())
    return found | ({"unknown": unknown} if unknown else {})


def by_split(table: pa.Table, groups: np.ndarray | None = None) -> dict[str, Part]:
    """Figures of each split that has images; `groups` int64 (N,) numbers each image's group."""
    parts = {}
    split, table = pc.fill_null(table["split"], NO_SPLIT), table.select(["label", "healthy", "defects"])
    others = sorted(set(pc.unique(split).to_pylist()) - {*SPLITS, NO_SPLIT})
    for name in (*SPLITS, *others, NO_SPLIT):
        rows = pc.equal(split, name)
        if pc.any(rows).as_py():
            parts[name] = part_of(table.filter(rows), None if groups is None else groups[rows.to_numpy()])
    return parts


def part_of(table: pa.Table, groups: np.ndarray | None = None) -> Part:
    defects = pc.list_flatten(table["defects"])
    healthy = pc.fill_null(table["healthy"], False).to_numpy()
    marked = pc.fill_null(pc.greater(pc.list_value_length(table["defects"]), 0), False).to_numpy()
    return Part(
        images=len(table),
        healthy=int(healthy.sum()),
        defective=int((~healthy).sum()),
        without_region=int((~healthy & ~marked).sum()),
        defects=len(defects),
        labels=counted(table["label"]),
        kinds=counted(pc.struct_field(defects, "kind")),
        groups=None if groups is None else len(np.unique(groups)),
    )


def counted(column: Any) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    entries = [(str(entry["values"]), entry["counts"]) for entry in pc.value_counts(column).to_pylist()]
    return _ranked(entries)


def _ranked(entries: Iterable[tuple[str, int]]) -> dict[str, int]:
    return dict(sorted(entries, key=lambda entry: (-entry[1], entry[0])))


def _sizes(table: pa.Table) -> dict[str, int]:
    pairs = table.group_by(["width", "height"]).aggregate([([], "count_all")]).to_pylist()
    return _ranked((f"{pair['width']}x{pair['height']}", pair["count_all"]) for pair in pairs)


def _defect_sizes(table: pa.Table) -> dict[str, dict[str, int]]:
    defects = pc.list_flatten(table["defects"])
    kinds, areas = pc.struct_field(defects, "kind"), pc.struct_field(defects, "area_px")
    sizes = {}
    for kind in sorted(pc.unique(kinds).to_pylist(), key=str):
        own = areas.filter(pc.equal(kinds, kind)).to_numpy()
        counts = np.histogram(own, bins=(*_SIZE_EDGES, np.inf))[0]
        sizes[str(kind)] = dict(zip(size_names(), counts.tolist(), strict=True))
    return sizes


def size_names() -> list[str]:
    """The bins of `defect_sizes`, as "10-99 px"."""
    return [f"{low}-{high - 1} px" for low, high in pairwise(_SIZE_EDGES)] + [f"{_SIZE_EDGES[-1]}+ px"]
