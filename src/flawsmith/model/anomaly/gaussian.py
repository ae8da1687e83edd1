"""`gaussian`: at each position of the part the spots of healthy images, as a Gaussian; for parts that always lie alike.

PaDiM (Defard et al. 2021, arXiv:2011.08785). Here the covariance of a position is that of all positions together (the
identity, since spots are whitened) and, beyond it, the few directions in which this position varies most: no inverse of
a D x D matrix for each position, a tenth of the size, and few images are enough.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from flawsmith.model.anomaly.learn import Held
from flawsmith.model.anomaly.settings import AnomalySettings

_FOLDS = 3
_LEAST = 1e-3
_HALF = 10.0  # images at which a position's own covariance weighs as much as that of all positions


class PositionGaussian(nn.Module):
    """mean: (D, h, w); axes: (R, D, h, w) directions, scaled so that a squared distance is |z|² - sum of (axis · z)²,
    divided by `floor`, the share of all positions."""

    def __init__(self, mean: Tensor, axes: Tensor, floor: float) -> None:
        super().__init__()
        self.mean, self.axes = nn.Buffer(mean), nn.Buffer(axes)
        self.floor = nn.Buffer(torch.tensor(floor))

    def forward(self, spots: Tensor) -> Tensor:
        """(N, D, h, w) to Mahalanobis distances (N, 1, h, w), per dimension."""
        moved = spots - self.mean
        square = moved.square().sum(1, keepdim=True)
        for axis in self.axes:
            square = square - (moved * axis).sum(1, keepdim=True).square()
        return (square.clamp(min=0) / self.floor).sqrt()


def learn_gaussian(held: Held, groups: np.ndarray, settings: AnomalySettings) -> tuple[PositionGaussian, np.ndarray]:
    """The Gaussians, and each image's farthest spot by those of other groups. groups: int (N,) of the images."""
    chosen = settings.gaussian
    of = groups[held.owners.numpy()]
    folds = np.unique(of, return_inverse=True)[1] % _FOLDS
    found = []
    for fold in np.unique(folds):
        inside, outside = torch.from_numpy(folds == fold), torch.from_numpy(folds != fold)
        if int(outside.sum()) > 1:
            rest = fit_gaussian(held.spots[outside], chosen.directions, chosen.shrinkage)
            found += [float(rest(image[None]).max()) for image in held.spots[inside]]
    return fit_gaussian(held.spots, chosen.directions, chosen.shrinkage), np.array(found)


def load_gaussian(tensors: Mapping[str, Tensor]) -> PositionGaussian:
    """From the state of another one."""
    return PositionGaussian(tensors["mean"], tensors["axes"], float(tensors["floor"]))


def fit_gaussian(spots: Tensor, directions: int, shrinkage: float | None) -> PositionGaussian:
    """spots: whitened (n, D, h, w) of n images, any float type.

    With share s of all positions the covariance is s v I + (1 - s) S, S the position's own of rank n - 1, v the mean
    variance about the positions' means. Its inverse follows from the largest eigenvalues of S: for each,
    1 / (s v) - 1 / (s v + (1 - s) e) is taken off in that direction.
    """
    count, dim, height, width = spots.shape
    share = _HALF / (_HALF + count - 1) if shrinkage is None else shrinkage
    mean = torch.zeros(dim, height, width)
    for image in spots:
        mean += image.float() / count
    total = sum(float((image.float() - mean).square().sum()) for image in spots)
    # of all spots it is 1 / D: images that are all alike leave a thousandth of it
    variance = max(total / (max(count - 1, 1) * dim * height * width), _LEAST / dim)
    floor = share * variance
    kept = min(directions, count - 1)
    axes = torch.zeros(kept, dim, height, width)
    for row in range(height):
        moved = (spots[:, :, row].float() - mean[:, row]).permute(2, 0, 1)  # (w, n, D)
        axes[:, :, row] = _axes(moved, kept, floor, share).permute(1, 2, 0)
    return PositionGaussian(mean, axes, floor)


def _axes(moved: Tensor, kept: int, floor: float, share: float) -> Tensor:
    """(w, n, D) deviations at w positions to their axes (w, kept, D)."""
    count = moved.shape[1]
    gram = moved @ moved.transpose(1, 2) / max(count - 1, 1)  # its eigenvalues are those of the covariance
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values[:, count - kept :].clamp(min=0), vectors[:, :, count - kept :]
    directed = torch.einsum("wnd,wnk->wkd", moved, vectors)
    directed = directed / directed.norm(dim=2, keepdim=True).clamp(min=1e-12)
    taken = 1 - floor / (floor + (1 - share) * values)
    return directed * taken.sqrt()[:, :, None]
