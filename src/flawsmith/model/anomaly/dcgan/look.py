"""How good generated crops are: beside each other as a picture, by their features, and by the checkers in them."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from flawsmith.core.errors import FlawsmithError
from flawsmith.model.backbone import Backbone, open_backbone

JUDGE = "efficientnet-lite0"
_PERIODS = (2, 4, 8)  # pixels: what up-samplings by 2 leave behind, the last three of them
_AT_ONCE = 64


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance between the Gaussians of rows (n, D) and (m, D): |difference of the means|² +
    tr(A + B - 2 (A B)^½); Heusel et al. 2017 for images.

    With A = XᵀX and B = YᵀY the trace of (A B)^½ is the sum of the singular values of X Yᵀ: n x m, not D x D.
    """
    x, y = (_rooted(rows) for rows in (a, b))
    apart = np.square(a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)).sum()
    common = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return max(float(apart + np.square(x).sum() + np.square(y).sum() - 2 * common), 0.0)


def _rooted(rows: np.ndarray) -> np.ndarray:
    """X of XᵀX = covariance."""
    moved = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    return moved / np.sqrt(max(len(rows) - 1, 1))


def judge_net() -> Backbone | None:
    """The backbone that features are of; None where its weights are missing."""
    try:
        return open_backbone(JUDGE).requires_grad_(False)
    except FlawsmithError:
        return None


@torch.inference_mode()
def features(net: Backbone, crops: Tensor) -> np.ndarray:
    """Crops (N, C, side, side) in [-1, 1] to pooled features (N, D)."""
    device = crops.device
    mean, std = (torch.tensor(x, device=device).reshape(1, -1, 1, 1) for x in (net.info.mean, net.info.std))
    net.to(device)
    found = []
    for part in crops.split(_AT_ONCE):
        shown = (part.expand(-1, len(net.info.mean), -1, -1) + 1) / 2
        found.append(net((shown - mean) / std).cpu())
    return torch.cat(found).numpy()


def lattice_share(crops: Tensor) -> float:
    """Share of the variance of crops (N, C, side, side) that lies at multiples of the lattice's frequencies 1/2, 1/4
    and 1/8 a pixel, in both directions; of all at once, so that what is alike in every crop counts as it is."""
    side = crops.shape[-1]
    window = torch.hann_window(side, periodic=True, device=crops.device)
    grey = crops.float().mean(1)
    grey = (grey - grey.mean((1, 2), keepdim=True)) * window[:, None] * window
    energy = torch.fft.fft2(grey).abs().square().mean(0)
    energy[0, 0] = 0
    at = torch.arange(0, side, side // max(_PERIODS), device=crops.device)
    return float(energy[at][:, at].sum() / energy.sum().clamp(min=1e-12))


def checkerboard(fake: Tensor, real: Tensor) -> float:
    """How many times as much of the variance of fake crops as of real ones lies where up-sampling leaves checkers;
    about 1 is none (Odena et al. 2016, doi:10.23915/distill.00003)."""
    return lattice_share(fake) / max(lattice_share(real), 1e-12)


def grid(crops: Tensor, columns: int = 8) -> np.ndarray:
    """Crops in [-1, 1] beside each other: uint8 (H, W) or (H, W, 3), with a pixel of white between."""
    count, channels, side, _ = crops.shape
    rows = -(-count // columns)
    shown = ((crops.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round()
    framed = functional.pad(shown, (0, 1, 0, 1), value=255.0)
    whole = torch.full((rows * columns, channels, side + 1, side + 1), 255.0)
    whole[:count] = framed
    whole = whole.reshape(rows, columns, channels, side + 1, side + 1).permute(0, 3, 1, 4, 2)
    picture = whole.reshape(rows * (side + 1), columns * (side + 1), channels)[:-1, :-1].to(torch.uint8).numpy()
    return picture[..., 0] if channels == 1 else picture


class Looks:
    """Compares what a generator draws with the same real crops each time."""

    def __init__(self, real: Tensor) -> None:
        self.real, self.net = real, judge_net()
        self.known = features(self.net, real) if self.net else None

    def __call__(self, fake: Tensor) -> dict[str, float]:
        """`frechet` is absent where the judge's weights are."""
        found = {"checkerboard": checkerboard(fake, self.real)}
        if self.net and self.known is not None:
            found["frechet"] = frechet(self.known, features(self.net, fake))
        return found
