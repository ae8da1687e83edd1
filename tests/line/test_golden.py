"""Golden images show a machine that computes otherwise."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flawsmith.core.errors import DataError
from flawsmith.core.files import sha256_of
from flawsmith.deploy.onnx_graph import export_onnx
from flawsmith.line.engine import ENGINES
from flawsmith.line.golden import GOLDEN, pack_maps, read_golden, unpack_maps, verify_golden
from flawsmith.line.recipe import RECIPE, open_recipe
from tiny_recipe import shifted_net, tiny_spec


def replant(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and its SHA-256: what an attacker or a broken copy script could do."""
    (folder / name).write_bytes(data)
    info = json.loads((folder / RECIPE).read_text())
    info["files"][name] = sha256_of(data)
    (folder / RECIPE).write_text(json.dumps(info))


def sick_network(shift: float) -> bytes:
    return export_onnx(shifted_net(shift), tiny_spec())


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_reproduces_its_golden_images(exported: Path, engine: str) -> None:
    report = verify_golden(open_recipe(exported), engine, threads=1)
    assert report.engine == engine
    assert report.problems == ()
    assert [result.expected for result in report.results] == ["NG", "NG", "OK", "OK"]
    assert all(result.status == result.expected for result in report.results)


def test_a_network_that_misses_defects_is_found(recipe_folder: Path) -> None:
    replant(recipe_folder, "model.onnx", sick_network(-9))
    problems = verify_golden(open_recipe(recipe_folder), "onnxruntime", threads=1).problems
    assert any("the verdict is OK, expected NG" in problem for problem in problems)


def test_a_network_that_drifts_without_a_flip_is_found(recipe_folder: Path) -> None:
    replant(recipe_folder, "model.onnx", sick_network(-0.3))
    problems = verify_golden(open_recipe(recipe_folder), "onnxruntime", threads=1).problems
    assert problems
    assert all("differs" in problem for problem in problems)


def test_an_edited_decision_is_applied_to_both_sides(recipe_folder: Path) -> None:
    path = recipe_folder / "decision.json"
    path.write_text(path.read_text().replace('"min_area_px": 4', '"min_area_px": 4000'))
    report = verify_golden(open_recipe(recipe_folder), "onnxruntime", threads=1)
    assert report.problems == ()
    assert {result.expected for result in report.results} == {"OK"}


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"schema_version": 1, "images": [{}]}'])
def test_a_damaged_list_is_a_named_error(recipe_folder: Path, text: bytes) -> None:
    replant(recipe_folder, GOLDEN, text)
    with pytest.raises(DataError, match=r"golden\.json cannot be read"):
        read_golden(open_recipe(recipe_folder))


def test_golden_images_that_the_recipe_does_not_list(recipe_folder: Path) -> None:
    golden = json.loads((recipe_folder / GOLDEN).read_text())
    golden["images"][0]["image"] = "golden/77.png"
    replant(recipe_folder, GOLDEN, json.dumps(golden).encode())
    with pytest.raises(DataError, match=r"golden/77\.png"):
        verify_golden(open_recipe(recipe_folder), "onnxruntime")


@given(arrays(np.float32, (2, 5, 7), elements=st.floats(0, 1, width=32)))
def test_maps_survive_packing(maps: np.ndarray) -> None:
    assert np.abs(unpack_maps(pack_maps(maps), "maps") - maps).max() <= 0.5 / 65535 + 1e-7
    assert pack_maps(maps) == pack_maps(maps)


def test_maps_with_pickles_or_noise_are_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, maps=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for data in (buffer.getvalue(), b"noise", b"PK\x03\x04 torn", pack_maps(np.zeros((1, 2, 2)))[:-9]):
        with pytest.raises(DataError, match="holds no score maps"):
            unpack_maps(data, "0.npz")
    other = io.BytesIO()
    np.savez(other, maps=np.zeros((2, 2)))
    with pytest.raises(DataError, match="wanted uint16"):
        unpack_maps(other.getvalue(), "0.npz")
