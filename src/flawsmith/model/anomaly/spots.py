"""Spots: the features of each small neighbourhood of an image, from the inner maps of a pretrained network.

Maps of several depths are averaged over neighbours and brought to the finest of them, as in PatchCore (Roth et al.
2022, arXiv:2106.08265). Then they are whitened by the covariance of healthy spots: directions in which healthy spots
hardly vary count as much as others. Without it low-contrast textures are not told apart (`benchmarks/anomaly`).
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.core.errors import ConfigError
from flawsmith.model.backbone import Backbone
from flawsmith.model.classify_net import TOPS

DEFAULT_STAGES = {f"efficientnet-lite{number}": (5, 7) for number in range(3)}  # by benchmarks/anomaly/table.py
_FLOOR = 0.01  # of the mean variance: directions that healthy spots hardly use must not decide alone
_TINY = 1e-8


class SpotNet(nn.Module):
    """Integer pixels (N, H, W, C) to the pooled maps of some stages, float (N, D_i, H / s_i, W / s_i) each.

    stages: modules applied one after another up to the deepest that is used; `kept` the positions of those handed out
    """

    def __init__(self, backbone: Backbone, kept: Sequence[int], pool: int, bit_depth: int) -> None:
        super().__init__()
        stages = backbone.stages
        strange = [number for number in kept if not 1 <= number <= len(stages)]
        if strange or list(kept) != sorted(set(kept)):
            raise ConfigError(
                f"features.stages {list(kept)}: {backbone.info.name} has stages 1 to {len(stages)}; name some of them, "
                "ascending, each once"
            )
        self.stages = nn.ModuleList(stages[: max(kept)])
        self.kept, self.pool = tuple(number - 1 for number in kept), pool
        top, channels = TOPS[bit_depth], len(backbone.info.mean)
        mean, std = torch.tensor(backbone.info.mean), torch.tensor(backbone.info.std)
        self.mean = nn.Buffer(top * mean.reshape(1, channels, 1, 1))
        self.std = nn.Buffer(top * std.reshape(1, channels, 1, 1))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = pixels.permute(0, 3, 1, 2).to(torch.float32)
        x = (x.expand(-1, self.mean.shape[1], -1, -1) - self.mean) / self.std
        maps = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.kept:
                maps.append(self.pooled(x))
        return maps

    def pooled(self, x: Tensor) -> Tensor:
        if self.pool == 1:
            return x
        return functional.avg_pool2d(x, self.pool, stride=1, padding=self.pool // 2, count_include_pad=False)


def join(maps: Sequence[Tensor]) -> Tensor:
    """Maps of falling size, each (N, D_i, h_i, w_i), to one (N, sum of D_i, h_0, w_0)."""
    return torch.cat([maps[0], *(_like(m, maps[0]) for m in maps[1:])], dim=1)


def _like(x: Tensor, finest: Tensor) -> Tensor:
    if x.shape[2:] == finest.shape[2:]:
        return x
    return functional.interpolate(x, size=finest.shape[2:], mode="bilinear", align_corners=False)


class Whitening(nn.Module):
    """(N, D, h, w) maps to the same number of whitened ones: a spot of unit distance from the mean is ordinary.

    mean: (D,), matrix: (D, D)
    """

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.mean, self.matrix = nn.Buffer(mean), nn.Buffer(matrix)

    def rows(self, spots: Tensor) -> Tensor:
        """(n, D) to (n, D)"""
        return (spots - self.mean) @ self.matrix.T

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The joined and whitened map (N, D, h, w). Each map is turned before it is enlarged, where it is small: the
        two may change places, both being linear."""
        out, start = None, 0
        for x in maps:
            block = self.matrix[:, start : start + x.shape[1]]
            start += x.shape[1]
            turned = functional.conv2d(x, block[:, :, None, None])
            out = turned if out is None else out + _like(turned, out)
        assert out is not None
        return out - (self.matrix @ self.mean).reshape(1, -1, 1, 1)


class Moments:
    """Mean and covariance of spots, added up image by image in double precision."""

    def __init__(self, dim: int) -> None:
        self.count, self.sum, self.square = 0, torch.zeros(dim).double(), torch.zeros(dim, dim).double()

    def add(self, spots: Tensor) -> None:
        """spots: (n, D)"""
        self.count += len(spots)
        self.sum += spots.sum(0, dtype=torch.float64)
        self.square += (spots.T @ spots).double()

    def whitening(self) -> Whitening:
        """Scaled so that healthy spots lie about 1 from their mean, whatever D is."""
        mean = self.sum / self.count
        covariance = self.square / self.count - torch.outer(mean, mean)
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp(min=0) + _FLOOR * values.clamp(min=0).mean() + _TINY
        matrix = (vectors / values.sqrt()).T / math.sqrt(len(mean))
        return Whitening(mean.float(), matrix.float().contiguous())


def reach(net: SpotNet) -> tuple[int, int]:
    """Stride and radius, in pixels: the total down-sampling, and how far a spot of the deepest map sees.

    Short cuts see no farther than what they go around, so convolutions are walked in their order.
    """
    stride, radius = 1, 0
    for name, module in net.stages.named_modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d) and "downsample" not in name:
            kernel, step = _single(module.kernel_size), _single(module.stride)
            radius += kernel // 2 * stride
            stride *= step
    return stride, radius + (net.pool // 2 + 1) * stride


def _single(size: int | Iterable[int]) -> int:
    return size if isinstance(size, int) else max(size)
