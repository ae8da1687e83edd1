"""Whole-part faults: what is changed, what is labelled, and what is refused."""

import numpy as np
import pytest
import trimesh
from pydantic import TypeAdapter, ValidationError

from flawsmith.core.errors import ConfigError
from flawsmith.part import read_part
from flawsmith.part.part import Part
from flawsmith.synth.defect import FAULTS, FaultSpec, apply_fault, draw_faults
from flawsmith.synth.defect.thread import find_thread
from flawsmith.synth.distribution import Draw
from made_parts import block, component, pair


def apply(part, kind, seed=0, **settings):
    draw = Draw(seed, 0)
    changed, labels = apply_fault(part, FAULTS[kind](**settings), draw, "f")
    return changed, labels, draw.values


def helix(turns=6, lead=1.25, root=3.2, crest=4.0, inside=False):
    """The skin of a threaded shaft (or, inside out, of a threaded bore): a strip one lead wide, wound round z."""
    around, across = 96, 10
    angle, phase = np.arange(turns * around + 1) * 2 * np.pi / around, np.arange(across + 1) / across
    radius = root + (crest - root) * np.clip(1.5 - 2.5 * np.abs(phase - 0.5) - 0.25, 0, 1)
    z = lead * (angle[:, None] / (2 * np.pi) + phase)
    points = np.stack([radius * np.cos(angle)[:, None], radius * np.sin(angle)[:, None], z], -1)
    a = (np.arange(len(angle) - 1)[:, None] * (across + 1) + np.arange(across)).ravel()
    b, c, d = a + across + 1, a + across + 2, a + 1
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    faces = faces[:, ::-1] if inside else faces
    return component(trimesh.Trimesh(points.reshape(-1, 3), faces, process=False), "bolt")


@pytest.mark.parametrize("kind", sorted(set(FAULTS) - {"missing_thread", "stripped_thread"}))
def test_every_assembly_fault_changes_the_part_repeatably(kind):
    part = pair()
    settings = {"turn_deg": 90} if kind == "wrong_orientation" else {}
    one, labels, values = apply(part, kind, 1, **settings)
    two, _, _ = apply(part, kind, 1, **settings)
    assert one.vertices.shape != part.vertices.shape or not np.allclose(one.vertices, part.vertices)
    assert one.vertices.tobytes() == two.vertices.tobytes()
    assert {label for label, _ in labels} == {kind}
    assert all(shown is None or shown in [c.name for c in one.components] for _, shown in labels)
    assert "f.component" in values
    assert len(part.components) == 2


def test_a_missing_component_is_the_named_one_and_shows_nowhere():
    left, labels, _ = apply(pair(), "missing_component", component="small", name="no screw")
    assert [c.name for c in left.components] == ["large"]
    assert labels == (("no screw", None),)


def test_a_wrong_component_keeps_its_place_and_name():
    part = pair()
    scaled, labels, _ = apply(part, "wrong_component", component="small", scale=1.5)
    assert np.ptp(scaled.components[1].vertices, axis=0) == pytest.approx([6, 4.5, 3])
    assert scaled.components[1].vertices.mean(0) == pytest.approx([0, 0, 20])
    replaced, labels, _ = apply(part, "wrong_component", component="small", by="large")
    assert [c.name for c in replaced.components] == ["large", "small"]
    assert np.ptp(replaced.components[1].vertices, axis=0) == pytest.approx([20, 20, 6])
    assert labels == (("wrong_component", "small"),)


def test_swapped_components_are_in_each_other_s_places():
    swapped, labels, _ = apply(pair(), "swapped_components")
    large, small = swapped.components
    assert large.vertices.mean(0) == pytest.approx([0, 0, 20])
    assert small.vertices.mean(0) == pytest.approx([0, 0, 0])
    assert {shown for _, shown in labels} == {"large", "small"}


