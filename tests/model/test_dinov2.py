"""DINOv2 from a folder, with tiny models made here; skipped where transformers is not installed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flawsmith.core import ConfigError, DataError
from flawsmith.model.backbone import open_backbone
from flawsmith.model.dinov2 import Dinov2Size, load_dinov2, random_dinov2

transformers = pytest.importorskip("transformers")
TINY = Dinov2Size("a tiny one", 32, 2, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    random_dinov2(TINY).net.save_pretrained(tmp_path)
    return tmp_path


def test_what_was_saved_is_what_is_opened(folder: Path) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 3, 28, 56)
    model = load_dinov2(TINY, folder).eval()
    reference = transformers.Dinov2Model.from_pretrained(folder, local_files_only=True).eval()
    with torch.inference_mode():
        tokens = reference(x).last_hidden_state
        pooled, features = model(x), model.feature_map(x)
    assert torch.equal(pooled, torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1))
    assert features.shape == (2, 32, 2, 4)
    assert torch.equal(features[:, :, 1, 3], tokens[:, 1 + 4 + 3])


def test_other_sides_than_multiples_of_the_patch_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="multiples of 14"):
        load_dinov2(TINY, folder)(torch.zeros(1, 3, 28, 30))


def test_another_size_is_refused_by_its_configuration(folder: Path) -> None:
    with pytest.raises(DataError, match=r"dinov2 of width 32 and 2 layers.*dinov2-small.* width 384 and 12"):
        open_backbone("dinov2-small", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "vit"}))
    with pytest.raises(DataError, match="holds vit"):
        load_dinov2(TINY, folder)


def test_a_tensor_that_is_missing_or_of_another_shape_is_never_drawn_anew(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    name = next(k for k in whole if k.endswith("mlp.fc1.weight"))
    save_file({k: v for k, v in whole.items() if k != name}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"mlp\.fc1\.weight"):
        load_dinov2(TINY, folder)
    save_file({**whole, name: whole[name][:5].clone()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"cannot be read|does not hold"):
        load_dinov2(TINY, folder)


def test_truncated_and_missing_files_are_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-100])
    with pytest.raises(DataError, match=str(folder)):
        load_dinov2(TINY, folder)
    file.write_bytes(data)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match=str(folder)):
        load_dinov2(TINY, folder)
    file.unlink()
    with pytest.raises(DataError, match=r"there is no .*model\.safetensors"):
        load_dinov2(TINY, folder)
