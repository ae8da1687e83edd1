"""ONNX bytes as OpenVINO's own format: fp32, and int8 by post-training quantisation with nncf."""

import io
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from flawsmith.core.errors import DataError, missing_package
from flawsmith.core.geometry import Box
from flawsmith.core.openvino import import_openvino, openvino_installed
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec, fitted, scaled
from flawsmith.core.tiles import tiled
from flawsmith.line.engine import INT8_FILES, OPENVINO_FILES

_CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
_NO_PIXELS = ("Constant", "ShapeOf")  # what is computed from these is never quantised
CALIBRATION_SIDE = 768  # larger images are cut to this: statistics need variety, not area


def nncf_installed() -> bool:
    return find_spec("nncf") is not None


def computes_bf16() -> bool:
    """Whether this processor has bfloat16 arithmetic, so that the bf16 engine is one of its own."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def to_openvino(onnx: bytes) -> dict[str, bytes]:
    """ONNX bytes to the fp32 files of the recipe. Raises `EnvironmentFault` without openvino."""
    if not openvino_installed():
        raise missing_package("openvino", "openvino")
    return dict(zip(OPENVINO_FILES, _saved(_read(onnx)), strict=True))


def to_int8(onnx: bytes, images: Sequence[np.ndarray]) -> dict[str, bytes]:
    """ONNX bytes to the int8 files of the recipe, its ranges measured on `images`, each (1, h, w, C).

    The first convolution and what prepares its input, the last convolution and the sigmoid stay fp32. Ranges reach
    from the smallest to the largest value seen: nncf's default, the mean of each image's largest, clips what is rare,
    and defects are rare.

    Raises `DataError` without images, `EnvironmentFault` without nncf.
    """
    if not images:
        raise DataError("int8 needs calibration images from the training split, got none")
    if not nncf_installed():
        raise missing_package("nncf", "openvino")
    import_openvino()
    with _quiet():
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        model = _read(onnx)
        whole_range = nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        )
        quantised = nncf.quantize(
            model,
            nncf.Dataset(images),
            subset_size=len(images),
            advanced_parameters=whole_range,
            ignored_scope=nncf.IgnoredScope(names=_kept_float(model), validate=False),
        )
    return dict(zip(INT8_FILES, _saved(quantised), strict=True))


def calibration_tiles(samples: Sequence[Sample], spec: ModelSpec) -> list[np.ndarray]:
    """One tile (1, h, w, C) per sample, padded to the stride as the inspector does, around its first defect; the whole
    image where the network sees no other."""
    if spec.side:
        return [fitted(sample.image(), spec)[None] for sample in samples]
    tiles = []
    for sample in samples:
        image = sample.image()
        if spec.window is None:
            around = sample.defects[0].box if sample.defects else None
            x0, y0, x1, y1 = crop_box(image.shape[:2], around, round(CALIBRATION_SIDE / spec.scale))
            image = image[y0:y1, x0:x1]
        tiles.append(_padded(scaled(image, spec), spec))
    return tiles


def crop_box(shape: tuple[int, int], around: Box | None, side: int) -> Box:
    """A box of at most `side` by `side` inside an image (H, W), around the centre of a box or of the image."""
    height, width = shape
    x, y = ((around[0] + around[2]) // 2, (around[1] + around[3]) // 2) if around else (width // 2, height // 2)
    wide, high = min(side, width), min(side, height)
    x0, y0 = min(max(x - wide // 2, 0), width - wide), min(max(y - high // 2, 0), height - high)
    return x0, y0, x0 + wide, y0 + high


def _padded(crop: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """The one window that `core.tiles` would give an engine for this crop."""
    windows = []

    def keep(window: np.ndarray) -> np.ndarray:
        windows.append(window[None])
        return np.zeros((1, *window.shape[:2]), np.float32)

    tiled(keep, crop, spec.model_copy(update={"max_side": max(2 * CALIBRATION_SIDE, spec.max_side)}).tiling)
    return windows[0]


def _read(onnx: bytes) -> Any:
    return import_openvino().Core().read_model(onnx, b"")


def _saved(model: Any) -> tuple[bytes, bytes]:
    """(xml, bin) of an OpenVINO model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        import_openvino().save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _kept_float(model: Any) -> list[str]:
    """The first and the last convolution with all that lies outside them.

    There one step of int8 is one step of the picture or of the score.
    """
    inputs = _until_convolution(model.get_parameters(), lambda node: [t.get_node() for t in _targets(node)])
    outputs = _until_convolution(model.get_results(), lambda node: [v.get_node() for v in node.input_values()])
    return sorted((inputs | outputs) - {node.get_friendly_name() for node in _ends(model)})


def _until_convolution(start: Iterable[Any], following: Callable[[Any], list[Any]]) -> set[str]:
    names: set[str] = set()
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in names and node.get_type_name() not in _NO_PIXELS:
            names.add(node.get_friendly_name())
            waiting += [] if node.get_type_name() in _CONVOLUTIONS else following(node)
    return names


def _targets(node: Any) -> Iterable[Any]:
    return (target for output in node.outputs() for target in output.get_target_inputs())


def _ends(model: Any) -> list[Any]:
    return [*model.get_parameters(), *model.get_results()]


@contextmanager
def _quiet() -> Iterator[None]:
    """nncf prints progress and remarks to stdout, which belongs to the command's data."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
