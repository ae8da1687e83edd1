"""scene.yaml: presets under what is written, and every mistake at its line."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from plain_scene import PLATE, loaded, written

from flawsmith.core.errors import ConfigError, FlawsmithError
from flawsmith.synth.camera import camera_names
from flawsmith.synth.draw import draw_scene
from flawsmith.synth.spec import SceneSpec, load_spec, spec_hash
from flawsmith.synth.stage import BUILDERS
from flawsmith.synth.yaml_lines import Mark, Marked, overlay, parse_marked

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "scenes").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_loads(path: Path) -> None:
    spec = load_spec(path)
    assert SceneSpec.model_validate_json(spec.model_dump_json()).model_dump() == spec.model_dump()


def test_each_stage_has_an_example() -> None:
    assert {load_spec(path).stage.preset for path in EXAMPLES} == set(BUILDERS)


def test_the_conveyor_has_nine_cameras(tmp_path: Path) -> None:
    assert camera_names(load_spec(written(tmp_path)).cameras) == [f"arch-{n}" for n in range(9)]


def test_what_is_written_lies_over_the_preset(tmp_path: Path) -> None:
    text = PLATE + "cameras:\n  arch: {field_mm: 40}\n  top: {field_mm: 50}\nlights:\n  bar back: null\n"
    spec = load_spec(written(tmp_path, text), ["cameras.arch.arch.count=3", "stage.size_mm=[100, 90]"])
    assert camera_names(spec.cameras) == ["arch-0", "arch-1", "arch-2", "top"]
    assert spec.cameras["arch"].field_mm == 40
    assert spec.cameras["arch"].focal_mm == 25  # of the preset
    assert list(spec.lights) == ["bar front"]
    assert spec.stage.size_mm == (100, 90)


def test_a_distribution_replaces_another_whole(tmp_path: Path) -> None:
    text = PLATE + "environment: {irradiance_w_m2: {uniform: [1, 2]}}\n"  # log_uniform in the preset
    assert load_spec(written(tmp_path, text)).environment.irradiance_w_m2.support == (1, 2)


def test_materials_that_nothing_names_are_no_part_of_the_spec(tmp_path: Path) -> None:
    names = set(load_spec(written(tmp_path)).materials)
    assert "machined steel" in names
    assert "glass" not in names


# What is written, the line and column that the error must name, and what it must say.
BAD = {
    "unknown key": ("parts:\n  - plate_mm: [9, 9, 2]\nstage: conveyor\nligths: {}\n", "4:1", "Did you mean 'lights'"),
    "unknown key inside": (PLATE + "cameras:\n  arch:\n    focal: 3\n", "9:5", "Did you mean 'focal_mm'"),
    "unknown key of a kind": (PLATE.replace("scratch", "scratch\n    lenght_mm: 3"), "7:5", "Did you mean 'length_mm'"),
    "unknown kind": (PLATE.replace("kind: scratch", "kind: scrach"), "6:5", "Did you mean 'scratch'"),
    "unknown preset": (PLATE.replace("conveyor", "conveyer"), "4:1", "Did you mean 'conveyor'"),
    "unknown material": (PLATE.replace("name: plate", "material: brused steel"), "3:5", "Did you mean 'brushed steel'"),
    "unknown colour": (PLATE + "materials:\n  x: {finish: plastic, color: blu}\n", "8:24", "Did you mean 'blue'"),
    "unknown distribution": (PLATE + "cameras:\n  arch:\n    f_number: {unifrom: [1, 2]}\n", "9:5", "{uniform"),
    "impossible distribution": (
        PLATE + "cameras:\n  arch:\n    f_number: {uniform: [11, 8]}\n",
        "9:16",
        "low end is above the high one",
    ),
    "distribution out of bounds": (
        PLATE + "environment: {irradiance_w_m2: {normal: [3, 1]}}\n",
        "7:15",
        "needs `within: [low, high]`",
    ),
    "zero-size defect": (PLATE.replace("scratch", "dent\n    diameter_mm: 0"), "7:5", "must be above 0"),
    "sensor not square": (PLATE + "cameras:\n  arch: {sensor_mm: [8, 4]}\n", "8:3", "are not square"),
    "missing file": (PLATE.replace("plate_mm: [20, 12, 4]", "file: no.step"), "2:5", "no.step does not exist"),
    "missing texture": (PLATE + "materials:\n  x: {finish: pbr, folder: gone}\n", "8:20", "gone does not exist"),
    "twice the same key": (PLATE + "stage: sheet\n", "7:1", "already set in line 4"),
    "not YAML": (PLATE + "lights: [\n", "8:1", "not YAML"),
    "no such camera": (PLATE + "lights:\n  c: {kind: coaxial, camera: top}\n", "8:22", "camera 'top' is not there"),
    "no light": (
        PLATE + "lights: {bar front: null, bar back: null}\nenvironment: {irradiance_w_m2: 0}\n",
        "7:1",
        "no light",
    ),
    "two of one name": (
        PLATE.replace("stage:", "  - {plate_mm: [3, 3, 1], name: plate}\nstage:"),
        "4:27",
        "another name",
    ),
    "standard without size": (PLATE.replace("plate_mm: [20, 12, 4]", "standard: hex-nut"), "2:5", "hex-screw M6x20"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_its_line_and_a_remedy(case: str, tmp_path: Path) -> None:
    text, place, said = BAD[case]
    used = text.replace("name: plate", "material: x") if case == "missing texture" else text
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        load_spec(written(tmp_path, used))
    assert f"scene.yaml:{place}: " in str(caught.value)


def test_all_mistakes_are_named_in_order(tmp_path: Path) -> None:
    text = PLATE.replace("[20, 12, 4]", "[0, 1, 1]") + "sensor: {gama: 1}\nhealthy: 2\n"
    with pytest.raises(ConfigError) as caught:
        load_spec(written(tmp_path, text))
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["2", "7", "8"]


def test_a_mistake_in_set_is_named_by_it(tmp_path: Path) -> None:
    for setting, said in [
        ("cameras.arch.focal=3", "--set cameras.arch.focal=3: unknown key"),
        ("healthy", "wanted key=value"),
        ("parts.4.count=2", "no place in a list of 1"),
    ]:
        with pytest.raises(ConfigError, match=re.escape(said)):
            load_spec(written(tmp_path), [setting])


def test_a_part_larger_than_the_stage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scene.yaml:2:5: parts.0: .* is larger than the stage of 80 × 80 mm"):
        loaded(tmp_path, PLATE.replace("[20, 12, 4]", "[200, 120, 4]"))
    loaded(tmp_path, PLATE.replace("[20, 12, 4]", "[200, 120, 4]"), "stage.size_mm=[220, 130]")


def test_a_part_that_fits_only_across_the_diagonal_is_let_in(tmp_path: Path) -> None:
    loaded(tmp_path, PLATE.replace("[20, 12, 4]", "[100, 5, 4]"))
    with pytest.raises(ConfigError, match="larger than the stage"):
        loaded(tmp_path, PLATE.replace("[20, 12, 4]", "[114, 5, 4]"))


def test_a_mesh_without_faces(tmp_path: Path) -> None:
    (tmp_path / "empty.off").write_text("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n")
    with pytest.raises(FlawsmithError, match=r"scene.yaml:2:5: parts.0.file: .*no triangles"):
        loaded(tmp_path, PLATE.replace("plate_mm: [20, 12, 4]", "file: empty.off\n    unit: mm"))


def test_a_light_inside_the_part(tmp_path: Path) -> None:
    inside = PLATE.replace("name: plate", "position_mm: [0, 0]") + (
        "lights:\n  spot: {kind: spot, distance_mm: 1, look_at_mm: [0, 0, 1]}\n"
    )
    spec, assets = loaded(tmp_path, inside)
    with pytest.raises(ConfigError, match=r"scene.yaml:8:3: lights.spot: the light is inside part"):
        draw_scene(spec, assets, seed=1, index=0)
    beside, assets = loaded(tmp_path, inside, "lights.spot.distance_mm=9")
    draw_scene(beside, assets, seed=1, index=0)


def test_a_light_before_the_camera(tmp_path: Path) -> None:
    text = PLATE + "lights:\n  lid: {kind: area, distance_mm: 100}\n"
    spec, assets = loaded(tmp_path, text)
    with pytest.raises(ConfigError, match=r"scene.yaml:8:3: lights.lid: the light stands between camera 'arch-4'"):
        draw_scene(spec, assets, seed=1, index=4)


def test_a_dome_leaves_a_hole_for_the_camera(tmp_path: Path) -> None:
    text = PLATE + "cameras: {arch: null, top: {}}\nlights:\n  dome: {kind: dome}\n"
    spec, assets = loaded(tmp_path, text)
    assert draw_scene(spec, assets, seed=1, index=0).camera.name == "top"


def test_no_material_of_an_image_set_without_colour(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    cv2.imwrite(str(tmp_path / "set" / "roughness.png"), np.zeros((4, 4), np.uint8))
    text = PLATE.replace("name: plate", "material: x") + "materials:\n  x: {finish: pbr, folder: set}\n"
    with pytest.raises(FlawsmithError, match=r"scene.yaml:8:20: materials.x.folder: .* has no colour image"):
        loaded(tmp_path, text)


def test_the_hash_is_of_the_spec_and_of_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    image = tmp_path / "set" / "color.png"
    cv2.imwrite(str(image), np.zeros((4, 4, 3), np.uint8))
    text = PLATE.replace("name: plate", "material: x") + "materials:\n  x: {finish: pbr, folder: set}\n"
    first = spec_hash(load_spec(written(tmp_path, text)), tmp_path)
    assert spec_hash(load_spec(written(tmp_path, text + "# a remark\n")), tmp_path) == first
    assert spec_hash(load_spec(written(tmp_path, text), ["healthy=0.25"]), tmp_path) != first
    cv2.imwrite(str(image), np.ones((4, 4, 3), np.uint8))
    assert spec_hash(load_spec(written(tmp_path, text)), tmp_path) != first


def test_the_schema_is_json() -> None:
    schema = SceneSpec.model_json_schema()
    assert {"parts", "cameras", "lights", "defects"} <= set(schema["properties"])
    assert json.loads(json.dumps(schema)) == schema


def test_marks_follow_anchors_and_lists() -> None:
    marked = parse_marked("a: &x {p: 1}\nb:\n  - *x\n  - {<<: *x, q: 2}\n", "f")
    assert marked.values == {"a": {"p": 1}, "b": [{"p": 1}, {"p": 1, "q": 2}]}
    assert marked.at("b", 1, "q") == Mark("f", 4, 14)
    assert marked.at("b", 1, "nowhere") == Mark("f", 4, 5)


def test_anchors_that_explode_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    with pytest.raises(ConfigError, match="more than 50,000 values"):
        parse_marked("\n".join(lines), "f")


def test_an_overlay_takes_keys_away_with_null() -> None:
    under, over = parse_marked("a: {x: 1, y: 2}\nb: 3", "u"), parse_marked("a: {x: null, z: 4}", "o")
    laid = overlay(under, over)
    assert laid.values == {"a": {"y": 2, "z": 4}, "b": 3}
    assert (laid.at("a", "y").source, laid.at("a", "z").source) == ("u", "o")
    assert overlay(Marked({}), under).values == under.values
