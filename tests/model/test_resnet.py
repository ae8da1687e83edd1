"""ResNets: torchvision's names, shapes and arithmetic, without torchvision."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from flawsmith.core import DataError
from flawsmith.model.resnet import RESNETS, ResNet, Wide, load_resnet

# Of torchvision's resnet18, 34 and 50 less the classifier's 1000 * (dim + 1), as its documentation gives them.
PARAMETERS = {"resnet18": 11_689_512 - 513_000, "resnet34": 21_797_672 - 513_000, "resnet50": 25_557_032 - 2_049_000}


@pytest.mark.parametrize("name", RESNETS)
def test_as_many_weights_as_torchvisions(name: str) -> None:
    assert sum(p.numel() for p in ResNet(RESNETS[name]).parameters()) == PARAMETERS[name]


def test_names_are_torchvisions() -> None:
    names = ResNet(RESNETS["resnet50"]).state_dict().keys()
    assert {"conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "layer4.2.conv3.weight"} <= names
    assert "layer1.1.downsample.0.weight" not in names
    plain = ResNet(RESNETS["resnet18"]).state_dict().keys()
    assert "layer2.0.downsample.1.bias" in plain
    assert "layer1.0.downsample.0.weight" not in plain


def test_wide_blocks_halve_in_the_3x3_convolution() -> None:
    block = ResNet(RESNETS["resnet50"]).layer2[0]
    assert isinstance(block, Wide)
    assert [c.stride for c in (block.conv1, block.conv2, block.conv3)] == [(1, 1), (2, 2), (1, 1)]


def test_a_plain_block_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    net = ResNet(RESNETS["resnet18"]).eval()
    block, w = net.layer2[0], net.layer2[0].state_dict()
    for norm in (block.bn1, block.bn2, block.downsample[1]):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 64, 9, 9)

    def normed(y: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, scale, shift = (
            w[f"{name}.{k}"][:, None, None] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / (var + 1e-5).sqrt() * scale + shift

    inner = functional.relu(normed(functional.conv2d(x, w["conv1.weight"], stride=2, padding=1), "bn1"))
    inner = normed(functional.conv2d(inner, w["conv2.weight"], padding=1), "bn2")
    skip = normed(functional.conv2d(x, w["downsample.0.weight"], stride=2), "downsample.1")
    with torch.inference_mode():
        torch.testing.assert_close(block(x), functional.relu(inner + skip), atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def file18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What torchvision's resnet18 is as safetensors, with random weights."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    head = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    save_file({**ResNet(RESNETS["resnet18"]).state_dict(), **head}, path)
    return path


def test_a_file_of_torchvisions_names_loads_whole(file18: Path) -> None:
    torch.manual_seed(2)
    one, other = ResNet(RESNETS["resnet18"]).eval(), ResNet(RESNETS["resnet18"]).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert not torch.equal(one(x), other(x))
        load_resnet(one, file18)
        load_resnet(other, file18)
        assert torch.equal(one(x), other(x))


@pytest.mark.parametrize(("name", "tensor"), [("resnet34", r"layer1\.2\.conv1"), ("resnet50", r"layer1\.0\.conv1")])
def test_a_file_of_another_size_is_refused_with_its_first_misfit(file18: Path, name: str, tensor: str) -> None:
    with pytest.raises(DataError, match=rf"resnet18\.safetensors.*{tensor}"):
        load_resnet(ResNet(RESNETS[name]), file18)


def test_a_deeper_file_is_refused_too(tmp_path: Path) -> None:
    save_file(ResNet(RESNETS["resnet34"]).state_dict(), tmp_path / "deep.safetensors")
    with pytest.raises(DataError, match=r"deep\.safetensors holds layer1\.2\.bn1\.bias"):
        load_resnet(ResNet(RESNETS["resnet18"]), tmp_path / "deep.safetensors")
