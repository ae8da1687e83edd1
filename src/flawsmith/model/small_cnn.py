"""A small convolutional network, trained from scratch and sized to the data."""

import math
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError
from flawsmith.model.unet import conv_norm

FINEST = 4  # pixels that the last feature map keeps of the image's shorter side, at least
WIDEST = 256


class SmallCnnSettings(Settings):
    """`filters` in the first level, doubled at each of `depth` levels up to 256; each level halves the size."""

    channels: Literal[1, 3] = 3
    side_px: int = Field(default=128, ge=16)
    filters: int = Field(default=16, ge=4, le=WIDEST)
    depth: int = Field(default=4, ge=2, le=6)
    dropout: float = Field(default=0.2, ge=0, lt=1)


def sized_to(images: int, side_px: int, channels: Literal[1, 3] = 3) -> SmallCnnSettings:
    """Settings for `images` training images of `side_px`: deep enough to see the image whole, wider with more images.

    Depth leaves a map of at least 4 px. Width is a rule of thumb: 8 filters under 300 images, 16 under 3000, else 32;
    dropout falls with it, since what is repeated often is learnt by heart.

    Raises `ConfigError` for images under 16 px, which leave nothing to pool.
    """
    if side_px < 16:
        raise ConfigError(f"images of {side_px} px are too small for a small CNN: give it at least 16 px")
    depth = min(6, int(math.log2(side_px / FINEST)))
    filters, dropout = (8, 0.5) if images < 300 else (16, 0.3) if images < 3000 else (32, 0.2)
    return SmallCnnSettings(channels=channels, side_px=side_px, filters=filters, depth=depth, dropout=dropout)


class SmallCnn(nn.Module):
    """Levels of 3x3 convolution, batch norm, ReLU and 2x2 max pooling; the mean, then dropout."""

    def __init__(self, settings: SmallCnnSettings) -> None:
        super().__init__()
        widths = [min(settings.filters * 2**level, WIDEST) for level in range(settings.depth)]
        self.levels = nn.Sequential(
            *(
                nn.Sequential(*conv_norm(i, o), nn.MaxPool2d(2))
                for i, o in zip([settings.channels, *widths], widths, strict=False)
            )
        )
        self.dim, self.dropout = widths[-1], settings.dropout

    def blocks(self) -> list[nn.Module]:
        """The levels."""
        return list(self.levels)

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, dim, H / 2**depth, W / 2**depth), rounded down."""
        return self.levels(x)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, dim)."""
        return functional.dropout(self.feature_map(x).mean((2, 3)), self.dropout, self.training)
