"""The gate lets the trained model through, and nothing else."""

import numpy as np
import pytest

from flawsmith.core.errors import DataError, GateError
from flawsmith.core.sample import Sample
from flawsmith.core.spec import Run, predict_image
from flawsmith.deploy import parity as parity_module
from flawsmith.deploy.onnx_graph import export_onnx
from flawsmith.deploy.openvino_graph import calibration_tiles, to_int8, to_openvino
from flawsmith.deploy.parity import Case, Parity, check_parity
from flawsmith.line.engine import INT8_FILES, ONNX_FILE, OPENVINO_FILES, engine_spec, open_engine
from flawsmith.model.run import torch_run
from tiny_recipe import DECISION, shifted_net, tiny_net, tiny_samples, tiny_spec

Files = dict[str, dict[str, bytes]]


@pytest.fixture(scope="module")
def engines(onnx_bytes: bytes) -> Files:
    graph = to_openvino(onnx_bytes)
    int8 = to_int8(onnx_bytes, calibration_tiles(tiny_samples(), tiny_spec()))
    return {
        "onnxruntime": {ONNX_FILE: onnx_bytes},
        "openvino": graph,
        "openvino-bf16": graph,
        "openvino-int8": int8,
    }


def cases(samples: list[Sample] | None = None) -> list[Case]:
    return [Case(sample.id, sample) for sample in samples or tiny_samples()]


def gate(engines: Files, held_out: list[Case] | None = None, reference: Run | None = None) -> Parity:
    run = reference or torch_run(tiny_net())
    return check_parity(run, tiny_spec(), DECISION, held_out or cases(), engines, threads=1)


def changed(shift: float) -> bytes:
    """ONNX of the tiny network with other weights."""
    return export_onnx(shifted_net(shift), tiny_spec())


def test_true_engines_pass(engines: Files) -> None:
    parity = gate(engines)
    assert parity.images == 6
    assert parity.verdicts == {"OK": 2, "NG": 4}
    assert parity.warnings == ()
    assert set(parity.passed) == set(engines)
    assert parity.left_out == {}
    times = [parity.engines[name].ms for name in parity.passed]
    assert times == sorted(t for t in times if t is not None)
    for result in parity.engines.values():
        assert [row.id for row in result.images] == [f"part{i}" for i in range(6)]
        assert result.flipped == ()


def test_figures_are_what_a_loop_computes(engines: Files) -> None:
    result = gate(engines).engines["openvino-int8"]
    run = open_engine("openvino-int8", engines["openvino-int8"], tiny_spec(), 1)
    for row, sample in zip(result.images, tiny_samples(), strict=True):
        expected = predict_image(torch_run(tiny_net()), sample.image(), tiny_spec())
        found = predict_image(run, sample.image(), engine_spec("openvino-int8", tiny_spec()))
        assert row.expected_score == pytest.approx(expected.score, abs=1e-6)
        assert row.score == pytest.approx(found.score, abs=1e-6)
        assert row.map_max == pytest.approx(np.abs(found.maps - expected.maps).max(), abs=1e-6)
        assert row.map_mean == pytest.approx(np.abs(found.maps - expected.maps).mean(), abs=1e-6)
    assert result.map_max == max(row.map_max for row in result.images)
    assert result.map_mean == max(row.map_mean for row in result.images)


def test_a_corrupted_onnx_is_refused() -> None:
    """Negative control: weights changed so that defects are missed."""
    with pytest.raises(GateError, match=r"4 of 6 verdicts flip: part1 turns from NG to OK .* and 1 more"):
        gate({"onnxruntime": {ONNX_FILE: changed(-9)}})


def test_a_corrupted_onnx_is_refused_even_when_no_verdict_flips() -> None:
    with pytest.raises(GateError, match=r"scores differ by up to 0\.\d+"):
        gate({"onnxruntime": {ONNX_FILE: changed(-0.1)}})


