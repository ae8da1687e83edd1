"""Exact and near duplicates: candidates from the manifest's 64-bit difference hashes, confirmed on pixels.

Hashes within a few bits are found by locality-sensitive hashing (Indyk and Motwani, 1998): the bits are cut into
bands, and two hashes that differ in d bits agree in all but d of the bands. A hash sees little but the light, so unlike
surfaces collide: of 660 pictures of steel (NEU-DET), 809 pairs lie within 4 bits and none is a duplicate. A candidate
therefore counts only when the fine structure of both pictures agrees as well.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from flawsmith.core.errors import DataError
from flawsmith.core.image import decode, to_channels, to_uint8
from flawsmith.dataset.manifest import Dataset
from flawsmith.dataset.threads import in_threads

pc: Any = pyarrow.compute  # its annotations refuse plain values
Progress = Callable[[Sequence[int]], Iterable[int]]
Structures = dict[int, np.ndarray | None]  # by row; None where the image cannot be read
NEAR_BITS = 4
# Same picture, another exposure or compression: 0.9 and more. At 0.8 different castings of one mould begin to agree.
NEAR_CORRELATION = 0.9
PER_HASH = 16
COMPARISONS = 20_000_000  # for each key: what bounds the time on a million look-alikes
MOST_PAIRS = 2_000_000  # and the memory
_THUMB_PX, _SMOOTH_PX = 48, 2.0


@dataclass(frozen=True, eq=False)
class Pairs:
    """`rows` int64 (P, 2): rows whose hashes are near; `cut`: buckets too full to compare every pair in them."""

    rows: np.ndarray
    cut: int = 0


def codes(column: pa.ChunkedArray) -> np.ndarray:
    """int64 (N,): equal values get equal numbers; a null is like nothing else."""
    encoded: Any = column.dictionary_encode().combine_chunks()
    numbers = pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
    nulls = numbers < 0
    numbers[nulls] = len(encoded.dictionary) + np.arange(nulls.sum())
    return numbers


def joined(count: int, *links: np.ndarray) -> np.ndarray:
    """int64 (count,): rows that are linked, directly or by others, share a number. A link is (P, 2) rows."""
    rows = np.concatenate([np.empty((0, 2), np.int64), *links])
    graph = coo_array((np.ones(len(rows), bool), (rows[:, 0], rows[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def chained(numbers: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """(P, 2) rows: each row linked to the next one, in `order`, that has its number."""
    order = np.argsort(numbers, kind="stable") if order is None else order
    same = numbers[order[1:]] == numbers[order[:-1]]
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def near_pairs(hashes: np.ndarray, parts: np.ndarray, bits: int = NEAR_BITS, bucket: int | None = None) -> Pairs:
    """Pairs of uint64 `hashes` that differ in at most `bits`.

    Of many rows with one hash the first few of each part (split) are compared with everything; the rest are only
    chained to them, so that a million alike rows stay a million pairs.
    """
    order = np.lexsort((parts, hashes))
    starts = np.ones(len(order), bool)
    starts[1:] = (hashes[order[1:]] != hashes[order[:-1]]) | (parts[order[1:]] != parts[order[:-1]])
    run = np.arange(len(order)) - np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    nodes = order[run < PER_HASH]
    values, bucket = hashes[nodes], bucket or max(16, min(512, COMPARISONS // max(len(nodes), 1)))
    keys, cut = np.empty(0, np.int64), 0
    for mask in _masks(bits, len(values)):
        left, right, over = _near_in_buckets(values, mask, bits, bucket)
        keys = np.sort(np.concatenate([keys, left * len(values) + right]))
        keys = keys[np.diff(keys, prepend=-1) > 0]
        cut += over
        if len(keys) > MOST_PAIRS:
            cut += 1
            break
    found = nodes[np.stack(np.divmod(keys, max(len(values), 1)), axis=1)]
    chain = np.stack([order[:-1], order[1:]], axis=1)[run[1:] >= PER_HASH]
    return Pairs(np.concatenate([found, chain]), cut)


def _masks(bits: int, count: int) -> Iterator[np.uint64]:
    """Keys of which two hashes within `bits` share at least one; wide enough to tell `count` hashes apart."""
    wanted = min(math.log2(count + 1), 26)
    agree = next(m for m in range(1, 65) if 64 * m // (bits + m) >= wanted or bits + m == 64)
    edges = np.linspace(0, 64, bits + agree + 1).round().astype(int)
    bands = [sum(1 << bit for bit in range(int(low), int(high))) for low, high in pairwise(edges)]
    for chosen in combinations(bands, agree):
        yield np.uint64(sum(chosen))


def _near_in_buckets(values: np.ndarray, mask: np.uint64, bits: int, bucket: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Near pairs, smaller index first, among equal `values & mask`; and how many buckets were cut.

    Each value is compared with at most `bucket` followers, so that time and memory stay bounded.
    """
    order = np.argsort(values & mask, kind="stable")
    values = values[order]
    keys, at = values & mask, np.arange(len(values))
    left, right, found = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for step in range(1, bucket + 1):
        at = at[at < len(keys) - step]
        at = at[keys[at] == keys[at + step]]
        if not at.size:
            break
        near = at[np.bitwise_count(values[at] ^ values[at + step]) <= bits]
        left.append(near)
        right.append(near + step)
        found += len(near)
        if found > MOST_PAIRS:
            break
    i, j = order[np.concatenate(left)], order[np.concatenate(right)]
    return np.minimum(i, j), np.maximum(i, j), 1 + int((np.diff(np.sort(keys[at])) > 0).sum()) if at.size else 0


