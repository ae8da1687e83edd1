"""One scene per image: the same for the same inputs, and nothing moves that was not asked to."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_scene import PLATE, loaded

from flawsmith.core.errors import ConfigError
from flawsmith.part import Component, Part
from flawsmith.part.poses import StablePose
from flawsmith.synth.assets import Assets, plate
from flawsmith.synth.draw import draw_scene, shot
from flawsmith.synth.irradiance import card_irradiance
from flawsmith.synth.placement import lying_as_modelled
from flawsmith.synth.scene import Scene
from flawsmith.synth.spec import SceneSpec


def same(a: Any, b: Any) -> bool:
    """Equal through dataclasses, mappings, sequences and arrays, bit by bit."""
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[SceneSpec, Assets]:
    return loaded(tmp_path_factory.mktemp("scene"))


def with_changes(spec: SceneSpec, **changes: Any) -> SceneSpec:
    return spec.model_copy(update=changes)


def test_the_same_inputs_give_the_same_scene(plain: tuple[SceneSpec, Assets]) -> None:
    spec, assets = plain
    assert same(draw_scene(spec, assets, 1, 9), draw_scene(spec, assets, 1, 9))
    assert not same(draw_scene(spec, assets, 1, 9), draw_scene(spec, assets, 2, 9))


def test_all_cameras_of_a_scene_see_the_same_things(plain: tuple[SceneSpec, Assets]) -> None:
    spec, assets = plain
    first, last, following = (draw_scene(spec, assets, 1, n) for n in (9, 17, 18))
    assert (first.camera.name, last.camera.name, following.camera.name) == ("arch-0", "arch-8", "arch-0")
    assert same(first.instances, last.instances)
    assert same(first.stage, last.stage)
    assert not same(first.camera, last.camera)
    assert not same(first.instances, following.instances)
    assert first.seed != last.seed


def test_one_more_defect_kind_changes_only_defects(plain: tuple[SceneSpec, Assets], tmp_path: Path) -> None:
    spec, assets = plain
    more, _ = loaded(tmp_path, PLATE + "  - kind: stain\n")
    for index in range(9, 11):
        a, b = draw_scene(spec, assets, 1, index), draw_scene(more, assets, 1, index)
        assert same(everything_but_defects(a), everything_but_defects(b))
        assert [d.kind for d in b.instances[0].defects] == ["scratch", "stain"]
        assert same(a.instances[0].defects[0], b.instances[0].defects[0])


def everything_but_defects(scene: Scene) -> tuple[Any, ...]:
    places = tuple((i.part.name, i.world_from_part, dict(i.materials)) for i in scene.instances)
    return places, scene.stage, scene.lights, scene.environment, scene.camera, scene.sensor


def test_the_twin_is_the_same_scene_without_its_defects(plain: tuple[SceneSpec, Assets]) -> None:
    spec, assets = plain
    flawed = draw_scene(spec, assets, 1, 3, healthy=False)
    twin = draw_scene(spec, assets, 1, 3, healthy=True)
    assert flawed.instances[0].defects
    assert not twin.instances[0].defects
    assert same(everything_but_defects(flawed), everything_but_defects(twin))
    assert flawed.seed == twin.seed


@given(st.floats(0, 1), st.integers(1, 400))
def test_the_share_of_healthy_scenes_is_kept(healthy: float, scenes: int) -> None:
    spec = SceneSpec.model_validate(
        {
            "parts": [{"plate_mm": [9, 9, 2]}],
            "cameras": {"a": {}, "b": {}},
            "defects": [{"kind": "dent"}],
            "healthy": healthy,
        }
    )
    count = sum(shot(spec, 2 * n).healthy for n in range(scenes))
    assert abs(count - healthy * scenes) <= 1
    assert all(shot(spec, 2 * n).healthy == shot(spec, 2 * n + 1).healthy for n in range(scenes))


def test_pairs_follow_one_another(plain: tuple[SceneSpec, Assets]) -> None:
    spec = with_changes(plain[0], pairs=True)
    shots = [shot(spec, n) for n in range(20)]
    assert [s.healthy for s in shots] == [False, True] * 10
    assert all((a.scene, a.camera) == (b.scene, b.camera) for a, b in zip(shots[::2], shots[1::2], strict=True))
    assert (shots[16].camera, shots[18].camera, shots[18].scene) == ("arch-8", "arch-0", 1)


def test_without_defects_all_are_healthy(plain: tuple[SceneSpec, Assets]) -> None:
    assert all(shot(with_changes(plain[0], defects=()), n).healthy for n in range(40))


def test_no_scene_that_is_due_defects_is_without(tmp_path: Path) -> None:
    rare = PLATE + "    probability: 0.2\nhealthy: 0\ncameras: {arch: null, top: {}}\n"
    spec, assets = loaded(tmp_path, rare)
    for index in range(6):
        assert draw_scene(spec, assets, 1, index).instances[0].defects


def test_a_defect_that_never_happens_is_an_error(tmp_path: Path) -> None:
    spec, assets = loaded(tmp_path, PLATE + "    probability: 0\nhealthy: 0\n")
    with pytest.raises(ConfigError, match=r"scene.yaml:5:1: defects: no part had a defect or fault in 20 draws"):
        draw_scene(spec, assets, 1, 0)


def test_a_defect_larger_than_the_part_is_named_by_line(tmp_path: Path) -> None:
    spec, assets = loaded(tmp_path, PLATE + "    length_mm: 90\nhealthy: 0\n")
    with pytest.raises(ConfigError, match=r"scene.yaml:5:1: defects: scratch is .* mm long"):
        draw_scene(spec, assets, 1, 0)


def test_a_grey_card_is_exposed_to_its_level(plain: tuple[SceneSpec, Assets]) -> None:
    spec, assets = plain
    scene = draw_scene(spec, assets, 1, 4)
    card = card_irradiance(scene.lights, scene.environment, np.zeros(3))
    level = 0.18 / np.pi * float(card @ [0.2126, 0.7152, 0.0722]) * scene.camera.exposure
    assert level == pytest.approx(scene.drawn["camera.exposure.grey_level"], rel=1e-4)


def test_white_balance_makes_the_card_grey(tmp_path: Path) -> None:
    warm = PLATE + "environment: {kelvin: 2800, irradiance_w_m2: 5}\n"
    for balance, spread in ((1, 0.0), (0, 0.1)):
        spec, assets = loaded(tmp_path, warm, f"cameras.arch.white_balance={balance}")
        scene = draw_scene(spec, assets, 1, 0)
        card = card_irradiance(scene.lights, scene.environment, np.zeros(3))
        assert np.ptp(card) / card.mean() == pytest.approx(spread, abs=1e-3) if balance else np.ptp(card) > spread


def test_what_was_drawn_has_one_column_for_all_cameras(plain: tuple[SceneSpec, Assets]) -> None:
    spec, assets = plain
    first, last = (draw_scene(spec, assets, 1, n).drawn for n in (0, 8))
    assert first.keys() == last.keys()
    assert (first["camera.tilt_deg"], last["camera.tilt_deg"]) == (-60, 60)


def test_a_fault_changes_the_part_and_the_twin_has_none(tmp_path: Path) -> None:
    text = PLATE.replace("defects:\n  - kind: scratch", "faults:\n  - kind: missing_component\n    component: lid")
    spec, assets = loaded(tmp_path, text)
    base, lid = plate(20, 12, 4).components[0], plate(8, 8, 2).components[0]
    two = Part("box", (base, Component("lid", (), lid.vertices + np.array([0, 0, 3]), lid.faces)))
    assets = Assets((two,), ((StablePose(lying_as_modelled(two), 1.0),),), {}, {}, {})
    faulty, twin = (draw_scene(spec, assets, 1, 0, healthy=h).instances[0] for h in (False, True))
    assert [c.name for c in faulty.part.components] == ["plate"]
    assert faulty.faults == (("missing_component", None),)
    assert [c.name for c in twin.part.components] == ["plate", "lid"]
    assert np.array_equal(faulty.world_from_part, twin.world_from_part)


def test_two_parts_of_a_lot_do_not_share_their_stains(tmp_path: Path) -> None:
    spec, assets = loaded(tmp_path, PLATE, "parts.0.count=2")
    a, b = (i.materials[""].color_map for i in draw_scene(spec, assets, 1, 0).instances)
    assert a is not None
    assert b is not None
    assert not np.array_equal(a, b)
    assert np.array_equal(np.sort(a, axis=None), np.sort(b, axis=None))
