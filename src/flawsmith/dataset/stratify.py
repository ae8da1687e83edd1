"""Whole groups into splits, with every class shared out alike.

Greedy, after Sechidis, Tsoumakas and Vlahavas (2011), for groups instead of images: groups that hold the largest share
of some class come first, and each goes where its classes are missing most. Then groups are moved and swapped while
that puts a class into a split which has none of it, or brings the shares nearer to the wanted ones.
"""

from dataclasses import dataclass

import numpy as np

_TRIES = 60  # groups of a class that are tried as a remedy; more seldom helps
_POLISHED = 400  # groups up to which every single move is weighed


@dataclass(eq=False)
class _Shares:
    """Which group holds how much of each class, and what each split has so far.

    counts:  (G, K) images of class k in group g
    splits:  (G,) the split of each group
    excess:  (S, K) share of the class that a split has, less the share it should have
    holders: (S, K) groups with the class in that split
    """

    counts: np.ndarray
    splits: np.ndarray
    fractions: np.ndarray

    def __post_init__(self) -> None:
        self.weights = self.counts / np.maximum(self.counts.sum(axis=0), 1)
        self.has = self.counts > 0
        self.wanted = self.has.sum(axis=0) >= len(self.fractions)  # classes that can be in every split
        onehot = self.splits[:, None] == np.arange(len(self.fractions))
        self.excess = onehot.T.astype(float) @ self.weights - self.fractions[:, None]
        self.holders = onehot.T.astype(int) @ self.has

    def missing(self) -> np.ndarray:
        """(S, K): the class should be in the split and is not."""
        return self.wanted & (self.holders == 0)

    def move(self, group: int, to: int) -> None:
        before = self.splits[group]
        self.excess[before] -= self.weights[group]
        self.excess[to] += self.weights[group]
        self.holders[before] -= self.has[group]
        self.holders[to] += self.has[group]
        self.splits[group] = to

    def cost(self) -> float:
        """Absent classes first, then the squared distance to the wanted shares."""
        return 1e6 * self.missing().sum() + float((self.excess**2).sum())
