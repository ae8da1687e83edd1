"""The ONNX file: one file, free sizes, preprocessing inside, nothing of the machine that wrote it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from flawsmith.core.errors import ConfigError, EnvironmentFault
from flawsmith.deploy import onnx_graph
from flawsmith.deploy.onnx_graph import INPUT, OPSET, OUTPUT, export_onnx
from tiny_recipe import tiny_image, tiny_net, tiny_spec


@pytest.fixture(scope="module")
def graph(onnx_bytes: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(onnx_bytes)


def test_is_valid_and_says_its_opset(graph: onnx.ModelProto) -> None:
    onnx.checker.check_model(graph, full_check=True)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]


def test_takes_pixels_and_gives_scores_of_any_batch_and_size(graph: onnx.ModelProto) -> None:
    (given,), (wanted,) = graph.graph.input, graph.graph.output
    assert (given.name, wanted.name) == (INPUT, OUTPUT)
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert wanted.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    shape = given.type.tensor_type.shape.dim
    assert [bool(dim.dim_param) for dim in shape] == [True, True, True, False]
    assert shape[3].dim_value == 1


def test_no_weight_lies_outside(graph: onnx.ModelProto) -> None:
    assert graph.graph.initializer
    for tensor in graph.graph.initializer:
        assert tensor.data_location == onnx.TensorProto.DEFAULT
        assert not tensor.external_data


def test_no_path_of_this_machine_is_inside(onnx_bytes: bytes) -> None:
    for trace in (b".py", b"site-packages", str(Path.home()).encode(), str(Path.cwd()).encode()):
        assert trace not in onnx_bytes


def test_same_module_same_bytes(onnx_bytes: bytes) -> None:
    assert export_onnx(tiny_net(), tiny_spec()) == onnx_bytes


def test_scores_are_raw(onnx_bytes: bytes) -> None:
    tiles = tiny_image("bright", 1)[None, :, :, None]
    session = onnxruntime.InferenceSession(onnx_bytes)
    found = np.asarray(session.run(None, {INPUT: tiles})[0])
    with torch.inference_mode():
        expected = tiny_net()(torch.from_numpy(tiles)).numpy()
    assert np.abs(found - expected).max() < 1e-6
    assert 0 < found.min() < found.max() < 1


def test_a_module_of_another_contract_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"its spec says float32 \(2, 1, 8, 12\)"):
        export_onnx(tiny_net(), tiny_spec().model_copy(update={"kinds": ("bright",)}))

    class Half(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return tiny_net()(pixels).half()

    with pytest.raises(ConfigError, match=r"torch\.float16"):
        export_onnx(Half(), tiny_spec())


def test_without_onnxscript_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "find_spec", lambda package: None)
    with pytest.raises(EnvironmentFault, match=r"flawsmith\[train\]"):
        export_onnx(tiny_net(), tiny_spec())
