"""Which images belong together: by the manifest's columns, by a pattern on the file name, or by likeness."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import GROUPS
from flawsmith.dataset.duplicates import chained, codes, joined
from flawsmith.dataset.manifest import Dataset

MIN_GROUPS = 10  # a further column may join groups as long as so many remain,
MAX_SHARE = 0.2  # none of them with more of the images
AUTO, NONE = "auto", "none"


@dataclass(frozen=True, eq=False)
class Grouping:
    """`numbers` int64 (N,): images with one number stay together. `name` says by what, `remarks` what to know."""

    numbers: np.ndarray
    name: str
    remarks: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return int(self.numbers.max(initial=-1)) + 1


def group_rows(
    dataset: Dataset, key: str = AUTO, pattern: str | None = None, alike: Callable[[], np.ndarray] | None = None
) -> Grouping:
    """Groups by `key` ("auto", "none", or columns as in "part,session") or by `pattern` on the source file name.

    Images with the same content always share a group. `alike` gives (P, 2) rows that look alike; it is asked only
    under "auto" when no column is filled. Raises `ConfigError` for an unknown column or a wrong pattern, `DataError`
    where the pattern finds nothing or the column is empty.
    """
    if pattern is not None:
        grouping = Grouping(_by_pattern(dataset, pattern), f"pattern {pattern}")
    elif key == NONE:
        grouping = Grouping(np.arange(len(dataset)), "image")
    elif key == AUTO:
        grouping = _by_default(dataset, alike)
    else:
        grouping = _by_columns(dataset, key.split(","))
    same = chained(codes(dataset.table["sha256"]))
    numbers = joined(len(dataset), chained(grouping.numbers), same)
    return Grouping(numbers, grouping.name, grouping.remarks)


def default_columns(table: pa.Table) -> tuple[str, ...]:
    """The group columns that a split by default respects.

    The first filled one of part, lot, session, camera; then each further one as long as it does not join so many
    images that no balanced split remains (a lot, but hardly the only camera).
    """
    chosen: tuple[str, ...] = ()
    links = np.empty((0, 2), np.int64)
    for name in GROUPS:
        if table[name].null_count == len(table):
            continue
        more = np.concatenate([links, chained(codes(table[name]))])
        sizes = np.bincount(joined(len(table), more))
        enough = len(sizes) >= 3 if not chosen else len(sizes) >= MIN_GROUPS and sizes.max() <= MAX_SHARE * len(table)
        if enough:
            chosen, links = (*chosen, name), more
    return chosen


def _by_default(dataset: Dataset, alike: Callable[[], np.ndarray] | None) -> Grouping:
    table = dataset.table
    columns = default_columns(table)
    filled = [name for name in GROUPS if table[name].null_count < len(table)]
    passed = [name for name in filled if name not in columns]
    remarks = [f"{name} is passed over: it would join too many images" for name in passed]
    if columns:
        grouping = _by_columns(dataset, columns)
        return Grouping(grouping.numbers, grouping.name, (*remarks, *grouping.remarks))
    numbers = joined(len(dataset), alike() if alike else np.empty((0, 2), np.int64))
    why = (
        "none of part, lot, session and camera tells the images apart"
        if filled
        else ("none of part, lot, session and camera is filled")
    )
    remarks.append(
        f"{why}: only images that look alike are kept together. Where several images show one part, "
        "name it: --group-regex 'part(\\d+)'; where each shows another: --group none"
    )
    return Grouping(numbers, "likeness", tuple(remarks))


def _by_columns(dataset: Dataset, names: Sequence[str]) -> Grouping:
    links, remarks = [], []
    for name in names:
        if name not in GROUPS:
            raise ConfigError(
                f"--group {name!r}: wanted auto, none or columns of {', '.join(GROUPS)}, joined by commas"
            )
        column = dataset.table[name]
        if column.null_count == len(dataset):
            raise DataError(f"{dataset.root}: no image has a {name}; choose another --group or use --group-regex")
        if column.null_count:
            remarks.append(f"{column.null_count} images have no {name}: each is a group of its own")
        links.append(chained(codes(column)))
    return Grouping(joined(len(dataset), *links), ",".join(names), tuple(remarks))


def _by_pattern(dataset: Dataset, pattern: str) -> np.ndarray:
    """The first capture groups of the match in `source` (or the id), or the whole match where there are none."""
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ConfigError(f"--group-regex {pattern!r} is no regular expression: {error}") from None
    found, missed = [], []
    for source, identity in zip(dataset.column("source"), dataset.column("id"), strict=True):
        name = source or identity
        match = search(name)
        found.append(None if match is None else "\0".join(part or "" for part in match.groups() or (match[0],)))
        if match is None:
            missed.append(name)
    if missed:
        raise DataError(
            f"--group-regex {pattern!r} finds nothing in {len(missed)} of {len(found)} file names, as {missed[0]!r}"
        )
    return codes(pa.chunked_array([pa.array(found, pa.string())]))
