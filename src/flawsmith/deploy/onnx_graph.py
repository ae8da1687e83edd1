"""A torch module as ONNX bytes: preprocessing inside, raw scores out, any batch and any size of the stride."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from flawsmith.core.errors import ConfigError, missing_package
from flawsmith.core.spec import ModelSpec

OPSET = 18  # what torch's exporter writes natively, and every ONNX Runtime since 1.14 reads
INPUT, OUTPUT = "pixels", "scores"
_DTYPES = {8: torch.uint8, 16: torch.uint16}


def export_onnx(module: nn.Module, spec: ModelSpec) -> bytes:
    """ONNX of `module`, which maps integers (N, H, W, C) to float32 (N, K, H, W) as `spec` says.

    N, H and W stay free; where the network is shown one size, as a classifier is, N alone. No weight lies outside the
    bytes, and no path of this machine inside.

    Raises `ConfigError` when the module's output is not what the spec says, `EnvironmentFault` without onnxscript.
    """
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise missing_package(package, "train")
    size = spec.window or (4 * spec.stride, 6 * spec.stride)
    example = torch.zeros((2, *size, spec.channels), dtype=_DTYPES[spec.bit_depth])
    _check_output(module, example, spec)
    free: dict[int, Any] = {0: torch.export.Dim("n")}
    if spec.window is None:
        strides = torch.export.Dim("h_strides", min=1), torch.export.Dim("w_strides", min=1)
        free |= {1: spec.stride * strides[0], 2: spec.stride * strides[1]}
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(free,),
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    _strip(graph)
    return graph.SerializeToString()


def _check_output(module: nn.Module, example: torch.Tensor, spec: ModelSpec) -> None:
    with torch.inference_mode():
        scores = module.eval()(example)
    size = (1, 1) if spec.side else example.shape[1:3]
    wanted = (example.shape[0], len(spec.kinds), *size)
    if scores.shape != wanted or scores.dtype != torch.float32:
        raise ConfigError(f"the module gives {scores.dtype} {tuple(scores.shape)}, its spec says float32 {wanted}")


def _strip(graph: Any) -> None:
    """Remove stack traces and names of source files: they are of no use on the line, and differ by machine."""
    del graph.metadata_props[:]
    body = graph.graph
    for item in [body, *body.node, *body.input, *body.output, *body.value_info, *body.initializer]:
        del item.metadata_props[:]
        item.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on packages that are not there and on its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
