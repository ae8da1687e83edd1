"""The networks: latent vectors to crops, crops to whether they are real, crops to latent vectors.

Radford et al. 2016, arXiv:1511.06434, in the variant of the literature on surface defects: 5 x 5, stride 2, leaky ReLU,
batch norm. Crops are float (N, C, side, side) in [-1, 1].
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from flawsmith.model.anomaly.dcgan.settings import LATENT, DcganSettings

_SLOPE = 0.2
_COARSEST = 4  # side of the first map, in cells
_SPREAD, _END = 0.6, 1.0  # of the truncated normal


class Generator(nn.Module):
    """(N, 100) to (N, C, side, side); `resize` enlarges by nearest neighbour and convolves, which shows no checkers."""

    def __init__(self, widths: Sequence[int], channels: int, resize: bool = False) -> None:
        super().__init__()
        self.coarsest = (widths[0], _COARSEST, _COARSEST)
        self.project = nn.Linear(LATENT, widths[0] * _COARSEST**2, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.LeakyReLU(_SLOPE)]
        for before, after in pairwise(widths):
            layers += [*_enlarged(before, after, resize, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(_SLOPE)]
        self.layers = nn.Sequential(*layers, *_enlarged(widths[-1], channels, resize, bias=True), nn.Tanh())
        _published_start(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.project(z).unflatten(1, self.coarsest))


def _enlarged(before: int, after: int, resize: bool, bias: bool) -> list[nn.Module]:
    if resize:
        return [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(before, after, 5, padding=2, bias=bias)]
    return [nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=bias)]


class Trunk(nn.Module):
    """Crops to the features of the coarsest map, (N, widths[0] * 16): the generator's levels backwards."""

    def __init__(self, widths: Sequence[int], channels: int, norm: bool) -> None:
        super().__init__()
        sizes = [channels, *reversed(widths)]
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(sizes)):
            normed = norm and number > 0  # not the first, as published
            layers.append(nn.Conv2d(before, after, 5, stride=2, padding=2, bias=not normed))
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(_SLOPE)] if normed else [nn.LeakyReLU(_SLOPE)]
        self.layers, self.dim = nn.Sequential(*layers, nn.Flatten()), widths[0] * _COARSEST**2

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Discriminator(nn.Module):
    """Crops to logits (N,): above 0 it takes them for real."""

    def __init__(self, widths: Sequence[int], channels: int, norm: bool = True, spectral: bool = False) -> None:
        super().__init__()
        self.trunk = Trunk(widths, channels, norm)
        self.last = nn.Linear(self.trunk.dim, 1)
        _published_start(self)
        if spectral:
            for module in [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
                parametrizations.spectral_norm(module)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.trunk(x)).squeeze(1)


class Encoder(nn.Module):
    """Crops to latent vectors (N, 100), each number in (-1, 1) as those that the generator knows."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.trunk = Trunk(widths, channels, norm=True)
        self.last = nn.Linear(self.trunk.dim, LATENT)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(self.trunk(x)))


class Nets(nn.Module):
    """All three."""

    def __init__(self, settings: DcganSettings, channels: int, seed: int) -> None:
        super().__init__()
        chosen, widths = settings.stabilisers, settings.widths
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.generator = Generator(widths, channels, chosen.resize)
            self.encoder = Encoder(widths, channels)
            # batch norm mixes the crops of a batch, and a penalty on the gradient of one would be on all (their papers)
            free = chosen.spectral or chosen.r1 > 0
            self.discriminator = Discriminator(widths, channels, norm=not free, spectral=chosen.spectral)


def draw(count: int, truncated: bool, generator: torch.Generator) -> Tensor:
    """Latent vectors (count, 100) in [-1, 1], on the generator's device."""
    even = torch.rand(count, LATENT, generator=generator, device=generator.device)
    return truncated_normal(even) if truncated else 2 * even - 1


def truncated_normal(even: Tensor) -> Tensor:
    """Numbers evenly in [0, 1) to a normal of σ 0.6 cut off at ±1, by the inverse of its distribution function."""
    low = float(torch.special.ndtr(torch.tensor(-_END / _SPREAD, dtype=torch.float64)))
    z = _SPREAD * torch.special.ndtri(low + (1 - 2 * low) * even.double())
    return z.clamp(-_END, _END).to(even.dtype)


def _published_start(net: nn.Module) -> None:
    """Weights from a normal of σ 0.02."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
