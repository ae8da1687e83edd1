"""The tiny network as ONNX bytes, exported once."""

import pytest

from flawsmith.deploy.onnx_graph import export_onnx
from tiny_recipe import tiny_net, tiny_spec


@pytest.fixture(scope="session")
def onnx_bytes() -> bytes:
    return export_onnx(tiny_net(), tiny_spec())
