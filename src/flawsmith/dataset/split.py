"""Train, val and test: whole groups, stratified by image-level class and by kind of defect."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import SPLITS
from flawsmith.dataset.grouping import AUTO, Grouping, group_rows
from flawsmith.dataset.manifest import Dataset, replace_manifest
from flawsmith.dataset.stratify import deal

pc: Any = pyarrow.compute  # its annotations refuse plain values
TEST = SPLITS.index("test")


@dataclass(frozen=True)
class SplitRule:
    """How to split.

    group:     "auto", "none" or manifest columns, as in "part,session"; see `dataset.grouping`
    pattern:   a regular expression on the source file name, in place of `group`
    fractions: of the images, for train, val and test; a split with 0 stays empty
    keep_test: leave the test split as it is and share out the rest
    """

    group: str = AUTO
    pattern: str | None = None
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    seed: int = 0
    keep_test: bool = False

    def __post_init__(self) -> None:
        fair = all(0 <= part <= 1 for part in self.fractions) and abs(sum(self.fractions) - 1) < 1e-6
        if len(self.fractions) != len(SPLITS) or not fair or self.fractions[0] == 0:
            raise ConfigError(
                f"fractions {self.fractions}: wanted three numbers for train, val and test that add up to 1, "
                "train above 0; for example 0.6,0.2,0.2"
            )


@dataclass(frozen=True, eq=False)
class SplitPlan:
    """`splits` int64 (N,): index into `SPLITS`, -1 for none. `grouping` numbers the groups."""

    splits: np.ndarray
    grouping: Grouping
    remarks: tuple[str, ...] = ()


def plan_split(dataset: Dataset, rule: SplitRule, alike: Callable[[], np.ndarray] | None = None) -> SplitPlan:
    """Decide the split of every image; nothing is written. The same images, rule and seed give the same splits.

    Every class that at least three groups hold comes into every split, where the groups allow it. `alike` as in
    `dataset.grouping.group_rows`. Raises `DataError` where there are fewer groups than splits.
    """
    grouping = group_rows(dataset, rule.group, rule.pattern, alike)
    numbers = _canonical(dataset.table["id"], grouping.numbers)
    splits = np.full(len(dataset), -1, np.int64)
    active = np.flatnonzero(np.array(rule.fractions) > 0)
    free, remarks = np.ones(len(dataset), bool), list(grouping.remarks)
    if rule.keep_test:
        free, remark = _keep_test(dataset, numbers, splits)
        active = active[active != TEST]
        remarks += remark
    fractions = np.array(rule.fractions)[active]
    if not fractions.size:
        raise ConfigError("--keep-test leaves nothing to share out: give train or val a fraction above 0")
    groups = np.unique(numbers[free], return_inverse=True)[1]
    if groups.max(initial=-1) + 1 < len(active):
        raise DataError(
            f"{dataset.root}: {groups.max(initial=-1) + 1} groups by {grouping.name} for {len(active)} splits; "
            "choose another --group, or give a split the fraction 0"
        )
    membership, names = membership_of(dataset.table)
    rows = np.flatnonzero(free)
    counts, kind_of, holders = _kinds_of_groups(groups, rows, membership, len(names))
    dealt = deal(counts, kind_of, fractions / fractions.sum(), np.random.default_rng(rule.seed))
    splits[rows] = active[dealt[groups]]
    remarks += [
        f"{name!r} is in {count} group{'s' if count > 1 else ''} only: it cannot be in every split"
        for name, count in zip(names, holders, strict=True)
        if 0 < count < len(active)
    ]
    return SplitPlan(splits, Grouping(numbers, grouping.name), tuple(remarks))


def with_splits(dataset: Dataset, plan: SplitPlan) -> Dataset:
    """The data set as the plan has it; nothing is written."""
    names = pc.take(pa.array(SPLITS), pa.array(plan.splits, mask=plan.splits < 0))
    table = dataset.table.set_column(dataset.table.schema.get_field_index("split"), "split", names)
    return Dataset(dataset.root, dataset.info, table)


def save_split(dataset: Dataset, plan: SplitPlan) -> Dataset:
    """Write the splits into the manifest, at once: an interruption leaves the old one.

    Raises `DataError` for a part of a data set, whose other rows would be lost.
    """
    if len(dataset) != dataset.info.images:
        raise DataError(
            f"{len(dataset)} of the {dataset.info.images} images of {dataset.root}: split the whole data set"
        )
    changed = with_splits(dataset, plan)
    replace_manifest(dataset.root, changed.table)
    return changed


def _canonical(ids: pa.ChunkedArray, numbers: np.ndarray) -> np.ndarray:
    """Groups numbered by their smallest id, so that the order of the rows does not matter."""
    order = pc.sort_indices(ids).to_numpy()
    _, first, inverse = np.unique(numbers[order], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result = np.empty_like(numbers)
    result[order] = rank[inverse]
    return result


def _keep_test(dataset: Dataset, numbers: np.ndarray, splits: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Rows that are free to be split; images that share a group with the test split get none."""
    test = pc.fill_null(pc.equal(dataset.table["split"], "test"), pa.scalar(False)).to_numpy()
    if not test.any():
        raise DataError(f"{dataset.root} has no test split to keep; leave out --keep-test")
    splits[test] = TEST
    related = np.isin(numbers, numbers[test])
    beside = int((related & ~test).sum())
    said = [f"{beside} images share a group with the test split: they are left without a split"] if beside else []
    return ~related, said


