"""Whole groups into splits, with every class shared out alike.

Greedy, after Sechidis, Tsoumakas and Vlahavas (2011), for groups instead of images: groups that hold the largest share
of some class come first, and each goes where its classes are missing most. A class that has only as many groups left
as there are splits without it must go to one of those. Groups with the same counts are dealt out together, so a
million images take seconds. Where groups are few, they are then moved and swapped as long as that helps; where they
are very few, every way is tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Change = list[tuple[int, int]]  # (group, the split it goes to)
_ABSENT = 1e6  # outweighs any unevenness
_POLISHED = 500  # groups up to which every move and swap is weighed
_VERY_FEW = 8  # groups up to which every way is tried: 6561 for three splits
_TRIES = 5000  # changes tried to bring a class into a split that lacks it
_GAIN = 1e-6


@dataclass(eq=False)
class Shares:
    """What each of S splits has of each of K classes while groups are dealt out.

    excess:    (S, K) share of the class's images, less the share it should have
    holders:   (S, K) groups with the class
    remaining: (K,) groups with the class that are not dealt out yet
    wanted:    (K,) classes with enough groups to be in every split
    """

    excess: np.ndarray
    holders: np.ndarray
    remaining: np.ndarray
    wanted: np.ndarray

    def best(self, weights: np.ndarray, has: np.ndarray) -> int:
        """The split for a group with these shares of each class."""
        absent = self.wanted & (self.holders == 0)
        critical = has & (self.remaining <= absent.sum(axis=0))
        return int(np.argmin(self.excess @ weights + _ABSENT * (critical & self.wanted & ~absent).sum(axis=1)))

    def add(self, split: int, weights: np.ndarray, has: np.ndarray, count: int = 1) -> None:
        self.excess[split] += count * weights
        self.holders[split] += count * has
        self.remaining -= count * has

    def cost(self) -> float:
        return float(_ABSENT * (self.wanted & (self.holders == 0)).sum() + (self.excess**2).sum())


def deal(counts: np.ndarray, kind_of: np.ndarray, fractions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64 (G,): the split of each group.

    counts:    (M, K) images of each class in each kind of group
    kind_of:   (G,) which row of `counts` describes the group
    fractions: (S,) positive, sum 1
    """
    groups_of_kind = np.bincount(kind_of, minlength=len(counts))
    weights = counts / np.maximum(groups_of_kind @ counts, 1)
    has = counts > 0
    total = groups_of_kind @ has
    wanted = total >= len(fractions)
    if len(kind_of) <= _VERY_FEW:
        return _best_of_all(weights[kind_of], has[kind_of], wanted, fractions, rng)
    shape = (len(fractions), counts.shape[1])
    shares = Shares(np.tile(-fractions[:, None], shape[1]), np.zeros(shape, np.int64), total, wanted)
    shuffled = rng.permutation(len(kind_of))
    shuffled = shuffled[np.argsort(kind_of[shuffled], kind="stable")]
    ends = np.cumsum(groups_of_kind)
    splits = np.empty(len(kind_of), np.int64)
    first = (weights**2).sum(axis=1) * rng.uniform(0.8, 1.25, len(weights))  # another seed, another split as good
    for kind in np.argsort(-first, kind="stable"):
        numbers = _deal_kind(shares, weights[kind], has[kind], int(groups_of_kind[kind]), fractions)
        members = shuffled[ends[kind] - groups_of_kind[kind] : ends[kind]]
        splits[members] = np.repeat(np.arange(len(fractions)), numbers)
    if len(kind_of) <= _POLISHED:
        _polish(shares, splits, weights[kind_of], has[kind_of])
    return splits


def _best_of_all(
    weights: np.ndarray, has: np.ndarray, wanted: np.ndarray, fractions: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The best of all ways to deal out a few groups; of several equally good ones, any."""
    ways = np.indices([len(fractions)] * len(weights)).reshape(len(weights), -1).T
    cost = np.zeros(len(ways))
    for split, fraction in enumerate(fractions):
        there = (ways == split).astype(float)
        cost += ((there @ weights - fraction) ** 2).sum(axis=1)
        cost += _ABSENT * ((there @ has == 0) & wanted).sum(axis=1)
    return ways[rng.choice(np.flatnonzero(cost < cost.min() + 1e-9))]


def _deal_kind(shares: Shares, weights: np.ndarray, has: np.ndarray, groups: int, fractions: np.ndarray) -> np.ndarray:
    """(S,): how many of these alike groups each split gets."""
    numbers = np.floor(groups * fractions + 1e-9).astype(np.int64)
    for split, count in enumerate(numbers):
        shares.add(split, weights, has, count)
    for _ in range(groups - numbers.sum()):
        split = shares.best(weights, has)
        shares.add(split, weights, has)
        numbers[split] += 1
    return numbers


def _polish(shares: Shares, splits: np.ndarray, weights: np.ndarray, has: np.ndarray) -> None:
    """Move or swap groups while the cost falls. Each step lowers it, so this ends."""
    cost = shares.cost()
    improved = True
    while improved:
        improved = False
        for change in _changes(shares, splits, weights, tries=_TRIES if cost >= _ABSENT else None):
            undo = [(group, int(splits[group])) for group, _ in change]
            _apply(shares, splits, weights, has, change)
            if shares.cost() < cost - _GAIN:
                cost, improved = shares.cost(), True
                break
            _apply(shares, splits, weights, has, undo)


def _changes(shares: Shares, splits: np.ndarray, weights: np.ndarray, tries: int | None) -> Iterator[Change]:
    """Moves and swaps, the one that evens the shares most first; without `tries`, only those that even them."""
    groups, count = len(splits), len(shares.excess)
    pull = weights @ shares.excess.T
    pull -= pull[np.arange(groups), splits][:, None]  # (G, S): slope of the cost when the group moves there
    square = (weights**2).sum(axis=1)
    moves = np.where(np.arange(count) == splits[:, None], np.inf, 2 * (pull + square[:, None]))
    across = pull[:, splits]  # (G, G): group i to the split of group j
    between = square[:, None] + square - 2 * weights @ weights.T
    swaps = np.where(splits[:, None] < splits, 2 * (across + across.T + between), np.inf)
    gains = np.concatenate([moves.ravel(), swaps.ravel()])
    order = np.argsort(gains, kind="stable")[: tries or max(int((gains < -_GAIN).sum()), 0)]
    for index in order[np.isfinite(gains[order])]:
        if index < moves.size:
            yield [(int(index) // count, int(index) % count)]
        else:
            i, j = divmod(int(index) - moves.size, groups)
            yield [(i, int(splits[j])), (j, int(splits[i]))]


def _apply(shares: Shares, splits: np.ndarray, weights: np.ndarray, has: np.ndarray, change: Change) -> None:
    for group, split in change:
        shares.add(int(splits[group]), weights[group], has[group], -1)
        shares.add(split, weights[group], has[group])
        splits[group] = split
