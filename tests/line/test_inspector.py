"""The inspector judges, and whatever it cannot judge is REVIEW."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawsmith.core.errors import ConfigError
from flawsmith.core.image import decode, encode_png
from flawsmith.core.spec import predict_image
from flawsmith.decide import decide
from flawsmith.line.engine import ENGINES
from flawsmith.line.inspector import Inspector
from flawsmith.model.run import torch_run
from tiny_recipe import tiny_image, tiny_net


@pytest.fixture(scope="module")
def inspector(exported: Path) -> Inspector:
    return Inspector(exported, "onnxruntime", threads=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_verdicts(exported: Path, engine: str) -> None:
    inspector = Inspector(exported, engine, threads=1)
    assert inspector.engine == engine
    for seed in range(20, 24):
        assert inspector.inspect(tiny_image(None, seed)).status == "OK"
        for kind in ("bright", "dark"):
            found = inspector.inspect(tiny_image(kind, seed))
            assert found.status == "NG"
            assert [defect.kind for defect in found.defects] == [kind]
            x0, y0, x1, y1 = found.defects[0].box
            assert 19 <= x0 <= 21
            assert 9 <= y0 <= 11
            assert 31 <= x1 <= 33
            assert 21 <= y1 <= 23


def test_bytes_path_and_array_are_one_image(inspector: Inspector, tmp_path: Path) -> None:
    image = tiny_image("bright", 1)
    (tmp_path / "a.png").write_bytes(encode_png(image))
    ways = [image, encode_png(image), tmp_path / "a.png", str(tmp_path / "a.png")]
    found = [inspector.inspect(way) for way in ways]
    assert {f.status for f in found} == {"NG"}
    assert len({f.score for f in found}) == 1
    assert all(f.reasons == found[0].reasons for f in found)


def test_an_inspection_carries_its_map(inspector: Inspector) -> None:
    found = inspector.inspect(tiny_image("dark", 2))
    assert found.prediction is not None
    assert found.image is not None
    assert found.prediction.maps.shape == (2, 48, 56)
    assert found.score == found.prediction.score
    assert found.ms > 0


def test_a_grey_model_takes_rgb(inspector: Inspector) -> None:
    rgb = np.repeat(tiny_image("bright", 3)[:, :, None], 3, axis=2)
    assert inspector.inspect(rgb).status == "NG"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "empty"),
        (b"GIF89a...", "not a PNG"),
        (encode_png(tiny_image(None))[:-40], "truncated"),
        (Path("/nowhere/part.png"), r"/nowhere/part\.png cannot be read"),
        (tiny_image(None).astype(np.uint16), "16 bits a channel, the model was trained on 8"),
        (tiny_image(None).astype(np.float32), "float32"),
        (tiny_image(None).astype(np.int16), "int16"),
        (np.zeros((0, 5), np.uint8), r"\(0, 5\)"),
        (np.zeros((5, 5, 4), np.uint8), r"\(5, 5, 4\)"),
        (np.zeros((2, 5, 5, 3), np.uint8), r"\(2, 5, 5, 3\)"),
        (None, "NoneType"),
        (7, "int is no image"),
    ],
)
def test_what_is_no_image_is_review(inspector: Inspector, source: object, reason: str) -> None:
    found = inspector.inspect(source)  # pyright: ignore[reportArgumentType] - wrong types are the point
    assert found.status == "REVIEW"
    assert found.prediction is None
    assert re.search(reason, found.reasons[0])


def test_bytes_are_called_by_their_name(inspector: Inspector) -> None:
    assert inspector.inspect(b"nothing", "part 7.png").reasons[0].startswith("part 7.png: ")


def test_a_region_of_interest_of_another_size_is_review(exported: Path) -> None:
    inspector = Inspector(exported, "onnxruntime", 1, roi=np.ones((48, 57), bool))
    found = inspector.inspect(tiny_image(None))
    assert found.status == "REVIEW"
    assert "(48, 57)" in found.reasons[0]


def test_nothing_outside_the_region_of_interest_counts(exported: Path) -> None:
    left, right = np.zeros((48, 56), bool), np.zeros((48, 56), bool)
    left[:, :34], right[:, 34:] = True, True
    image = tiny_image("bright", 1)
    assert Inspector(exported, "onnxruntime", 1, roi=left).inspect(image).status == "NG"
    assert Inspector(exported, "onnxruntime", 1, roi=right).inspect(image).status == "OK"


def _nan(tiles: np.ndarray) -> np.ndarray:
    return np.full((1, 2, *tiles.shape[1:3]), np.nan, np.float32)


def _too_large(tiles: np.ndarray) -> np.ndarray:
    return np.full((1, 2, *tiles.shape[1:3]), 7, np.float32)


def _one_map(tiles: np.ndarray) -> np.ndarray:
    return np.zeros((1, 1, *tiles.shape[1:3]), np.float32)


def _too_small(tiles: np.ndarray) -> np.ndarray:
    return np.zeros((1, 2, 3, 3), np.float32)


def _out_of_memory(tiles: np.ndarray) -> np.ndarray:
    raise MemoryError("no room for 3 GB")


def _crash(tiles: np.ndarray) -> np.ndarray:
    raise RuntimeError("the engine fell over")


@pytest.mark.parametrize("engine", [_nan, _too_large, _one_map, _too_small, _out_of_memory, _crash])
def test_an_engine_that_fails_is_review(exported: Path, engine: object, monkeypatch: pytest.MonkeyPatch) -> None:
    inspector = Inspector(exported, "onnxruntime", 1)
    assert inspector.inspect(tiny_image(None)).status == "OK"
    monkeypatch.setattr(inspector, "_run", engine)
    found = inspector.inspect(tiny_image(None))
    assert found.status == "REVIEW"
    assert found.reasons[0]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_noise_is_ever_ok(inspector: Inspector, data: bytes) -> None:
    found = inspector.inspect(data)
    assert found.status == "REVIEW"
    assert found.reasons


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([".png", ".jpg", ".bmp", ".tiff", ".webp"]), st.data())
def test_truncation_is_never_ok(inspector: Inspector, suffix: str, data: st.DataObject) -> None:
    """A healthy image cut anywhere, in every format."""
    whole = cv2.imencode(suffix, tiny_image(None, 9))[1].tobytes()
    assert inspector.inspect(whole).status == "OK"
    assert inspector.inspect(whole[: data.draw(st.integers(0, len(whole) - 3))]).status == "REVIEW"


def test_engines_by_wrong_names(exported: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean"):
        Inspector(exported, "openvin")


@pytest.mark.parametrize("engine", ENGINES)
def test_real_photographs_get_the_verdicts_of_torch(
    exported: Path, engine: str, real_data: Callable[[str], Path]
) -> None:
    """Sizes and grain as cameras give them: 500x1250 JPEGs, through windows of 64 px."""
    inspector = Inspector(exported, engine, threads=1)
    for path in sorted((real_data("kolektor-sdd") / "defect").glob("*.jpg"))[:2]:
        found = inspector.inspect(path)
        image = decode(path)
        expected = predict_image(torch_run(tiny_net()), image[:200], inspector.recipe.info.spec)
        part = inspector.inspect(image[:200])
        assert found.prediction is not None
        assert found.prediction.maps.shape == (2, *image.shape)
        assert part.status == decide(expected, inspector.recipe.decision).status
        assert part.score == pytest.approx(expected.score, abs=0.06)
