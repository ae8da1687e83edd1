"""How many images of each class to learn from, by where they come from: `real:10,render:500`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawsmith.core.errors import ConfigError, nearest
from flawsmith.core.sample import PROVENANCES
from flawsmith.dataset.few import in_turn
from flawsmith.dataset.grouping import group_rows
from flawsmith.dataset.manifest import Dataset


@dataclass(frozen=True)
class Share:
    """`count` images of each class; None: all. `provenance` None: wherever they come from."""

    provenance: str | None
    count: int | None

    def rows(self, dataset: Dataset) -> np.ndarray:
        """Bool (N,): the images that it speaks of."""
        if self.provenance is None:
            return np.ones(len(dataset), bool)
        return np.array(dataset.column("provenance")) == self.provenance

    def __str__(self) -> str:
        return f"{self.provenance or 'images'}:{'all' if self.count is None else self.count}"


Mix = tuple[Share, ...]


def parse_mix(text: str) -> Mix:
    """`real:10,render:500` or `real:all`, counted a class. Raises `ConfigError`."""
    found: list[Share] = []
    for item in text.split(","):
        name, colon, count = item.strip().partition(":")
        if name not in PROVENANCES:
            raise ConfigError(f"--mix {text!r}: {name!r} is no provenance.{nearest(name, list(PROVENANCES))}")
        if not colon or not (count == "all" or (count.isdecimal() and int(count))):
            raise ConfigError(f"--mix {text!r}: say how many images a class, as {name}:10, or {name}:all")
        if any(name == share.provenance for share in found):
            raise ConfigError(f"--mix {text!r} names {name} twice")
        found.append(Share(name, None if count == "all" else int(count)))
    return tuple(found)


def mixed(dataset: Dataset, mix: Mix, seed: int = 0) -> Dataset:
    """The images that the mix asks for, spread over groups. Raises `ConfigError` where a class has fewer."""
    labels, groups = np.array(dataset.column("label")), group_rows(dataset, "auto").numbers
    return dataset.take(np.sort(np.concatenate([drawn(dataset, share, labels, groups, seed) for share in mix])))


def drawn(dataset: Dataset, share: Share, labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Rows of one share; a larger draw holds the smaller one. A class that this provenance lacks is left to others.

    labels, groups: of each image; groups are drawn from in turn
    """
    mine = share.rows(dataset)
    if not mine.any():
        there = sorted(set(dataset.column("provenance")))
        raise ConfigError(
            f"{dataset.root} has no image with provenance {share.provenance!r} to draw from, only {there}"
        )
    rows: list[int] = []
    for number, name in enumerate(sorted(set(labels.tolist()))):
        some = np.flatnonzero(mine & (labels == name))
        if share.count is None or not some.size:
            rows += some.tolist()
            continue
        if some.size < share.count:
            raise ConfigError(f"{share}: {dataset.root} has {some.size} of class {name!r}; take fewer, or all")
        rows += _some(some, groups, share.count, [seed, number])
    return np.array(sorted(rows), int)


def _some(rows: np.ndarray, groups: np.ndarray, count: int, seed: Sequence[int]) -> list[int]:
    order = np.random.default_rng(list(seed)).permutation(rows).tolist()
    return in_turn(order, [groups[row] for row in order])[:count]
