"""Labels of several aspects, as "bolt+dirt+left": part × condition × position, each judged by a head of its own.

The heads share the network's features. A class is one value of each aspect, its logit the sum of theirs: so the
probability of a class is the product of those of its values, and a combination that nobody has photographed is known as
soon as each of its values is. Rules, calibration and engines see classes as ever.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from flawsmith.core.errors import DataError
from flawsmith.model.checkpoint import under
from flawsmith.model.heads import Head, HeadSettings, empty_head, fit_head

SEPARATOR = "+"  # a folder may be called so


class Factored(nn.Module):
    """Features (N, D) to logits of classes (N, K). places: int64 (A, K), which value of each aspect a class has."""

    def __init__(self, heads: Sequence[nn.Module], places: Tensor) -> None:
        super().__init__()
        self.heads, self.places = nn.ModuleList(heads), nn.Buffer(places)

    def forward(self, features: Tensor) -> Tensor:
        logits = [head(features)[:, place] for head, place in zip(self.heads, self.places, strict=True)]
        return torch.stack(logits).sum(0)


def values_of(labels: Sequence[str], aspects: Sequence[str]) -> list[tuple[str, ...]]:
    """The values of each aspect, sorted. Raises `DataError` for a label that has not one value of each."""
    for label in labels:
        if len(label.split(SEPARATOR)) != len(aspects):
            raise DataError(
                f"label {label!r} has {len(label.split(SEPARATOR))} parts, aspects {list(aspects)} want "
                f"{len(aspects)}: separate them by {SEPARATOR!r}, or leave aspects out"
            )
    columns = zip(*(label.split(SEPARATOR) for label in labels), strict=True)
    found: list[tuple[str, ...]] = [tuple(sorted(set(column))) for column in columns]
    for name, values in zip(aspects, found, strict=True):
        if len(values) < 2:
            raise DataError(f"all images have {''.join(values)!r} as their {name}: leave this aspect out")
    return found


def combinations(labels: Sequence[str], aspects: Sequence[str]) -> tuple[str, ...]:
    """All classes that the values make, photographed or not."""
    return tuple(SEPARATOR.join(values) for values in product(*values_of(labels, aspects)))


def places_of(classes: Sequence[str], aspects: Sequence[str]) -> np.ndarray:
    """int64 (A, K): the place of each class's value among those of an aspect."""
    values = values_of(classes, aspects)
    split = [name.split(SEPARATOR) for name in classes]
    return np.array([[values[a].index(parts[a]) for parts in split] for a in range(len(aspects))], np.int64)


def healthy_combinations(classes: Sequence[str], good: Sequence[str], seen: Sequence[str]) -> tuple[str, ...]:
    """Of the classes those that pass: photographed and healthy, or made of values that each occur in a healthy one.

    good: healthy ones among those photographed; seen: those photographed
    """
    fine = [{name.split(SEPARATOR)[a] for name in good} for a in range(classes[0].count(SEPARATOR) + 1)]
    return tuple(
        name
        for name in classes
        if name in good
        or (name not in seen and all(part in some for part, some in zip(name.split(SEPARATOR), fine, strict=True)))
    )


def fit_factored(
    features: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    aspects: Sequence[str],
    settings: HeadSettings,
    seed: int,
) -> Factored:
    """A head for each aspect. labels: (N,) places among the classes; every value of every aspect is there."""
    places = places_of(classes, aspects)
    heads = [fit_head(features, place[labels], int(place.max()) + 1, settings, seed) for place in places]
    return Factored(heads, torch.from_numpy(places)).eval()


def empty_factored(tensors: Mapping[str, Tensor], settings: HeadSettings) -> Factored:
    """As `heads.empty_head`."""
    places = tensors["places"]
    heads: list[Head] = [empty_head(under(f"heads.{a}", dict(tensors)), settings) for a in range(len(places))]
    return Factored(heads, places)


def by_aspect(classes: Sequence[str], aspects: Sequence[str], probabilities: np.ndarray) -> list[np.ndarray]:
    """Probabilities (N, K) of classes to those of each aspect's values, (N, V) each."""
    places = places_of(classes, aspects)
    return [probabilities @ np.eye(int(place.max()) + 1, dtype=probabilities.dtype)[place] for place in places]
