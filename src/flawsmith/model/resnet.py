"""ResNet-18, -34 and -50 with torchvision's tensor names, so that its weights fit; torchvision itself is not needed.

He et al. 2015 (arXiv:1512.03385). As in torchvision, the wide blocks of ResNet-50 halve the size in their 3x3
convolution ("v1.5"), not in the first 1x1.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from flawsmith.model.weights import fill, read_safetensors


@dataclass(frozen=True)
class ResNetSize:
    """blocks: in each of the four stages; wide: three convolutions a block that end 4 times as wide, not two."""

    blocks: tuple[int, int, int, int]
    wide: bool

    @property
    def dim(self) -> int:
        return 2048 if self.wide else 512


RESNETS = {
    "resnet18": ResNetSize((2, 2, 2, 2), False),
    "resnet34": ResNetSize((3, 4, 6, 3), False),
    "resnet50": ResNetSize((3, 4, 6, 3), True),
}


class Plain(nn.Module):
    """Two 3x3 convolutions, added to the input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + (x if self.downsample is None else self.downsample(x)))


class Wide(nn.Module):
    """1x1 to narrow, 3x3, 1x1 to widen; added to the input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.conv1 = _conv(inputs, narrow, 1)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = _conv(narrow, narrow, 3, stride)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.conv3 = _conv(narrow, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Features at stride 32; pooled by their mean."""

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        self.conv1 = _conv(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        kind, inputs, stages = (Wide if size.wide else Plain), 64, []
        for index, count in enumerate(size.blocks):
            outputs = size.dim // 2 ** (3 - index)
            strides = [1 if index == 0 else 2] + [1] * (count - 1)
            stages.append(
                nn.Sequential(*(kind(inputs if i == 0 else outputs, outputs, s) for i, s in enumerate(strides)))
            )
            inputs = outputs
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def blocks(self) -> list[nn.Module]:
        """Stem, then each residual block."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        return [nn.ModuleList([self.conv1, self.bn1]), *(block for stage in stages for block in stage)]

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 512 or 2048, H / 32, W / 32), rounded up."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(x, 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 512 or 2048)."""
        return self.feature_map(x).mean((2, 3))


def load_resnet(net: ResNet, path: Path) -> None:
    """Fill the network in place from a safetensors file with torchvision's names; the classifier `fc` is left out.

    Raises `DataError` naming the file and the first tensor that does not fit.
    """
    fill(net, read_safetensors(path), path, left_out=("fc.",))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What brings the input to the output's shape; None where it has it."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