def membership_of(table: pa.Table) -> tuple[np.ndarray, list[str]]:
    """(M, 2) pairs of row and class, each once, and the classes: labels, kinds of defect, and "images" last.

    A label and a kind of one name are one class.
    """
    labels, names = _encoded(table["label"])
    defects: Any = table["defects"].combine_chunks()
    rows = pc.list_parent_indices(defects).to_numpy()
    kinds, kind_names = _encoded(pc.struct_field(pc.list_flatten(defects), "kind"))
    names += [name for name in kind_names if name not in names]
    class_of_kind = np.array([names.index(name) for name in kind_names], np.int64)
    every, width = np.arange(len(table)), len(names) + 1
    pairs = [(every, labels), (rows, class_of_kind[kinds]), (every, np.full(len(table), len(names)))]
    flat = np.sort(np.concatenate([row * width + column for row, column in pairs]))
    flat = flat[np.diff(flat, prepend=-1) > 0]  # sorting is far faster than np.unique's hashing on a million rows
    return np.stack(np.divmod(flat, width), axis=1), [*names, "images"]


def _encoded(column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, list[str]]:
    """Index into the sorted names, and the names."""
    names = pc.unique(column)
    names = pc.take(names, pc.array_sort_indices(names))
    return pc.index_in(column, value_set=names).to_numpy().astype(np.int64), [str(name) for name in names.to_pylist()]


def _kinds_of_groups(
    groups: np.ndarray, rows: np.ndarray, membership: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups with the same counts are of one kind: (M, K) its counts, (G,) the kind of each group, (K,) holders."""
    group_of_row = np.full(int(membership[:, 0].max(initial=0)) + 1, -1)
    group_of_row[rows] = groups
    group = group_of_row[membership[:, 0]]
    flat, counts = np.unique((group * width + membership[:, 1])[group >= 0], return_counts=True)
    group, column = np.divmod(flat, width)
    # A random number per class makes a fingerprint of the counts; 64 bits do not collide in practice.
    salt = np.random.default_rng(0).integers(1, 2**63, width, dtype=np.uint64)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    prints = np.add.reduceat(counts.astype(np.uint64) * salt[column], starts)
    _, first, kind_of = np.unique(prints, return_index=True, return_inverse=True)
    table = np.zeros((len(first), width), np.int64)
    kind_row = np.full(len(starts), -1)
    kind_row[first] = np.arange(len(first))
    chosen = kind_row[group] >= 0
    table[kind_row[group[chosen]], column[chosen]] = counts[chosen]
    return table, kind_of, np.bincount(column, minlength=width)