def test_an_fp32_engine_of_openvino_is_held_to_the_same(onnx_bytes: bytes) -> None:
    files = {"onnxruntime": {ONNX_FILE: onnx_bytes}, "openvino": to_openvino(changed(-9))}
    with pytest.raises(GateError, match="openvino does not reproduce the trained model"):
        gate(files)


def test_a_flipping_int8_is_left_out_with_its_image(engines: Files, onnx_bytes: bytes) -> None:
    """Negative control: ranges measured on healthy parts alone clip the bright spots."""
    healthy = calibration_tiles(tiny_samples(defective=False), tiny_spec())
    parity = gate({**engines, "openvino-int8": to_int8(onnx_bytes, healthy)})
    assert "openvino-int8" not in parity.passed
    assert parity.engines["openvino-int8"].flipped == ("part1", "part4")
    assert "part1 turns from NG to OK" in parity.left_out["openvino-int8"]
    assert parity.engines["openvino-int8"].ms is None
    assert set(parity.passed) == {"onnxruntime", "openvino", "openvino-bf16"}


def test_an_int8_of_another_network_is_left_out(engines: Files) -> None:
    other = to_openvino(changed(-9))
    planted: dict[str, bytes] = dict(zip(INT8_FILES, (other[name] for name in OPENVINO_FILES), strict=True))
    parity = gate({**engines, "openvino-int8": planted})
    assert parity.engines["openvino-int8"].flipped == ("part1", "part2", "part4", "part5")


def test_files_that_do_not_open_leave_their_engine_out(engines: Files) -> None:
    torn = {name: data[:100] for name, data in engines["openvino-int8"].items()}
    parity = gate({**engines, "openvino-int8": torn})
    assert "cannot load the network" in parity.left_out["openvino-int8"]
    with pytest.raises(GateError, match="onnxruntime cannot load the network"):
        gate({"onnxruntime": {ONNX_FILE: b"torn"}})


def test_an_engine_that_gives_no_numbers_is_left_out(engines: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def sick(name: str, *given: object) -> Run:
        if name == "openvino-int8":
            return lambda tiles: np.full((1, 2, *tiles.shape[1:3]), np.nan, np.float32)
        return torch_run(tiny_net())

    monkeypatch.setattr(parity_module, "open_engine", sick)
    assert "not numbers" in gate(engines).left_out["openvino-int8"]


def test_no_images_prove_nothing(engines: Files) -> None:
    with pytest.raises(DataError, match="held-out images"):
        check_parity(torch_run(tiny_net()), tiny_spec(), DECISION, [], engines)


def test_healthy_images_alone_prove_no_lower_precision(engines: Files) -> None:
    """A network that always says OK would flip none of them."""
    parity = gate(engines, cases(tiny_samples(3, defective=False)))
    assert parity.warnings == ("no NG image was among the 3 held-out images",)
    assert set(parity.passed) == {"onnxruntime", "openvino"}
    assert "held-out image that is NG" in parity.left_out["openvino-int8"]


def test_defective_images_alone_prove_no_lower_precision(engines: Files) -> None:
    parity = gate(engines, cases([s for s in tiny_samples() if not s.healthy]))
    assert parity.warnings == ("no OK image was among the 4 held-out images",)
    assert set(parity.passed) == {"onnxruntime", "openvino"}


def test_a_case_may_be_a_part_of_an_image() -> None:
    sample = tiny_samples(2)[1]
    case = Case("cut", sample, (18, 8, 34, 24))
    roi = np.zeros((48, 56), bool)
    roi[8:10] = True
    assert np.array_equal(case.image(), sample.image()[8:24, 18:34])
    inside = case.roi(roi)
    assert inside is not None
    assert inside.shape == (16, 16)
    assert inside.sum() == 32


def test_the_region_of_interest_holds_for_both_sides(engines: Files) -> None:
    nowhere = np.zeros((48, 56), bool)
    nowhere[:, 40:] = True
    parity = check_parity(torch_run(tiny_net()), tiny_spec(), DECISION, cases(), engines, roi=nowhere, threads=1)
    assert parity.verdicts == {"OK": 6}
