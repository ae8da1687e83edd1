"""OpenVINO's files: fp32 as it is, int8 with float ends and ranges that reach to the rarest value."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError, EnvironmentFault
from flawsmith.core.openvino import import_openvino
from flawsmith.deploy import openvino_graph
from flawsmith.deploy.openvino_graph import CALIBRATION_SIDE, calibration_tiles, crop_box, to_int8, to_openvino
from flawsmith.line.engine import INT8_FILES, OPENVINO_FILES, open_engine
from tiny_recipe import tiny_image, tiny_samples, tiny_spec


@pytest.fixture(scope="module")
def int8(onnx_bytes: bytes) -> dict[str, bytes]:
    return to_int8(onnx_bytes, calibration_tiles(tiny_samples(), tiny_spec()))


def test_fp32_keeps_its_weights(onnx_bytes: bytes) -> None:
    files = to_openvino(onnx_bytes)
    assert tuple(files) == OPENVINO_FILES
    model = import_openvino().Core().read_model(*files.values())
    weights = [op for op in model.get_ops() if op.get_type_name() == "Constant" and len(op.get_output_shape(0)) == 4]
    assert {str(op.get_element_type()) for op in weights} == {"<Type: 'float32'>"}


def _weight_type(convolution: Any) -> str:
    """The type in which a convolution's weights are stored."""
    node = convolution.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return node.get_element_type().get_type_name()


def test_int8_leaves_both_ends_float(int8: dict[str, bytes]) -> None:
    assert tuple(int8) == INT8_FILES
    model = import_openvino().Core().read_model(*int8.values())
    convolutions = [op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    quantised = [_weight_type(op) == "i8" for op in convolutions]
    assert quantised == [False, True, True, False]


def test_calibration_on_healthy_parts_alone_clips_defects(onnx_bytes: bytes, int8: dict[str, bytes]) -> None:
    """Why the parity gate is there: ranges that never met a defect do not reach to it."""
    healthy = to_int8(onnx_bytes, calibration_tiles(tiny_samples(defective=False), tiny_spec()))
    spot = tiny_image("bright", 1)[None, :, :, None]
    clipped = open_engine("openvino-int8", healthy, tiny_spec(), 1)(spot)[0, 0, 16, 26]
    whole = open_engine("openvino-int8", int8, tiny_spec(), 1)(spot)[0, 0, 16, 26]
    assert clipped < 0.5 < 0.9 < whole


def test_nothing_is_printed(onnx_bytes: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    to_int8(onnx_bytes, calibration_tiles(tiny_samples(2), tiny_spec()))
    assert capfd.readouterr().out == ""


def test_no_images_no_int8(onnx_bytes: bytes) -> None:
    with pytest.raises(DataError, match="calibration images"):
        to_int8(onnx_bytes, [])


def test_missing_packages_say_how_to_install_them(onnx_bytes: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_graph, "find_spec", lambda package: None)
    monkeypatch.setattr(openvino_graph, "openvino_installed", lambda: False)
    tiles = calibration_tiles(tiny_samples(1), tiny_spec())
    for attempt in (lambda: to_openvino(onnx_bytes), lambda: to_int8(onnx_bytes, tiles)):
        with pytest.raises(EnvironmentFault, match=r"flawsmith\[openvino\]"):
            attempt()


@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 8), (3, 16)])
def test_tiles_are_as_an_engine_gets_them(channels: int, bit_depth: int) -> None:
    spec = tiny_spec(channels, bit_depth).model_copy(update={"stride": 32})
    for tile in calibration_tiles(tiny_samples(3, channels, bit_depth), spec):
        assert tile.shape == (1, 64, 64, channels)
        assert tile.dtype.itemsize * 8 == bit_depth


def test_large_images_are_cut_around_their_defect() -> None:
    (sample,) = tiny_samples(2)[1:]
    large = np.zeros((1500, 2000), np.uint8)
    large[1400:1412, 1900:1912] = 255
    sample = replace(sample, pixels=large, defects=(Defect("bright", (1900, 1400, 1912, 1412)),))
    (tile,) = calibration_tiles([sample], tiny_spec())
    assert tile.shape == (1, CALIBRATION_SIDE, CALIBRATION_SIDE, 1)
    assert tile.max() == 255


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 200), st.data())
def test_a_crop_lies_inside_and_holds_its_centre(height: int, width: int, side: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x0, y0, x1, y1 = crop_box((height, width), (x, y, x + 1, y + 1), side)
    assert 0 <= x0 <= x < x1 <= width
    assert 0 <= y0 <= y < y1 <= height
    assert (x1 - x0, y1 - y0) == (min(side, width), min(side, height))
    assert crop_box((height, width), None, 10_000) == (0, 0, width, height)
