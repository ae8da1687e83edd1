"""Every engine keeps the contract of `ModelSpec`; none of them telephones home."""

import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault
from flawsmith.core.spec import predict_image
from flawsmith.deploy.onnx_graph import export_onnx
from flawsmith.deploy.openvino_graph import calibration_tiles, to_int8, to_openvino
from flawsmith.line import engine as engine_module
from flawsmith.line.engine import ENGINES, ONNX_FILE, Engine, engine_spec, open_engine
from flawsmith.model.run import torch_run
from tiny_recipe import DTYPES, tiny_image, tiny_net, tiny_samples, tiny_spec

VARIANTS = [(1, 8), (3, 8), (1, 16)]
TOLERANCE = {"fp32": 1e-5, "bf16": 0.03, "int8": 0.06}
SHAPES = [(8, 8), (7, 5), (33, 41), (64, 64), (150, 131)]


@cache
def network_files(channels: int, bit_depth: int) -> Mapping[str, bytes]:
    spec = tiny_spec(channels, bit_depth)
    onnx = export_onnx(tiny_net(channels, bit_depth), spec)
    tiles = calibration_tiles(tiny_samples(6, channels, bit_depth), spec)
    return {ONNX_FILE: onnx, **to_openvino(onnx), **to_int8(onnx, tiles)}


@cache
def opened(name: str, channels: int = 1, bit_depth: int = 8) -> Engine:
    return open_engine(name, network_files(channels, bit_depth), tiny_spec(channels, bit_depth), threads=1)


def supports(name: str, bit_depth: int) -> bool:
    return not (ENGINES[name].precision == "bf16" and bit_depth == 16)


@pytest.mark.parametrize(("channels", "bit_depth"), VARIANTS)
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_reproduces_torch_at_any_size(name: str, channels: int, bit_depth: int, shape: tuple[int, int]) -> None:
    """Odd, tiny and larger than `max_side`; grey, RGB and 16 bits."""
    if not supports(name, bit_depth):
        pytest.skip("16 bits do not fit bf16; export leaves that engine out")
    spec = tiny_spec(channels, bit_depth)
    image = np.random.default_rng(1).integers(0, 2**bit_depth, (*shape, channels)).astype(DTYPES[bit_depth])
    image = image[:, :, 0] if channels == 1 else image
    expected = predict_image(torch_run(tiny_net(channels, bit_depth)), image, spec)
    found = predict_image(opened(name, channels, bit_depth), image, engine_spec(name, spec))
    assert found.maps.shape == expected.maps.shape == (2, *shape)
    assert found.maps.dtype == np.float32
    assert np.abs(found.maps - expected.maps).max() <= TOLERANCE[ENGINES[name].precision]


@pytest.mark.parametrize("name", ENGINES)
def test_is_deterministic(name: str) -> None:
    tiles = tiny_image("bright", 3)[None, :, :, None]
    first, other = opened(name)(tiles), opened(name)(tiny_image("dark", 4, (32, 32))[None, :, :, None])
    assert other.shape == (1, 2, 32, 32)
    assert np.array_equal(first, opened(name)(tiles))
    fresh = open_engine(name, network_files(1, 8), tiny_spec(), threads=1)
    assert np.array_equal(first, fresh(tiles))


@pytest.mark.parametrize("name", ENGINES)
def test_a_batch_is_its_images_one_by_one(name: str) -> None:
    batch = np.stack([tiny_image(kind, 5) for kind in (None, "bright", "dark")])[..., None]
    together = opened(name)(batch)
    assert together.shape == (3, 2, 48, 56)
    for index in range(3):
        assert np.allclose(together[index], opened(name)(batch[index : index + 1])[0], atol=1e-6)


@pytest.mark.parametrize("name", ENGINES)
def test_threads_change_nothing_that_matters(name: str) -> None:
    tiles = tiny_image("bright", 6)[None, :, :, None]
    two = open_engine(name, network_files(1, 8), tiny_spec(), threads=2)
    assert np.allclose(opened(name)(tiles), two(tiles), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 140), st.integers(1, 140), st.integers(0, 99))
def test_any_image_gives_the_scores_of_torch(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    expected = predict_image(torch_run(tiny_net()), image, tiny_spec())
    found = predict_image(opened("onnxruntime"), image, tiny_spec())
    assert np.abs(found.maps - expected.maps).max() < 1e-5


def test_larger_windows_give_the_same_scores() -> None:
    """What `reach` relies on."""
    image = tiny_image("dark", 7, (150, 190))
    small = predict_image(opened("openvino"), image, tiny_spec())
    large = predict_image(opened("openvino"), image, tiny_spec().model_copy(update={"max_side": 256}))
    assert np.abs(small.maps - large.maps).max() < 1e-5


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'openvino-int8'"):
        open_engine("openvino-int9", {}, tiny_spec())


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "find_spec", lambda package: None)
    with pytest.raises(EnvironmentFault, match=r"flawsmith\[openvino\]"):
        open_engine("openvino", network_files(1, 8), tiny_spec())


@pytest.mark.parametrize("name", ENGINES)
def test_damaged_files_are_a_named_error(name: str) -> None:
    files = {file: data[: len(data) // 3] for file, data in network_files(1, 8).items()}
    with pytest.raises(EnvironmentFault, match=f"{name} cannot load the network"):
        open_engine(name, files, tiny_spec())


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("change", [{"bit_depth": 16}, {"channels": 3}, {"kinds": ("bright",)}])
def test_a_network_of_another_contract_is_refused(name: str, change: dict) -> None:
    with pytest.raises(DataError, match="the recipe says"):
        open_engine(name, network_files(1, 8), tiny_spec().model_copy(update=change))


QUIET = """
import os, sys
from flawsmith.core.openvino import import_openvino
import_openvino()
import nncf
assert type(nncf.telemetry.telemetry).__name__ != "NNCFTelemetry", "nncf would report"
assert sys.modules["openvino_telemetry"] is None
assert not os.listdir(os.environ["HOME"]), os.listdir(os.environ["HOME"])
"""


def test_openvino_and_nncf_report_nothing(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", QUIET], env=env, check=True, capture_output=True, timeout=120)
