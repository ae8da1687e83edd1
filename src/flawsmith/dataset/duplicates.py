"""Exact and near duplicates: candidates from the manifest's 64-bit difference hashes, confirmed on pixels.

Hashes within a few bits are found by locality-sensitive hashing (Indyk and Motwani, 1998): the bits are cut into
bands, and two hashes that differ in d bits agree in all but d of the bands. A hash sees little but the light, so unlike
surfaces collide: of 660 pictures of steel (NEU-DET), 809 pairs lie within 4 bits and none is a duplicate. A candidate
therefore counts only when the fine structure of both pictures agrees as well.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from flawsmith.core.image import to_channels, to_uint8

NEAR_BITS = 4
# Same picture, another exposure or compression: 0.9 and more. At 0.8 different castings of one mould begin to agree.
NEAR_CORRELATION = 0.9
BUCKET = 256  # neighbours that a hash is compared with in each bucket
_THUMB_PX, _SMOOTH_PX = 48, 2.0
_POPCOUNT = np.array([index.bit_count() for index in range(256)], np.uint8)


@dataclass(frozen=True, eq=False)
class Pairs:
    """`rows` int64 (P, 2): rows whose hashes are near; `cut`: buckets too full to compare every pair in them."""

    rows: np.ndarray
    cut: int = 0


def codes(column: pa.ChunkedArray) -> np.ndarray:
    """int64 (N,): equal values get equal numbers; a null is like nothing else."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.concat_arrays(encoded.chunks) if encoded.num_chunks else pa.array([], encoded.type)
    numbers = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
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


def near_pairs(hashes: np.ndarray, parts: np.ndarray, bits: int = NEAR_BITS, bucket: int = BUCKET) -> Pairs:
    """Pairs of uint64 `hashes` that differ in at most `bits`.

    Rows with one hash are chained, not paired each with each, and so that rows of different `parts` (splits) meet.
    """
    order = np.lexsort((parts, hashes))
    chain = chained(hashes, order)
    first = np.ones(len(order), bool)
    first[1:] = (hashes[order[1:]] != hashes[order[:-1]]) | (parts[order[1:]] != parts[order[:-1]])
    nodes = order[first]
    values = hashes[nodes]
    found, cut = [chain], 0
    for mask in _masks(bits, len(values)):
        left, right, over = _bucket_pairs(values & mask, bucket)
        near = _distance(values[left], values[right]) <= bits
        found.append(np.sort(nodes[np.stack([left[near], right[near]], axis=1)], axis=1))
        cut += over
    return Pairs(np.unique(np.concatenate(found), axis=0), cut)


def _masks(bits: int, count: int) -> Iterator[np.uint64]:
    """Keys of which two hashes within `bits` share at least one; wide enough to tell `count` hashes apart."""
    if bits == 0:
        return
    wanted = min(math.log2(count + 1), 26)
    agree = next(m for m in range(1, 64) if 64 * m // (bits + m) >= wanted or bits + m == 64)
    edges = np.linspace(0, 64, bits + agree + 1).round().astype(int)
    bands = [sum(1 << int(bit) for bit in range(low, high)) for low, high in zip(edges, edges[1:], strict=False)]
    for chosen in combinations(bands, agree):
        yield np.uint64(sum(chosen))


def _bucket_pairs(keys: np.ndarray, bucket: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs with equal keys, each row with at most `bucket` followers; and how many keys were cut so."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    at = np.arange(len(keys))
    left, right = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for step in range(1, bucket + 1):
        at = at[at < len(keys) - step]
        at = at[keys[at] == keys[at + step]]
        if not at.size:
            return order[np.concatenate(left)], order[np.concatenate(right)], 0
        left.append(at)
        right.append(at + step)
    return order[np.concatenate(left)], order[np.concatenate(right)], len(np.unique(keys[at]))


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _POPCOUNT[(a ^ b).view(np.uint8).reshape(-1, 8)].sum(axis=1)


def fine_structure(image: np.ndarray) -> np.ndarray:
    """int8 (2304,): what remains of a 48x48 thumbnail without its light and shade; zeros for a blank image."""
    grey = to_channels(to_uint8(image), 1)
    small = cv2.resize(grey, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), _SMOOTH_PX, borderType=cv2.BORDER_REPLICATE)
    small -= small.mean()
    return (small * (127 / max(float(np.abs(small).max()), 1e-3))).round().astype(np.int8).ravel()


def correlations(structures: Sequence[np.ndarray], pairs: np.ndarray) -> np.ndarray:
    """float (P,) in [-1, 1] for (P, 2) indices into `structures`; 0 where one of the two is blank."""
    result = np.zeros(len(pairs))
    for index, (i, j) in enumerate(pairs):
        a, b = structures[i].astype(np.float32), structures[j].astype(np.float32)
        norm = math.sqrt(float(a @ a) * float(b @ b))
        result[index] = float(a @ b) / norm if norm else 0.0
    return result
