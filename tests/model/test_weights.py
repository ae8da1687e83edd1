"""Weights files: every tensor accounted for, and a bad file is named with what is wrong in it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from flawsmith.core import DataError
from flawsmith.model.weights import fill, read_safetensors

WHERE = Path("some.safetensors")


def tiny() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_every_tensor_arrives_and_counters_stay() -> None:
    net, stored = tiny(), {k: torch.rand_like(v.float()) for k, v in tiny().state_dict().items()}
    fill(net, stored, WHERE)
    for name, tensor in net.state_dict().items():
        wanted = torch.tensor(0) if name.endswith("num_batches_tracked") else stored[name]
        torch.testing.assert_close(tensor, wanted)


def test_names_of_the_file_may_differ() -> None:
    net, stored = tiny(), {k.replace("0.", "stem.conv."): v for k, v in tiny().state_dict().items()}
    fill(net, stored, WHERE, names={"0": "stem.conv"})
    torch.testing.assert_close(net[0].weight, stored["stem.conv.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": torch.zeros(2, 1, 5, 5)}, r"0\.weight is \(2, 1, 5, 5\), the network's is \(2, 1, 3, 3\)"),
        ({"2.weight": torch.zeros(3)}, r"holds 2\.weight"),
        ({"1.bias": torch.tensor([1.0, float("nan")])}, r"1\.bias holds values that are not finite"),
        ({"1.running_mean": None}, r"no 1\.running_mean"),
    ],
)
def test_a_misfit_is_named_and_nothing_is_changed(change: dict, message: str) -> None:
    net, stored = tiny(), tiny().state_dict()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    changed = {k: v for k, v in {**stored, **change}.items() if v is not None}
    with pytest.raises(DataError, match=rf"some\.safetensors.*{message}"):
        fill(net, changed, WHERE)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_what_is_left_out_must_be_said() -> None:
    stored = {**tiny().state_dict(), "fc.weight": torch.zeros(2, 2)}
    fill(tiny(), stored, WHERE, left_out=("fc.",))
    with pytest.raises(DataError, match=r"holds fc\.weight"):
        fill(tiny(), stored, WHERE)


def test_missing_truncated_and_foreign_files_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file(tiny().state_dict(), whole)
    assert read_safetensors(whole).keys() == tiny().state_dict().keys()
    cut = tmp_path / "cut.safetensors"
    pickled = tmp_path / "pickled.safetensors"
    torch.save(tiny().state_dict(), pickled)
    for length in (0, 4, 40, len(whole.read_bytes()) - 1):
        cut.write_bytes(whole.read_bytes()[:length])
        with pytest.raises(DataError, match=r"cut\.safetensors is not a whole safetensors file"):
            read_safetensors(cut)
    with pytest.raises(DataError, match="save_file"):
        read_safetensors(pickled)
    with pytest.raises(DataError, match="there is no weights file"):
        read_safetensors(tmp_path / "none.safetensors")
