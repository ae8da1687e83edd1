"""timm behind the same door; what needs timm is skipped where it does not import."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from flawsmith.core import ConfigError, DataError, EnvironmentFault
from flawsmith.model import timm_model
from flawsmith.model.backbone import open_backbone


@pytest.fixture
def timm() -> Any:
    try:
        return import_module("timm")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm does not import: {error}")


def test_without_timm_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_model, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="timm is not installed: pip install timm"):
        open_backbone("timm:convnext_atto", pretrained=False)


def test_a_timm_that_does_not_import_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(timm_model, "find_spec", lambda name: True)
    monkeypatch.setattr(timm_model, "import_module", broken)
    with pytest.raises(EnvironmentFault, match=r"torchvision::nms does not exist.*install the torchvision"):
        open_backbone("timm:convnext_atto", pretrained=False)


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet18", 7), ("convnext_atto", 7), ("vit_tiny_patch16_224", 14), ("swin_tiny_patch4_window7_224", 7)],
)
def test_features_are_timms_own(timm: Any, name: str, side: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = timm.create_model(name, pretrained=False)
    save_file(reference.state_dict(), tmp_path / "w.safetensors")
    backbone = open_backbone(f"timm:{name}", tmp_path / "w.safetensors")
    reference.reset_classifier(0)
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(x), reference.eval()(x))
        assert backbone.feature_map(x).shape == (2, backbone.info.map_dim, side, side)
    inside = [id(p) for block in backbone.blocks for p in block.parameters()]
    assert sorted(inside) == sorted(id(p) for p in backbone.parameters())
    assert backbone.info.mean == tuple(reference.pretrained_cfg["mean"])


def test_unknown_names_and_other_files_are_refused(timm: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resnet18"):
        open_backbone("timm:resnet81", pretrained=False)
    save_file(timm.create_model("resnet18", pretrained=False).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"w\.safetensors.*layer1\.2\.conv1"):
        open_backbone("timm:resnet34", tmp_path / "w.safetensors")
