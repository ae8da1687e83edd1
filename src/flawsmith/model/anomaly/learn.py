"""Healthy images to spots, in one pass and in bounded memory, and to the distance that is the unit of scores."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flawsmith.core.spec import ModelSpec, scaled
from flawsmith.core.tiles import tiled
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.anomaly.settings import AnomalySettings
from flawsmith.model.anomaly.spots import Moments, SpotNet, Whitening, join

_KNOWN = 0.95  # share of healthy images that score below 0.5
_LEAST_UNIT = 1e-2  # of the spread of healthy spots: images that are all alike tell of no distance
_BYTES = 4 * 3  # of a held number: as it came, whitened, and a projection beside it


@dataclass(frozen=True, eq=False)
class Held:
    """Spots of the healthy images.

    spots:     whitened (n, D), or with `whole` (N, D, h, w) of the images that fit
    owners:    int64 (n,) or (N,): the row of the image in the data set
    """

    whitening: Whitening
    spots: Tensor
    owners: Tensor


def windows(image: np.ndarray, spec: ModelSpec) -> list[np.ndarray]:
    """The windows (h, w, C) in which `predict_image` shows an image to the network."""
    found: list[np.ndarray] = []

    def keep(window: np.ndarray) -> np.ndarray:
        found.append(window)
        return np.zeros((1, *window.shape[:2]), np.float32)

    tiled(keep, scaled(image, spec), spec.tiling)
    return found


def spot_maps(net: SpotNet, dataset: Dataset, spec: ModelSpec, mirror: bool = False) -> Iterator[list[Tensor]]:
    """Of each image the joined map (1, D, h, w) of each of its windows, not whitened; mirrored ones besides."""
    device = net.mean.device
    for sample in dataset:
        seen = windows(sample.image(), spec)
        if mirror:
            seen += [np.ascontiguousarray(np.flip(w, axes)) for w in seen for axes in ((0,), (1,), (0, 1))]
        with torch.inference_mode():
            yield [join(net(torch.from_numpy(w[None]).to(device))).cpu() for w in seen]


def gather(
    net: SpotNet,
    dataset: Dataset,
    spec: ModelSpec,
    settings: AnomalySettings,
    on_image: Callable[[int], None] = lambda count: None,
    whitening: Whitening | None = None,
) -> Held:
    """Spots drawn evenly from all images, as many as fit; whitening: None takes the moments of all of their spots."""
    moments: Moments | None = None
    kept, owners, room = [], [], 0
    for row, maps in enumerate(spot_maps(net, dataset, spec, settings.memory.mirror)):
        spots = torch.cat([m[0].flatten(1).T for m in maps])
        if moments is None:
            moments = Moments(spots.shape[1])
            room = max((settings.max_ram_mb << 20) // (_BYTES * spots.shape[1]) // len(dataset), 1)
        if whitening is None:
            moments.add(spots)
        if len(spots) > room:
            spots = spots[torch.from_numpy(np.random.default_rng([settings.seed, row]).permutation(len(spots))[:room])]
        kept.append(spots)
        owners.append(torch.full((len(spots),), row))
        on_image(row + 1)
    assert moments is not None
    whitening = whitening or moments.whitening()
    return Held(whitening, whitening.rows(torch.cat(kept)), torch.cat(owners))


def gather_whole(
    net: SpotNet, dataset: Dataset, spec: ModelSpec, max_ram_mb: int, on_image: Callable[[int], None]
) -> Held:
    """Whole maps, of all images or of as many as fit, spread evenly; the images have one window each."""
    moments: Moments | None = None
    kept: list[Tensor] = []
    rows = np.arange(len(dataset))
    size = math.prod(next(spot_maps(net, dataset.take([0]), spec))[0].shape) * 4 * 2
    if size * len(rows) > max_ram_mb << 20:
        fit = max((max_ram_mb << 20) // size, 2)
        rows = np.unique(np.linspace(0, len(rows) - 1, fit).round().astype(int))
    for number, (found,) in enumerate(spot_maps(net, dataset.take(rows), spec)):
        spots = found[0].flatten(1).T
        moments = moments or Moments(spots.shape[1])
        moments.add(spots)
        kept.append(found)
        on_image(number + 1)
    assert moments is not None
    whitening = moments.whitening()
    height, width = kept[0].shape[2:]
    whitened = [whitening.rows(m[0].flatten(1).T).T.reshape(-1, height, width) for m in kept]
    return Held(whitening, torch.stack(whitened), torch.from_numpy(rows.astype(np.int64)))


def unit_of(distances: np.ndarray) -> float:
    """The distance that scores 0.5: that which 95 % of healthy images stay below, by the rank of conformal prediction,
    the farthest where there are too few. distances: (n,) of images that had no part in what they are compared with."""
    rank = min(math.ceil((len(distances) + 1) * _KNOWN), len(distances))
    return max(float(np.sort(distances)[rank - 1]), _LEAST_UNIT)
