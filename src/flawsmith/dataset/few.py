"""Few labels: as if only so many defective images had been labelled."""

from collections import Counter

import numpy as np

from flawsmith.core.errors import ConfigError
from flawsmith.core.sample import GROUPS
from flawsmith.dataset.manifest import Dataset


def with_labelled(dataset: Dataset, count: int, seed: int = 0) -> Dataset:
    """All healthy images and `count` defective ones, drawn from labels in turn and within a label from parts in turn.

    The draw of a smaller count is part of that of a larger one. Raises `ConfigError` when there are fewer.
    """
    healthy = np.array(dataset.column("healthy"), bool)
    bad = np.random.default_rng(seed).permutation(np.flatnonzero(~healthy))
    if count > bad.size:
        raise ConfigError(f"{count} defective images were asked for, {dataset.root} has {bad.size} here")
    labels = dataset.column("label")
    parts = list(zip(*(dataset.column(key) for key in GROUPS), strict=True))
    by_part = in_turn(bad.tolist(), [(labels[row], parts[row]) for row in bad])
    chosen = in_turn(by_part, [labels[row] for row in by_part])[:count]
    return dataset.take(np.sort(np.concatenate([np.flatnonzero(healthy), np.array(chosen, int)])))


def in_turn(items: list[int], keys: list) -> list[int]:
    """The first item of every key, then the second of every key, and so on; order is kept otherwise."""
    seen: Counter = Counter()
    turns = []
    for key in keys:
        seen[key] += 1
        turns.append(seen[key])
    return [items[i] for i in np.argsort(turns, kind="stable")]
