"""How many images of each class to learn from, by where they come from: `real:10,render:500`."""

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


def drawn(
    dataset: Dataset, share: Share, labels: np.ndarray, groups: np.ndarray, seed: int, leave: bool = False
) -> np.ndarray:
    """Rows of one share; a larger draw holds the smaller one. A class that this provenance lacks is left to others.

    labels, groups: of each image; groups are drawn from in turn
    leave: half of a class's groups are left, as far as the others have so many images, so that some remain to judge by
    """
    mine = share.rows(dataset)
    if not mine.any():
        there = sorted(set(dataset.column("provenance")))
        raise ConfigError(
            f"{dataset.root} has no image with provenance {share.provenance!r} to draw from, only {there}"
        )
    rows: list[int] = []
    if leave and share.count is not None:
        mine &= np.isin(groups, _half(labels[mine], groups[mine], share.count, seed))
    for number, name in enumerate(sorted(set(labels.tolist()))):
        some = np.flatnonzero(mine & (labels == name))
        if share.count is None or not some.size:
            rows += some.tolist()
            continue
        if some.size < share.count:
            raise ConfigError(f"{share}: {dataset.root} has {some.size} of class {name!r}; take fewer, or all")
        some = np.random.default_rng([seed, number]).permutation(some)
        rows += in_turn(some.tolist(), groups[some].tolist())[: share.count]
    return np.array(sorted(rows), int)


def _half(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Groups to draw from: half of those of each class, or as many more as it takes to have `count`; the class with the
    fewest chooses first, as a group may hold images of several."""
    rng, drawn, left = np.random.default_rng([seed, 1]), set(), set()
    names = sorted(set(labels.tolist()), key=lambda name: (len(set(groups[labels == name].tolist())), name))
    for name in names:
        sizes = dict(zip(*np.unique(groups[labels == name], return_counts=True), strict=True))
        free = [group for group in rng.permutation(list(sizes)) if group not in drawn | left]
        have, taken = sum(sizes[group] for group in sizes if group in drawn), len(drawn & sizes.keys())
        while free and (have < count or taken < len(sizes) // 2):
            drawn.add(group := free.pop())
            have, taken = have + sizes[group], taken + 1
        left |= set(free)
    return np.array(sorted(drawn))
