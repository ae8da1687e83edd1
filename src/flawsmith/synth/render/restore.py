"""What a denoiser takes from a faint flaw, put back from the noisy image.

The difference between the traced and the denoised image is noise, and what denoising lost. Near a flaw it is explained
by what is known without noise: how much of each pixel the flaw covers, and how it differs from its surroundings in
normal and albedo. What is so explained was lost; it is averaged over many pixels, so that it brings little noise back.
First-order regression on features as in Bitterli et al. 2016 (doi:10.1111/cgf.12954), of the residual.
"""

import cv2
import numpy as np

_REACH_PX = 6.0  # deviation of the window within which a flaw is taken to act alike
_RIDGE = 0.004  # share of the strongest feature in the tile


def restore(
    clean: np.ndarray, traced: np.ndarray, albedo: np.ndarray, normal: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    """The denoised image (H, W, 3) with the flaw's contrast as it was traced; coverage: (H, W) shares of pixels."""
    if not coverage.any():
        return clean
    known = _features(albedo, normal, coverage)
    gram = _near(known[..., :, None] * known[..., None, :])
    lost = _near(known[..., :, None] * (traced - clean)[..., None, :])
    ridge = _RIDGE * np.maximum(gram.max((0, 1)).diagonal(), 1e-9)
    weights = np.linalg.solve(gram + np.diag(ridge), lost)
    return clean + np.einsum("hwf,hwfc->hwc", known, weights).astype(np.float32)


def _features(albedo: np.ndarray, normal: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """(H, W, 6): 1, coverage, and it times what differs from the surroundings in normal and albedo."""
    beside = (coverage == 0).astype(np.float64)[..., None]
    guides = np.concatenate([normal, albedo.mean(-1, keepdims=True)], axis=-1)
    differs = guides - _near(guides * beside) / np.maximum(_near(beside), 1e-3)
    acts = coverage[..., None] * np.concatenate([np.ones_like(beside), differs], axis=-1)
    return np.concatenate([np.ones_like(beside), acts], axis=-1)


def _near(values: np.ndarray) -> np.ndarray:
    """Weighted means over the surroundings of each pixel of (H, W, …), nothing beyond the border."""
    planes = np.moveaxis(values.reshape(*values.shape[:2], -1).astype(np.float64), -1, 0)
    means = [cv2.GaussianBlur(p, (0, 0), _REACH_PX, borderType=cv2.BORDER_CONSTANT) for p in planes]
    return np.stack(means, axis=-1).reshape(values.shape)