def candidates(table: pa.Table, bits: int = NEAR_BITS) -> Pairs:
    """Near pairs of a manifest's hashes, told apart by split; pairs of files with the same content are left out."""
    rows = np.flatnonzero(table["dhash"].is_valid().to_numpy())
    hashes = table["dhash"].drop_null().to_numpy().astype(np.uint64)
    near = near_pairs(hashes, codes(pc.fill_null(table["split"], ""))[rows], bits)
    pairs, content = rows[near.rows], codes(table["sha256"])
    return Pairs(pairs[content[pairs[:, 0]] != content[pairs[:, 1]]], near.cut)


def look_alikes(dataset: Dataset, bits: int = NEAR_BITS, progress: Progress = iter) -> np.ndarray:
    """(P, 2) rows of images that show the same, by hash and confirmed on pixels; only the candidates are read.

    An image that cannot be read is taken for what its hash says: a leak is worse than a group too many.
    """
    pairs = candidates(dataset.table, bits).rows
    rows: list[int] = np.unique(pairs).tolist()
    read = in_threads(lambda row: _structure_of(dataset, row), rows)
    structures = dict(zip(progress(rows), read, strict=True))
    return pairs[correlations(structures, pairs) >= NEAR_CORRELATION]


def _structure_of(dataset: Dataset, row: int) -> np.ndarray | None:
    try:
        return fine_structure(decode(dataset.root / dataset.table["file_name"][row].as_py()))
    except DataError:
        return None


def fine_structure(image: np.ndarray) -> np.ndarray:
    """int8 (2304,): what remains of a 48x48 thumbnail without its light and shade; zeros for a blank image."""
    grey = to_channels(to_uint8(image), 1)
    small = cv2.resize(grey, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), _SMOOTH_PX, borderType=cv2.BORDER_REPLICATE)
    small -= small.mean()
    return (small * (127 / max(float(np.abs(small).max()), 1e-3))).round().astype(np.int8).ravel()


def correlations(structures: Structures, pairs: np.ndarray) -> np.ndarray:
    """float (P,) in [-1, 1] for (P, 2) rows; 0 where one of the two is blank, 1 where one could not be read."""
    result = np.ones(len(pairs))
    for index, (i, j) in enumerate(pairs.tolist()):
        a, b = structures.get(i), structures.get(j)
        if a is None or b is None:
            continue
        a, b = a.astype(np.float32), b.astype(np.float32)
        norm = math.sqrt(float(a @ a) * float(b @ b))
        result[index] = float(a @ b) / norm if norm else 0.0
    return result
