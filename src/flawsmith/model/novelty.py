"""How unlike all known classes an image is, by its features: another part, an empty belt, a black frame.

Mahalanobis distance to the nearest class mean with one covariance for all classes (Lee et al. 2018, arXiv:1807.03888),
in the span of the training images' main components, and beside it what lies outside that span (Wang et al. 2022,
arXiv:2203.10807): strange images often differ where no training image varies.
"""

from collections.abc import Mapping
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn

_COMPONENTS = 64
_FOLDS = 5
_ROUNDING = 1e-3
_KNOWN = 0.98  # share of known images that are to stay known


class Novelty(nn.Module):
    """Features (N, D) to (N,) in 0 … 1: 0.5 at the distance that the share `_KNOWN` of unseen known images stays below.

    mean: (D,), basis: (D, R) orthonormal, whitening: (R, R), centres: (K, R) whitened class means; rest: deviation of
    the known images outside the span; limit, width: in units of distance
    """

    def __init__(
        self, mean: Tensor, basis: Tensor, whitening: Tensor, centres: Tensor, rest: float, limit: float, width: float
    ) -> None:
        super().__init__()
        self.mean, self.basis, self.whitening = nn.Buffer(mean), nn.Buffer(basis), nn.Buffer(whitening)
        self.centres = nn.Buffer(centres)
        self.scales = nn.Buffer(torch.tensor([rest, limit, width]))

    def distance(self, features: Tensor) -> Tensor:
        """(N,) per-component distance; about 1 for known images."""
        moved = features - self.mean
        within = moved @ self.basis
        outside = (moved.square().sum(1) - within.square().sum(1)).clamp(min=0)
        apart = (within @ self.whitening).unsqueeze(1) - self.centres
        nearest = apart.square().sum(2).amin(1) / self.basis.shape[1]
        return torch.sqrt(nearest + outside / self.scales[0] ** 2)

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid((self.distance(features) - self.scales[1]) / self.scales[2])


def fit_novelty(features: np.ndarray, labels: np.ndarray, held_out: np.ndarray | None = None) -> Novelty:
    """features: float32 (N, D) of training images; held_out: (M, D) of known images that were not trained on.

    Without held-out images the limit comes from folds of the training images, each judged by the others.
    """
    if held_out is None or not len(held_out):
        folds = np.arange(len(features)) % min(_FOLDS, len(features))
        rounds = [(folds != fold, folds == fold) for fold in np.unique(folds)]
        known = np.concatenate(
            [_distances(_fit(features[a], labels[a]), features[b]) for a, b in rounds if a.any()] or [np.ones(1)]
        )
    else:
        known = _distances(_fit(features, labels), held_out)
    found = _fit(features, labels)
    # by conformal prediction's rank: holds for the next known image, where it is drawn as these were
    rank = min(ceil((len(known) + 1) * _KNOWN), len(known))
    limit = float(np.sort(known)[rank - 1])
    if rank == len(known):
        limit *= 1 + 1 / len(known)  # too few to show so small a share: the farthest, and some room
    width = max((limit - float(np.median(known))) / 4, 1e-3)
    found.scales = nn.Buffer(torch.tensor([float(found.scales[0]), limit, width]))
    return found


def load_novelty(tensors: Mapping[str, Tensor]) -> Novelty:
    """From the state of another one."""
    shapes = [tensors[key] for key in ("mean", "basis", "whitening", "centres")]
    novelty = Novelty(*shapes, rest=1.0, limit=1.0, width=1.0)
    novelty.load_state_dict(tensors)
    return novelty


def _distances(novelty: Novelty, features: np.ndarray) -> np.ndarray:
    return novelty.distance(torch.from_numpy(features)).numpy()


def _fit(features: np.ndarray, labels: np.ndarray) -> Novelty:
    mean = features.mean(0)
    moved = (features - mean).astype(np.float64)
    _, values, rows = np.linalg.svd(moved, full_matrices=False)
    count = int(np.clip(min(len(features) // 2, (values > 1e-6 * max(values[0], 1e-9)).sum()), 1, _COMPONENTS))
    basis = rows[:count].T
    within = moved @ basis
    whole = float((moved**2).sum()) / len(features)
    outside = whole - float((within**2).sum()) / len(features)
    # where the span holds everything, what seems to lie outside is rounding
    rest = float(np.sqrt(outside if outside > _ROUNDING * whole else max(whole, 1e-9)))
    means = np.stack([within[labels == k].mean(0) for k in np.unique(labels)])
    apart = within - means[np.searchsorted(np.unique(labels), labels)]
    whitening = _inverse_root(apart)
    tensors = (mean, basis, whitening, means @ whitening)
    return Novelty(*(torch.from_numpy(a.astype(np.float32)) for a in tensors), rest=rest, limit=1.0, width=1.0)


def _inverse_root(apart: np.ndarray) -> np.ndarray:
    """Inverse square root of the covariance of (N, R), shrunk towards a multiple of unity as Ledoit and Wolf do."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(apart, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.sqrt(np.maximum(values, 1e-9 * max(values[-1], 1e-9))) @ vectors.T