def test_an_orientation_that_looks_the_same_is_not_taken():
    with pytest.raises(ConfigError, match="looks the same turned by 180°"):
        apply(block(), "wrong_orientation", turn_deg=180)
    for seed in range(4):
        turned, _, _ = apply(block(), "wrong_orientation", seed, turn_deg=90)
        assert not np.allclose(np.ptp(turned.vertices, axis=0), [20, 20, 6])


@pytest.mark.parametrize("inside", [False, True])
def test_a_thread_is_found_and_taken_off(inside):
    bolt = helix(inside=inside)
    thread = find_thread(bolt)
    assert thread is not None
    assert thread.lead_mm == pytest.approx(1.25, rel=0.03)
    assert thread.inside == inside
    assert thread.radii_mm == pytest.approx((3.2, 4.0), abs=0.08)
    bare, labels, _ = apply(Part("screw", (bolt,)), "missing_thread")
    radius = np.hypot(*bare.vertices[:, :2].T)
    middle = (bare.vertices[:, 2] > 1) & (bare.vertices[:, 2] < 6)
    assert np.ptp(radius[middle]) < 0.01
    assert radius[middle].mean() == pytest.approx(4.0 if inside else 3.2, abs=0.1)
    assert labels == (("missing_thread", "bolt"),)
    worn, _, _ = apply(Part("screw", (bolt,)), "stripped_thread", wear=0.5)
    radius = np.hypot(*worn.vertices[:, :2].T)
    assert 0.25 < np.ptp(radius[middle]) < 0.65


@pytest.mark.parametrize(
    "mesh", [trimesh.creation.box((5, 6, 7)), trimesh.creation.cylinder(4, 20), trimesh.creation.cone(4, 8)]
)
def test_no_thread_is_found_where_there_is_none(mesh):
    assert find_thread(component(mesh)) is None
    with pytest.raises(ConfigError, match=r"no modelled thread found in body"):
        apply(Part("plain", (component(mesh),)), "missing_thread")


def test_a_real_screw_s_thread_is_found(real_data):
    part = read_part(real_data("cad-parts") / "generated_bd_warehouse/m8x25_hex_head_screw_iso4017_threaded.step")
    found = [thread for c in part.components if (thread := find_thread(c))]
    assert len(found) == 1
    assert found[0].lead_mm == pytest.approx(1.25, rel=0.05)


def test_errors_name_the_component_and_what_there_is():
    for kind in ("missing_component", "wrong_component", "wrong_orientation", "missing_thread"):
        with pytest.raises(ConfigError, match=r"no component 'smal'.*'small'.*'large', 'small'"):
            apply(pair(), kind, component="smal")
    for kind in ("missing_component", "incomplete_assembly", "swapped_components"):
        with pytest.raises(ConfigError, match=r"needs an assembly.*'body'"):
            apply(block(), kind)
    with pytest.raises(ConfigError, match="replaced by itself"):
        apply(pair(), "wrong_component", component="large", by="large")
    with pytest.raises(ConfigError, match="swapped with itself"):
        apply(pair(), "swapped_components", components=("large", "large"))
    with pytest.raises(ConfigError, match="is the same size"):
        apply(pair(), "wrong_component", scale=1.0)
    twins = Part("twins", (pair().components[0], component(trimesh.creation.box((20, 20, 6)), "other")))
    with pytest.raises(ConfigError, match="have the same size"):
        apply(twins, "swapped_components")


def test_faults_are_drawn_by_their_probability():
    never, always = FAULTS["missing_component"](probability=0), FAULTS["wrong_component"](component="small")
    part, labels = draw_faults(pair(), (never, always), Draw(0, 0), "p")
    assert [c.name for c in part.components] == ["large", "small"]
    assert labels == (("wrong_component", "small"),)


def test_a_spec_is_read_by_its_kind():
    assert isinstance(TypeAdapter(FaultSpec).validate_python({"kind": "missing_thread"}), FAULTS["missing_thread"])
    with pytest.raises(ValidationError):
        TypeAdapter(FaultSpec).validate_python({"kind": "missing_thread", "part": "nut"})
