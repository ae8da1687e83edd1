"""Opening a recipe verifies every byte, and hostile recipes end in named errors."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault, FlawsmithError, GateError
from flawsmith.core.files import sha256_of
from flawsmith.core.image import encode_png
from flawsmith.line.engine import ENGINES
from flawsmith.line.recipe import RECIPE, Recipe, open_recipe, pick_engine, read_roi


def rewrite(folder: Path, change: Callable[[dict], object]) -> None:
    """Edit `recipe.json` in place."""
    info = json.loads((folder / RECIPE).read_text())
    change(info)
    (folder / RECIPE).write_text(json.dumps(info))


def test_opens_with_everything_in_it(exported: Path) -> None:
    recipe = open_recipe(exported)
    assert recipe.info.spec.kinds == ("bright", "dark")
    assert set(recipe.info.engines) == set(ENGINES)
    assert recipe.digest == sha256_of(exported / RECIPE)
    assert not recipe.edited
    on_disk = {p.relative_to(exported).as_posix() for p in exported.rglob("[!.]*") if p.is_file()}
    assert on_disk == {*recipe.info.files, RECIPE, "decision.json"}
    assert all(recipe.read(name) == (exported / name).read_bytes() for name in recipe.info.files)


def test_any_changed_file_is_found(recipe_folder: Path) -> None:
    for name in open_recipe(recipe_folder).info.files:
        path = recipe_folder / name
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(DataError, match=f"{path.name} is not the file that was exported"):
            open_recipe(recipe_folder)
        path.write_bytes(good)


def test_any_missing_file_is_found(recipe_folder: Path) -> None:
    for name in [*open_recipe(recipe_folder).info.files, "decision.json", RECIPE]:
        path = recipe_folder / name
        good = path.read_bytes()
        path.unlink()
        with pytest.raises(FlawsmithError, match=path.name):
            open_recipe(recipe_folder)
        path.write_bytes(good)


def test_a_file_changed_after_opening_is_found_when_it_is_read(recipe_folder: Path) -> None:
    recipe = open_recipe(recipe_folder)
    (recipe_folder / "model.onnx").write_bytes(b"another network")
    with pytest.raises(DataError, match=r"model\.onnx"):
        recipe.read("model.onnx")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "golden/../../outside", "a/./b", "a\\b", "C:/x", ""])
def test_names_that_lead_out_are_refused(recipe_folder: Path, name: str) -> None:
    (recipe_folder.parent / "outside").write_bytes(b"secret")
    rewrite(recipe_folder, lambda info: info["files"].update({name: sha256_of(b"secret")}))
    with pytest.raises(ConfigError, match="files"):
        open_recipe(recipe_folder)


def test_a_link_out_of_the_folder_is_refused(recipe_folder: Path) -> None:
    outside = recipe_folder.parent / "outside.onnx"
    outside.write_bytes((recipe_folder / "model.onnx").read_bytes())
    (recipe_folder / "model.onnx").unlink()
    (recipe_folder / "model.onnx").symlink_to(outside)
    with pytest.raises(DataError, match="leads out of the recipe"):
        open_recipe(recipe_folder)


def test_a_linked_folder_or_decision_is_refused(recipe_folder: Path) -> None:
    outside = recipe_folder.parent / "decision.json"
    (recipe_folder / "decision.json").rename(outside)
    (recipe_folder / "decision.json").symlink_to(outside)
    with pytest.raises(DataError, match="leads out of the recipe"):
        open_recipe(recipe_folder)
    (recipe_folder / "decision.json").unlink()
    outside.rename(recipe_folder / "decision.json")
    (recipe_folder / "golden").rename(recipe_folder.parent / "golden")
    (recipe_folder / "golden").symlink_to(recipe_folder.parent / "golden")
    with pytest.raises(DataError, match="leads out of the recipe"):
        open_recipe(recipe_folder)


def test_a_recipe_reached_through_a_link_opens(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(exported)
    assert open_recipe(tmp_path / "link").digest == open_recipe(exported).digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.update(schema_version=2), "schema_version 2"),
        (lambda i: i.pop("schema_version"), "schema_version None"),
        (lambda i: i.update(surprise=1), "unknown key 'surprise'"),
        (lambda i: i["spec"].update(strid=2), "Did you mean 'stride'"),
        (lambda i: i["spec"].update(stride="many"), "spec.stride"),
        (lambda i: i["spec"].update(kinds=[]), "spec.kinds"),
        (lambda i: i.update(engines={}), "engines"),
        (lambda i: i.update(engines=[1]), "engines"),
        (lambda i: i["engines"].update(tensorrt=i["engines"]["openvino"]), "engine 'tensorrt' is not known"),
        (lambda i: i["engines"]["openvino"].update(files=["model.onnx"]), "engine 'openvino' names the files"),
        (lambda i: i["engines"]["openvino"].update(ms="fast"), "engines.openvino.ms"),
        (lambda i: i["files"].pop("model.onnx"), r"no SHA-256 of \['model.onnx'\]"),
        (lambda i: i["files"].update({"model.onnx": "abc"}), "files.model.onnx"),
        (lambda i: i["files"].update({"model.onnx": None}), "files.model.onnx"),
        (lambda i: i.update(roi="roi.png"), r"no SHA-256 of \['roi.png'\]"),
        (lambda i: i.update(decision_sha256=7), "decision_sha256"),
    ],
)
def test_wrong_entries_are_named(recipe_folder: Path, change: Callable[[dict], object], message: str) -> None:
    rewrite(recipe_folder, change)
    with pytest.raises(FlawsmithError, match=message):
        open_recipe(recipe_folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_recipe_json_ends_in_a_traceback(recipe_folder: Path, data: st.DataObject) -> None:
    """Any one value of `recipe.json` replaced by anything: it opens, or says why not."""
    original = (recipe_folder / RECIPE).read_text()
    info = json.loads(original)
    key = data.draw(st.sampled_from(sorted(info)))
    info[key] = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=6),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
            max_leaves=5,
        )
    )
    (recipe_folder / RECIPE).write_text(json.dumps(info))
    with suppress(FlawsmithError):
        open_recipe(recipe_folder)
    (recipe_folder / RECIPE).write_text(original)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\x00", '{"schema_version": 1}'])
def test_a_recipe_json_that_is_none(recipe_folder: Path, text: str) -> None:
    (recipe_folder / RECIPE).write_text(text)
    with pytest.raises(FlawsmithError, match=r"recipe\.json"):
        open_recipe(recipe_folder)


def test_an_edited_decision_is_allowed_and_reported(recipe_folder: Path) -> None:
    before = open_recipe(recipe_folder)
    path = recipe_folder / "decision.json"
    path.write_text(path.read_text().replace("0.6", "0.7"))
    after = open_recipe(recipe_folder)
    assert after.edited
    assert after.digest == before.digest
    assert after.decision_sha256 == sha256_of(path) != before.decision_sha256
    assert after.decision.default is not None
    assert after.decision.default.threshold == 0.7


@pytest.mark.parametrize(
    "rules",
    [
        '{"default": {"threshold": 2}}',
        '{"kinds": {"bright": {"threshold": 0.5}}}',
        '{"default": {"threshold": 0.5}, "kinds": {"brigt": {"threshold": 0.5}}}',
        "[]",
    ],
)
def test_a_decision_that_does_not_fit_is_refused(recipe_folder: Path, rules: str) -> None:
    (recipe_folder / "decision.json").write_text(rules)
    with pytest.raises(ConfigError, match=r"decision\.json"):
        open_recipe(recipe_folder)


def test_a_folder_that_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="flawsmith export"):
        open_recipe(tmp_path)


def test_the_fastest_installed_engine_is_the_default(recipe_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(info: dict) -> None:
        for ms, name in enumerate(("openvino-int8", "openvino", "onnxruntime", "openvino-bf16"), start=1):
            info["engines"][name]["ms"] = ms

    rewrite(recipe_folder, measured)
    recipe = open_recipe(recipe_folder)
    assert pick_engine(recipe) == "openvino-int8"
    assert pick_engine(recipe, "openvino") == "openvino"
    monkeypatch.setattr("flawsmith.line.engine.find_spec", lambda package: package == "onnxruntime" or None)
    assert pick_engine(recipe) == "onnxruntime"
    monkeypatch.setattr("flawsmith.line.engine.find_spec", lambda package: None)
    with pytest.raises(EnvironmentFault, match="onnxruntime"):
        pick_engine(recipe)


def open_recipe_with(folder: Path, dropped: str) -> Recipe:
    rewrite(folder, lambda info: info["engines"].pop(dropped))
    return open_recipe(folder)


def test_an_engine_that_did_not_pass_is_refused(recipe_folder: Path) -> None:
    recipe = open_recipe_with(recipe_folder, "openvino-int8")
    with pytest.raises(GateError, match=r"parity\.json"):
        pick_engine(recipe, "openvino-int8")
    with pytest.raises(ConfigError, match="Did you mean"):
        pick_engine(recipe, "onnxruntme")


def test_a_region_of_interest_is_what_is_bright() -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 255
    assert np.array_equal(read_roi(encode_png(mask)), mask > 0)
    assert np.array_equal(read_roi(encode_png(np.repeat(mask[:, :, None], 3, axis=2))), mask > 0)
    assert np.array_equal(read_roi(encode_png(mask.astype(np.uint16) * 257)), mask > 0)
    with pytest.raises(DataError, match=r"part\.png: the region of interest is empty"):
        read_roi(encode_png(np.zeros((4, 6), np.uint8)), "part.png")
