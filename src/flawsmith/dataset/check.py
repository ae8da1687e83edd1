"""Is this data set fit to train and to judge with? Findings with file names, what they mean and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from flawsmith.core.errors import ConfigError
from flawsmith.core.sample import SPLITS
from flawsmith.dataset.check_files import Track, file_findings
from flawsmith.dataset.check_rows import row_findings, set_findings
from flawsmith.dataset.duplicates import (
    NEAR_BITS,
    NEAR_CORRELATION,
    Pairs,
    Structures,
    candidates,
    codes,
    correlations,
)
from flawsmith.dataset.findings import LISTED, Finding
from flawsmith.dataset.manifest import Dataset

pc: Any = pyarrow.compute  # its annotations refuse plain values
MAX_NEAR = 8  # bits; beyond that the search has to compare nearly everything with everything


@dataclass(frozen=True)
class CheckReport:
    """`pixels`: whether files were read, or the manifest alone. Errors come first, then notes."""

    images: int
    pixels: bool
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "pixels_read": self.pixels,
            "passed": not self.errors,
            "errors": self.errors,
            "notes": len(self.findings) - self.errors,
            "findings": [finding.as_json() for finding in self.findings],
        }


def check_dataset(dataset: Dataset, near: int = NEAR_BITS, pixels: bool = True, track: Track = iter) -> CheckReport:
    """Check the manifest and, with `pixels`, every file.

    near: how many of 64 hash bits may differ in near duplicates, 0 to 8. With `pixels` such pairs count only when
          their fine structure agrees as well; without, they are notes.
    """
    if not 0 <= near <= MAX_NEAR:
        raise ConfigError(f"--near {near}: wanted 0 to {MAX_NEAR} differing bits")
    findings = list(row_findings(dataset))
    pairs = candidates(dataset.table, near)
    structures: Structures | None = None
    if pixels:
        broken, structures = file_findings(dataset, np.unique(pairs.rows), track)
        findings += broken
    findings += _exact_duplicates(dataset.table)
    findings += _near_duplicates(dataset.table, pairs, structures)
    findings += set_findings(dataset)
    findings.sort(key=lambda finding: finding.severity)
    return CheckReport(len(dataset), pixels, tuple(findings))


def _exact_duplicates(table: pa.Table) -> Iterator[Finding]:
    content = codes(table["sha256"])
    split = _splits(table)
    order = np.lexsort((split, content))
    repeated = np.bincount(content)[content[order]] > 1
    if not repeated.any():
        return
    rows, label = order[repeated], codes(table["label"])
    starts = np.flatnonzero(np.diff(content[rows], prepend=-1))
    said: dict[str, list[np.ndarray]] = {"duplicate-contradiction": [], "duplicate-across-splits": [], "duplicate": []}
    for alike in np.split(rows, starts[1:]):
        if len(set(label[alike].tolist())) > 1:
            said["duplicate-contradiction"].append(alike)
        if len(set(split[alike].tolist()) - {-1}) > 1:
            said["duplicate-across-splits"].append(alike)
        elif len(set(label[alike].tolist())) == 1:
            said["duplicate"].append(alike)
    for code, found in said.items():
        if found:
            yield Finding(code, len(found), _named(table, found))


def _near_duplicates(table: pa.Table, pairs: Pairs, structures: Structures | None) -> Iterator[Finding]:
    rows, word = pairs.rows, "near-hash"
    if structures is not None:
        readable = [row for row, structure in structures.items() if structure is not None]
        rows = rows[np.isin(rows, readable).all(axis=1)]
        rows, word = rows[correlations(structures, rows) >= NEAR_CORRELATION], "near"
    splits = _splits(table)[rows]
    across = (splits[:, 0] != splits[:, 1]) & (splits >= 0).all(axis=1)
    for code, found in (
        (f"{word}-across-splits", rows[across]),
        ("near-duplicate" if word == "near" else word, rows[~across]),
    ):
        if len(found):
            yield Finding(code, len(found), _named(table, list(found[:LISTED])))
    if pairs.cut:
        yield Finding("near-cut", pairs.cut, (f"{pairs.cut} sets of look-alikes",))


def _splits(table: pa.Table) -> np.ndarray:
    """int64 (N,); -1 where there is none."""
    return pc.fill_null(pc.index_in(table["split"], value_set=pa.array(SPLITS)), -1).to_numpy().astype(np.int64)


def _named(table: pa.Table, sets: list[np.ndarray]) -> tuple[str, ...]:
    """Each set of rows as its file names with their splits and labels."""
    return tuple(" = ".join(_name(table, row) for row in rows[:10].tolist()) for rows in sets[:LISTED])


def _name(table: pa.Table, row: int) -> str:
    split, label = table["split"][row].as_py(), table["label"][row].as_py()
    return f"{table['file_name'][row].as_py()} ({', '.join(filter(None, (split, label)))})"
