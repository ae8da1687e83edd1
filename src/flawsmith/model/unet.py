"""Encoder–decoder networks for segmentation: feature pyramid in, one logit plane per kind out."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Sequential):
    """Two 3x3 convolutions, each with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(*conv_norm(inputs, outputs), *conv_norm(outputs, outputs))


def conv_norm(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class NarrowEncoder(nn.Module):
    """The contracting path of NVIDIA's DAGM U-Net ("UNet Industrial"): `filters`, doubled at each of `depth` levels."""

    def __init__(self, channels: int, filters: int = 16, depth: int = 5) -> None:
        super().__init__()
        self.widths = [filters * 2**level for level in range(depth)]
        self.levels = nn.ModuleList(Block(i, o) for i, o in zip([channels, *self.widths], self.widths, strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) to features at strides 1, 2, 4 …"""
        features = []
        for index, level in enumerate(self.levels):
            x = level(functional.max_pool2d(x, 2) if index else x)
            features.append(x)
        return features


class UNet(nn.Module):
    """Encoder, then at each level: double the size, join the encoder's features, two convolutions.

    encoder: gives features at strides s, 2s, 4s …; `widths` their channels
    stem:    the stride s of the finest features; logits are brought back to stride 1 by bilinear interpolation
    """

    def __init__(self, encoder: nn.Module, widths: list[int], kinds: int, decoder: list[int], stem: int = 1) -> None:
        super().__init__()
        self.encoder, self.stem = encoder, stem
        below = [*decoder[1:], widths[-1]]
        self.ups = nn.ModuleList(
            Block(low + skip, out) for low, skip, out in zip(below, widths[:-1], decoder, strict=True)
        )
        self.head = nn.Conv2d(decoder[0], kinds, 1)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, -4.0)  # defects are rare: start from "nothing here"

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, kinds, H, W)."""
        *skips, x = self.encoder(x)
        for index in reversed(range(len(skips))):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.ups[index](torch.cat([skips[index], x], dim=1))
        logits = self.head(x)
        if self.stem > 1:
            logits = functional.interpolate(logits, scale_factor=float(self.stem), mode="bilinear", align_corners=False)
        return logits


def narrow_unet(channels: int, kinds: int, filters: int = 16, depth: int = 5) -> UNet:
    """The default: 16-32-64-128-256 filters, 2 million parameters."""
    encoder = NarrowEncoder(channels, filters, depth)
    return UNet(encoder, encoder.widths, kinds, decoder=encoder.widths[:-1])


def narrow_margin(depth: int = 5) -> int:
    """Radius in pixels beyond which a pixel cannot influence `narrow_unet`, rounded up to the stride."""
    strides = [2**level for level in range(depth)]
    convolutions = 2 * sum(strides) + 2 * sum(strides[:-1])
    grid = sum(strides[:-1]) * 2  # which half of a pooled pixel one stands on, going down and coming up
    return -(-(convolutions + grid) // strides[-1]) * strides[-1]
