"""The contract of every defect kind, and that sizes in mm are what was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from flawsmith.synth.defect import DEFECTS, DefectSpec
from flawsmith.synth.defect.draw import size_mm
from flawsmith.synth.distribution import Draw

MAPS = ("mask", "height_mm", "alpha", "occlusion", "roughness", "metallic")
HOLES = {"hole", "crack", "chip", "missing_material", "break"}
LENGTHS = {"scratch", "tool_mark", "bent_edge", "paint_run", "mark", "crack"}


def make(kind, seed=0, **settings):
    return DEFECTS[kind](**settings).stack(Draw(seed, 0), "d")


def mask_mm2(stack):
    return float((stack.mask >= 0.5).sum()) * (2 * stack.half_mm / (len(stack.mask) - 1)) ** 2


@pytest.mark.parametrize("kind", DEFECTS)
def test_every_kind_keeps_the_contract_of_its_maps(kind):
    for seed in range(3):
        stack = make(kind, seed)
        n = len(stack.mask)
        assert 128 <= n <= 256
        for name in MAPS:
            values = getattr(stack, name)
            assert values.shape == (n, n)
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
        assert stack.color.shape == (n, n, 3)
        assert stack.color.dtype == np.float32
        for name in ("mask", "height_mm", "alpha", "occlusion"):
            values = getattr(stack, name)
            border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
            assert not border.any(), f"{kind}: {name} is not 0 at the border"
        for name in ("mask", "alpha", "occlusion", "roughness", "metallic", "color"):
            assert 0 <= getattr(stack, name).min() <= getattr(stack, name).max() <= 1
        assert (stack.mask >= 0.5).any()
        assert (stack.cutter is not None) == (kind in HOLES)


@pytest.mark.parametrize("kind", DEFECTS)
def test_the_label_is_where_something_changes_and_only_there(kind):
    stack = make(kind, 1)
    moved = np.abs(stack.height_mm) / max(np.abs(stack.height_mm).max(), 1e-9)
    changed = (moved > 0.3) | (stack.alpha > 0.3)
    assert (stack.mask[changed] >= 0.5).all()
    if stack.cutter is None:
        unlabelled = stack.mask == 0
        assert moved[unlabelled].max() <= 0.06
        assert stack.alpha[unlabelled].max() <= 0.08


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_seed_is_a_defect(kind):
    one, same, other = make(kind, 5), make(kind, 5), make(kind, 6)
    for name in (*MAPS, "color"):
        assert getattr(one, name).tobytes() == getattr(same, name).tobytes()
    assert one.mask.tobytes() != other.mask.tobytes()


@pytest.mark.parametrize("kind", DEFECTS)
@settings(max_examples=4)
@given(seed=st.integers(0, 50))
def test_drawn_size_is_the_extent_of_the_label(kind, seed):
    name = "length_mm" if "length_mm" in DEFECTS[kind].model_fields else "diameter_mm"
    stack = make(kind, seed, **{name: 4.0})
    ragged = kind in {"rust", "stain", "dirt", "burn"}
    assert 4 * (0.55 if ragged or kind == "tool_mark" else 0.75) <= size_mm(stack) <= 4 * (1.7 if ragged else 1.45)


@pytest.mark.parametrize("kind", ["rust", "stain", "burn"])
def test_area_of_an_encrustation_is_that_of_its_disc(kind):
    areas = [mask_mm2(make(kind, seed, diameter_mm=4.0)) for seed in range(4)]
    assert np.mean(areas) == pytest.approx(np.pi * 4, rel=0.35)


def test_area_of_a_dent_and_a_scratch_follow_from_their_size():
    assert mask_mm2(make("dent", diameter_mm=4.0, narrow=1.0)) == pytest.approx(np.pi * 4, rel=0.15)
    scratch = make("scratch", length_mm=6.0, width_mm=0.3, bend_deg=0.0, ridge=0.0)
    assert 0.4 * 6 * 0.3 <= mask_mm2(scratch) <= 1.6 * 6 * 0.3


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_larger_size_is_a_larger_area(kind):
    name = "length_mm" if "length_mm" in DEFECTS[kind].model_fields else "diameter_mm"
    areas = [mask_mm2(make(kind, 3, **{name: size})) for size in (2.5, 5.0, 10.0)]
    assert areas[0] < areas[1] < areas[2]


def test_depth_is_what_was_asked_for():
    assert make("dent", depth_mm=0.4).height_mm.min() == pytest.approx(-0.4, rel=0.15)
    assert make("scratch", length_mm=5.0, width_mm=0.4, depth_mm=0.05).height_mm.min() > -0.08
    assert np.ptp(make("hole", depth_mm=2.5).cutter.vertices[:, 2]) > 2.5


def test_a_spec_is_read_by_its_kind_and_mistakes_are_refused():
    spec = TypeAdapter(DefectSpec).validate_python({"kind": "rust", "diameter_mm": {"uniform": [1, 2]}})
    assert type(spec) is DEFECTS["rust"]
    for wrong in (
        {"kind": "rost"},
        {"kind": "rust", "size_mm": 3},
        {"kind": "rust", "diameter_mm": 0},
        {"kind": "rust", "ragged": 1.5},
        {"kind": "scratch", "where": {"face": ["top"]}},
        {"kind": "scratch", "where": {"edge_distance_mm": [3, 1]}},
        {"kind": "scratch", "where": {"region": {"low": [0, 0, 0], "high": [1, 1, 0]}}},
        {"kind": "scratch", "where": {"normal": {"axis": [0, 0, 0]}}},
        {"kind": "stain", "color": "mauve"},
        {"kind": "chip", "where": {"edge_distance_mm": [0, 1]}},
    ):
        with pytest.raises(ValidationError):
            TypeAdapter(DefectSpec).validate_python(wrong)
    assert {kind: cls().kind for kind, cls in DEFECTS.items()} == {kind: kind for kind in DEFECTS}


def test_the_page_names_every_kind_and_every_key_of_it():
    from pathlib import Path

    from flawsmith.synth.defect import FAULTS

    page = (Path(__file__).parents[3] / "docs" / "defects.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    common = {"kind", "name", "count", "probability", "where"}
    for kind, model in DEFECTS.items():
        assert set(model.model_fields) - common <= set(rows[kind].split("`")[1::2]), kind
    for kind, model in FAULTS.items():
        assert set(model.model_fields) - {"kind", "name", "probability"} <= set(rows[kind].split("`")[1::2]), kind
