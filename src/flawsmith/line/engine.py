"""Engines: what runs a network on this machine. Each maps (1, h, w, C) integers to (1, K, h, w) float32 scores."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np

from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault, missing_package, nearest
from flawsmith.core.openvino import import_openvino
from flawsmith.core.spec import ModelSpec

Precision = Literal["fp32", "bf16", "int8"]
ONNX_FILE = "model.onnx"
OPENVINO_FILES = ("openvino/model.xml", "openvino/model.bin")
INT8_FILES = ("openvino/model-int8.xml", "openvino/model-int8.bin")


class Engine(Protocol):
    """A `core.spec.Run`. Not for two threads at once."""

    def __call__(self, tiles: np.ndarray) -> np.ndarray: ...


Open = Callable[[Mapping[str, bytes], "EngineKind", ModelSpec, int], Engine]


@dataclass(frozen=True)
class EngineKind:
    """One way to run a recipe.

    files:  what it reads from the recipe
    reach:  how many times the model's `max_side` its windows may measure: an engine that needs less memory a pixel
            takes larger windows, and computes less overlap
    """

    package: str
    precision: Precision
    files: tuple[str, ...]
    open: Open
    reach: float = 1.0

    @property
    def installed(self) -> bool:
        return find_spec(self.package) is not None


def open_engine(name: str, files: Mapping[str, bytes], spec: ModelSpec, threads: int | None = None) -> Engine:
    """Load an engine of `ENGINES` from the bytes of its files.

    threads: None takes every processor this process may use

    Raises `ConfigError` for an unknown name, `EnvironmentFault` when its package is missing or cannot load the files,
    `DataError` when the network does not fit `spec`.
    """
    kind = engine_kind(name)
    if not kind.installed:
        raise missing_package(kind.package, "openvino")
    try:
        return kind.open(files, kind, spec, threads or processors())
    except DataError:
        raise
    except Exception as error:
        raise EnvironmentFault(f"{name} cannot load the network: {_first_line(error)}; try another --engine") from error


def engine_kind(name: str) -> EngineKind:
    if name not in ENGINES:
        raise ConfigError(f"there is no engine {name!r}.{nearest(name, list(ENGINES))}")
    return ENGINES[name]


def engine_spec(name: str, spec: ModelSpec) -> ModelSpec:
    """`spec` with the windows that suit the engine's memory; seam-free tiling gives the same scores."""
    return spec.model_copy(update={"max_side": round(spec.max_side * engine_kind(name).reach)})


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnnxRuntime:
    """ONNX Runtime on the CPU. One session serves every image size."""

    def __init__(self, files: Mapping[str, bytes], kind: EngineKind, spec: ModelSpec, threads: int) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.enable_mem_pattern = (
            False  # planned blocks come on top of the arena: the same speed, a third more memory
        )
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(files[ONNX_FILE], options, providers=["CPUExecutionProvider"])
        self._shrinking = onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._shape: tuple[int, ...] = ()
        (given,), (wanted,) = self._session.get_inputs(), self._session.get_outputs()
        _check_network(given.type, given.shape[-1], wanted.shape[1], spec)
        self._name = given.name

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        # What the arena holds for another size does not fit this one: give it back.
        options = None if tiles.shape == self._shape else self._shrinking
        self._shape = tiles.shape
        return np.asarray(self._session.run(None, {self._name: tiles}, options)[0])


class OpenVino:
    """OpenVINO on the CPU. A network is compiled for one size, which costs a tenth of a second; two are kept."""

    kept = 2

    def __init__(self, files: Mapping[str, bytes], kind: EngineKind, spec: ModelSpec, threads: int) -> None:
        openvino = import_openvino()
        self._core = openvino.Core()
        self._model = self._core.read_model(files[kind.files[0]], files[kind.files[1]])
        given, wanted = self._model.input(0), self._model.output(0)
        channels, kinds = given.partial_shape[3], wanted.partial_shape[1]
        _check_network(given.element_type.get_type_name(), channels.get_length(), kinds.get_length(), spec)
        self._config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if kind.precision == "bf16" else "f32",
            "ENABLE_CPU_PINNING": False,  # pinned, two stations on one machine would share the same first cores
        }
        self._requests: dict[tuple[int, ...], Any] = {}

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        # The request goes last: the dict's order is that of use.
        request = self._requests.pop(tiles.shape, None) or self._compile(tiles.shape)
        self._requests[tiles.shape] = request
        return request.infer([tiles], share_inputs=True)[0]

    def _compile(self, shape: tuple[int, ...]) -> Any:
        while len(self._requests) >= self.kept:
            del self._requests[next(iter(self._requests))]
        self._model.reshape(list(shape))
        return self._core.compile_model(self._model, "CPU", self._config).create_infer_request()


def _check_network(element: str, channels: Any, kinds: Any, spec: ModelSpec) -> None:
    """The graph's input type ("u8", "tensor(uint8)" …), channels and planes against the spec."""
    wanted = {8: ("u8", "tensor(uint8)"), 16: ("u16", "tensor(uint16)")}[spec.bit_depth]
    if element not in wanted or channels != spec.channels or kinds != len(spec.kinds):
        raise DataError(
            f"the network takes {channels} channels of {element} and gives {kinds} maps; the recipe says "
            f"{spec.channels} channels of {spec.bit_depth} bits and {len(spec.kinds)} kinds: export it again"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# Fastest last on most processors; which one is used is what `export` measured (see `line.recipe.pick_engine`).
ENGINES: dict[str, EngineKind] = {
    "onnxruntime": EngineKind("onnxruntime", "fp32", (ONNX_FILE,), OnnxRuntime, reach=1.25),
    "openvino": EngineKind("openvino", "fp32", OPENVINO_FILES, OpenVino, reach=1.45),
    "openvino-bf16": EngineKind("openvino", "bf16", OPENVINO_FILES, OpenVino, reach=2.0),
    "openvino-int8": EngineKind("openvino", "int8", INT8_FILES, OpenVino, reach=2.0),
}
