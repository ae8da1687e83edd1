"""From distances to scores, and the network that is exported."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.model.anomaly.spots import SpotNet, Whitening


class Normal(Protocol):
    """What healthy spots are like: whitened (N, D, h, w) in, distances (N, 1, h, w) out. A torch module."""

    def __call__(self, spots: Tensor) -> Tensor: ...


class Blur(nn.Module):
    """Gaussian blur of (N, 1, h, w); beyond the border the border goes on."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        radius = math.ceil(3 * sigma)
        steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
        line = torch.exp(-0.5 * (steps / max(sigma, 1e-6)).square())
        self.radius = radius
        self.kernel = nn.Buffer((line / line.sum()).reshape(1, 1, 1, -1))

    def forward(self, x: Tensor) -> Tensor:
        if not self.radius:
            return x
        x = functional.pad(x, (self.radius,) * 4, mode="replicate")
        return functional.conv2d(functional.conv2d(x, self.kernel), self.kernel.transpose(2, 3))


class Distances(nn.Module):
    """Integer pixels (N, H, W, C) to smoothed distances (N, 1, h, w) at the finest map's size."""

    def __init__(self, net: SpotNet, whitening: Whitening, normal: nn.Module, smooth: float) -> None:
        super().__init__()
        self.net, self.whitening, self.normal, self.blur = net, whitening, normal, Blur(smooth)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.blur(self.normal(self.whitening(self.net(pixels))))


class Deployable(nn.Module):
    """What is exported: integer pixels (N, H, W, C) to scores (N, 1, H, W) in [0, 1).

    d / (d + unit) rises strictly with the distance d and never saturates: `unit`, a distance among healthy images, is
    0.5. It is of training alone, so test data cannot move it.
    """

    def __init__(self, distances: nn.Module, unit: float) -> None:
        super().__init__()
        self.distances, self.unit = distances, unit

    def forward(self, pixels: Tensor) -> Tensor:
        coarse = self.distances(pixels)
        size = (pixels.shape[1], pixels.shape[2])
        d = functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        return d / (d + self.unit)
