"""A network so small that its answer is known, and recipes made of it: bright spots are "bright", dark ones "dark"."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.core.defect import Defect
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec
from flawsmith.decide.rules import Decision, RegionRule
from flawsmith.deploy.export import Export, ExportSettings, export_recipe
from flawsmith.line.recipe import DatasetEntry

DECISION = Decision(default=RegionRule(threshold=0.6, review_threshold=0.4, min_area_px=4))
DTYPES = {8: np.uint8, 16: np.uint16}


class TinyNet(nn.Module):
    """Two kinds by thresholds on a 3x3 mean; a strided branch with random weights makes it a real little U-Net."""

    def __init__(self, channels: int = 1, bit_depth: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.top = float(2**bit_depth - 1)
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 8, 2, stride=2)
        self.mid = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)
        with torch.no_grad():
            for part in (self.first, self.down, self.mid, self.head):
                part.weight.mul_(0.05)
                part.bias = nn.Parameter(torch.zeros(part.out_channels))
            self.first.weight[0] = 1 / (9 * channels)  # the mean brightness around a pixel
            self.mid.weight[0] = 0
            self.mid.weight[0, 0, 1, 1] = 1
            self.head.weight[0, 0], self.head.weight[1, 0] = 20, -20
            # sigmoid(20 mean - 16) is 0.5 at a mean of 0.8, sigmoid(4 - 20 mean) at 0.2
            self.head.bias = nn.Parameter(torch.tensor([-16.0, 4.0]))

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.permute(0, 3, 1, 2).to(torch.float32) / self.top
        x = functional.relu(self.first(x))
        low = functional.interpolate(functional.relu(self.down(x)), scale_factor=2.0, mode="nearest")
        return torch.sigmoid(self.head(functional.relu(self.mid(torch.cat([x, low], dim=1)))))


def tiny_spec(channels: int = 1, bit_depth: int = 8) -> ModelSpec:
    values = {"channels": channels, "bit_depth": bit_depth, "stride": 2, "margin": 6, "max_side": 64}
    return ModelSpec.model_validate({"kinds": ("bright", "dark"), **values})


def tiny_image(
    kind: str | None = None, seed: int = 0, shape: tuple[int, int] = (48, 56), channels: int = 1, bit_depth: int = 8
) -> np.ndarray:
    """Grey noise around one half, with a spot of 12 by 12 where a kind is given."""
    top = 2**bit_depth - 1
    image = np.random.default_rng(seed).integers(int(0.45 * top), int(0.55 * top), (*shape, channels))
    if kind:
        image[10:22, 20:32] = {"bright": top, "dark": 0}[kind]
    return (image[:, :, 0] if channels == 1 else image).astype(DTYPES[bit_depth])


def tiny_samples(count: int = 6, channels: int = 1, bit_depth: int = 8, defective: bool = True) -> list[Sample]:
    """Alternately healthy, bright and dark; all healthy when `defective` is off."""
    samples = []
    for index in range(count):
        kind = (None, "bright", "dark")[index % 3] if defective else None
        pixels = tiny_image(kind, index, channels=channels, bit_depth=bit_depth)
        defects = (Defect(kind, (20, 10, 32, 22), np.ones((12, 12), bool)),) if kind else ()
        samples.append(Sample(f"part{index}", pixels, kind is None, kind or "good", defects))
    return samples


def shifted_net(shift: float) -> TinyNet:
    """The tiny network with its logits shifted: another network of the same shape."""
    net = TinyNet().eval()
    assert net.head.bias is not None
    net.head.bias.data += shift
    return net


@cache
def tiny_net(channels: int = 1, bit_depth: int = 8) -> TinyNet:
    return TinyNet(channels, bit_depth).eval()


def tiny_export(out: Path, channels: int = 1, bit_depth: int = 8, **changes: object) -> Export:
    """A recipe of the tiny network with every engine that can be made."""
    values: dict = {
        "name": "tiny",
        "dataset": DatasetEntry(name="spots", content_hash="0" * 64),
        "pixel_mm": 0.1,
        "threads": 1,
        **changes,
    }
    samples = tiny_samples(6, channels, bit_depth)
    settings = ExportSettings(**values)
    net, spec = tiny_net(channels, bit_depth), tiny_spec(channels, bit_depth)
    return export_recipe(net, spec, DECISION, out, samples, samples, settings)
