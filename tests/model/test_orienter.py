"""The model of orientation as a whole, on drawn wedges, with a small network of random weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import trimesh
import yaml
from lying_set import SIDE, camera, lying, wedge
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from flawsmith.cli import app
from flawsmith.cli.orientation import evaluate_to
from flawsmith.core.camera import load_camera
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.image import encode_png
from flawsmith.core.orientation import (
    CameraPose,
    Orientation,
    RestingPose,
    angle_apart,
    camera_turn_deg,
    project,
    read_planes,
    turned,
)
from flawsmith.core.spec import predict_image
from flawsmith.dataset.augment import AugmentSettings
from flawsmith.dataset.manifest import Dataset, replace_manifest
from flawsmith.decide.classes import unknown_to_a_person
from flawsmith.deploy.request import ExportRequest, export_model
from flawsmith.line.batch import inspect_images, list_images
from flawsmith.line.inspector import Inspector
from flawsmith.line.recipe import load_engine
from flawsmith.model.models import load_model
from flawsmith.model.orientation import OrientationSettings, OrientAugment, OrientBackbone, Orienter, OrientTrain
from flawsmith.model.orientation_data import RENDERS, SCENE, Truths, resting_poses, truths
from flawsmith.model.orientation_views import CELLS, Marks, beside, disturbed, target
from flawsmith.model.runs import train_into
from flawsmith.model.small_cnn import SmallCnnSettings
from flawsmith.part import Component, Part
from flawsmith.pipeline import evaluate_orienter as evaluated


def chosen(steps: int = 200) -> OrientationSettings:
    return OrientationSettings(
        backbone=OrientBackbone(name="small-cnn", side=SIDE, small=SmallCnnSettings(filters=8, depth=3)),
        hidden=48,
        channels=8,
        bins_per_turn=36,
        dropout=0.0,
        train=OrientTrain(
            steps=steps, batch=24, warmup=10, validate_every=50, threads=1, learning_rate=5e-3, precision="fp32"
        ),
    )


@pytest.fixture(scope="module")
def poses() -> tuple[RestingPose, ...]:
    return resting_poses(wedge(), [0], bins_per_turn=36)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    root = tmp_path_factory.mktemp("wedges")
    return {name: lying(root / name, count, seed, name) for seed, (name, count) in enumerate(sizes().items())}


def sizes() -> dict[str, int]:
    return {"train": 60, "val": 12, "test": 24}


@pytest.fixture(scope="module")
def model(data: dict[str, Dataset], poses: tuple[RestingPose, ...]) -> Orienter:
    return Orienter(chosen(), poses).fit(data["train"], data["val"])


def test_it_learns_angle_and_centre(model: Orienter, data: dict[str, Dataset]) -> None:
    told, judged = evaluated(model, data["test"], split=None)
    assert told.all.pose.k == told.all.pose.n == sizes()["test"]
    assert told.all.angle_deg.median is not None
    assert told.all.angle_deg.median < 10
    assert told.all.centre_px.median is not None
    assert told.all.centre_px.median < 2.5
    assert told.all.centre_mm.median is not None
    assert told.all.centre_mm.median < 4
    assert all(j.found.camera_from_part is not None for j in judged)


def test_an_untrained_one_does_not(data: dict[str, Dataset], poses: tuple[RestingPose, ...]) -> None:
    """The control: what the test above measures is not in the images for free."""
    told, _ = evaluated(Orienter(chosen(1), poses).fit(data["train"]), data["test"], split=None)
    assert told.all.angle_deg.median is not None
    assert told.all.angle_deg.median > 30


def test_it_comes_back_as_it_was(model: Orienter, data: dict[str, Dataset], tmp_path: Path) -> None:
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert isinstance(again, Orienter)
    assert again.spec == model.spec
    assert again.identity() == model.identity()
    image = data["test"][0].image()
    np.testing.assert_allclose(next(again.predict([image])).maps, next(model.predict([image])).maps, atol=1e-6)


def test_planes_are_probabilities(model: Orienter, data: dict[str, Dataset]) -> None:
    images = [sample.image() for sample in data["test"]]
    maps = np.stack([p.maps[:, 0, 0] for p in model.predict(images)])
    assert maps.shape == (len(images), 36 + 3)
    assert (maps >= 0).all()
    assert (maps <= 1).all()
    assert (maps[:, :36].sum(1) <= 1 + 1e-5).all()
    assert (maps[:, :36].sum(1) + maps[:, -1] >= 1 - 1e-5).all()  # what no pose has, "unknown" has


def test_a_recipe_tells_how_the_part_lies(model: Orienter, data: dict[str, Dataset], tmp_path: Path) -> None:
    whole = data["train"]
    table = pa.concat_tables([data[name].table for name in sizes()])
    held = Dataset(whole.root, whole.info, table)
    for name in ("val", "test"):  # one folder with all images, as a split data set has
        for path in (data[name].root / "images").iterdir():
            (whole.root / "images" / path.name).write_bytes(path.read_bytes())
    request = ExportRequest(engines=("onnxruntime",), images=12, threads=1)
    export_model(model, held, unknown_to_a_person(), tmp_path / "recipe", request)
    inspector, image = Inspector(tmp_path / "recipe", threads=1), data["test"][3].image()
    run, _ = load_engine(inspector.recipe, "onnxruntime", 1)
    theirs, maps = predict_image(run, image, model.spec).maps, next(model.predict([image])).maps
    np.testing.assert_allclose(theirs, maps, atol=1e-4)
    found, ours = inspector.inspect(image).lies, next(model.orient([image]))
    assert found is not None
    assert found.angle_deg is not None
    assert angle_apart(found.angle_deg, ours.angle_deg, 360) < 0.1
    assert found.centre_px == pytest.approx(ours.centre_px, abs=0.05)
    assert found.as_json()["pose"] == 0
    (line,) = inspect_images(inspector, list_images([data["test"].root / "images" / "test-003.png"]), tmp_path / "out")
    assert line["status"] in ("OK", "REVIEW")
    assert line["orientation"]["angle_deg"] == pytest.approx(found.angle_deg, abs=0.01)
    assert "stage_xy_mm" not in line["orientation"]  # without a calibration nothing is known of the stage
    _in_the_stage_frame(tmp_path, image, found)


def _in_the_stage_frame(folder: Path, image: np.ndarray, found: Orientation) -> None:
    """A camera 600 mm straight above, one pixel 0.5 mm on the stage, its x axis along the stage's y."""
    turn = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 600], [0, 0, 0, 1]]
    half = SIDE / 2
    held = {"k": [[1200, 0, half], [0, 1200, half], [0, 0, 1]], "camera_from_world": turn}
    (folder / "camera.json").write_text(json.dumps(held))
    inspector = Inspector(folder / "recipe", threads=1, camera=load_camera(folder / "camera.json"))
    placed = inspector.inspect(image).lies
    assert placed is not None
    assert placed.angle_deg == found.angle_deg
    height = inspector.recipe.info.spec.poses[found.pose].middle_mm
    across, down = ((c - half) * (600 - height) / 1200 for c in found.centre_px)
    assert placed.stage_xy_mm == pytest.approx((down, across))
    assert angle_apart(placed.stage_angle_deg, found.angle_deg + 90, 360) < 1e-6
    assert placed.camera_from_part is not None
    pose = inspector.recipe.info.spec.poses[found.pose]
    middle = np.linalg.inv(pose.matrix) @ (0, 0, height, 1)  # of the part, in its own frame
    assert (placed.camera_from_part @ middle)[:3] == pytest.approx((across, down, 600 - height))
    (folder / "one.png").write_bytes(encode_png(image))
    items = list_images([folder / "one.png"])
    (line,) = inspect_images(inspector, items, folder / "placed")
    assert line["orientation"]["stage_xy_mm"] == pytest.approx(placed.stage_xy_mm, abs=1e-3)
    plain = Inspector(folder / "recipe", threads=1)
    assert len(list(inspect_images(plain, items, folder / "placed", resume=True))) == 1
    assert len((folder / "placed" / "verdicts.jsonl").read_text().splitlines()) == 2  # another calibration: done anew


def test_an_empty_stage_is_unknown(model: Orienter, data: dict[str, Dataset]) -> None:
    rng = np.random.default_rng(0)
    empty = (np.full((SIDE, SIDE), 45.0) + rng.normal(0, 3, (SIDE, SIDE))).astype(np.uint8)
    checks = (np.indices((SIDE, SIDE)).sum(0) // 4 % 2 * 255).astype(np.uint8)
    assert all(seen.unknown >= 0.5 for seen in model.orient([empty, checks]))
    known = [seen.unknown < 0.5 for seen in model.orient(s.image() for s in data["test"])]
    assert np.mean(known) > 0.8


def test_a_region_of_interest_shifts_the_centre(model: Orienter, data: dict[str, Dataset]) -> None:
    image = data["test"][0].image()
    wide = np.full((2 * SIDE, 2 * SIDE), 45, np.uint8)
    wide[10 : 10 + SIDE, 20 : 20 + SIDE] = image
    roi = np.zeros(wide.shape, bool)
    roi[10 : 10 + SIDE, 20 : 20 + SIDE] = True
    (there,), (here,) = model.orient([wide], roi), model.orient([image])
    assert there.centre_px == pytest.approx((here.centre_px[0] + 20, here.centre_px[1] + 10))
    assert there.angle_deg == here.angle_deg


def test_views_beside_the_part_do_not_show_it(data: dict[str, Dataset], poses: tuple[RestingPose, ...]) -> None:
    truth, size, rng, seen = truths(data["test"], poses), (SIDE, SIDE), np.random.default_rng(0), 0
    plain = AugmentSettings(flip=False, shear_deg=0, light=0.0)
    squares = [sample.image().reshape(SIDE, SIDE, 1) for sample in data["test"]]
    for row, square in enumerate(squares):
        view = beside(rng, square, truth, row, size, plain)
        if view is not None:
            seen += 1
            assert view.max() < 100 < square.max()  # the stage is below 70, the part above 140, noise 3
    assert seen > 15
    full = replace(truth, box_px=np.tile([0, 0, SIDE, SIDE], (24, 1)))
    assert beside(rng, squares[0], full, 0, size, plain) is None


@pytest.mark.parametrize("size", [(48, 48), (96, 48)])
def test_a_disturbed_label_is_that_of_a_camera_that_rolled(size: tuple[int, int]) -> None:
    """The oracle: the picture of the same part by the rolled, zoomed and shifted camera."""
    rng, pose = np.random.default_rng(3), resting_poses(wedge(), [0])[0]
    seen = camera(rng, tilt_deg=20.0)
    k = np.array([[300.0, 0, size[0] / 2], [0, 300.0, size[1] / 2], [0, 0, 1]])
    seen = CameraPose(k, seen.distortion, seen.camera_from_world)
    middle = np.array([[3.0, -2.0, pose.middle_mm]])
    yaw = 77.0
    angle = (yaw - camera_turn_deg(seen.camera_from_world)) % 360
    truth = Truths(
        (pose,),
        np.zeros(1, int),
        np.array([angle]),
        project(seen, middle),
        np.array([yaw]),
        middle[:, :2],
        np.zeros((1, 4)),
        (seen,),
    )
    settings = AugmentSettings(flip=False, shear_deg=0, rotate_deg=180, zoom=0.1, translate=0.0, light=0.0)
    square = np.zeros((48, 48, 1), np.uint8)
    for attempt in range(5):
        _, marks = disturbed(np.random.default_rng(attempt), square, truth, 0, size, settings)
        again = np.random.default_rng(attempt)
        roll, zoom = np.radians(again.uniform(-1, 1) * 180), np.exp(again.uniform(-1, 1) * np.log1p(0.1))
        rolled = CameraPose(np.diag([zoom, zoom, 1]) @ k, seen.distortion, turned(roll) @ seen.camera_from_world)
        rolled.k[:2, 2] = k[:2, 2]
        assert (marks.x * size[0], marks.y * size[1]) == pytest.approx(tuple(project(rolled, middle)[0]), abs=1e-6)
        assert angle_apart(marks.angle_deg, yaw - camera_turn_deg(rolled.camera_from_world), 360) < 1e-6


def test_the_picture_turns_with_its_label() -> None:
    """A dot at the centre stays at the centre, to a fraction of a pixel."""
    pose, seen = resting_poses(wedge(), [0])[0], camera(np.random.default_rng(0), tilt_deg=0.0)
    square = np.zeros((SIDE, SIDE, 1), np.uint8)
    square[19:22, 30:33] = 250
    truth = Truths(
        (pose,),
        np.zeros(1, int),
        np.zeros(1),
        np.array([[31.5, 20.5]]),
        np.zeros(1),
        np.zeros((1, 2)),
        np.zeros((1, 4)),
        (seen,),
    )
    settings = AugmentSettings(flip=False, shear_deg=0, rotate_deg=180, zoom=0.1, translate=0.05, light=0.0)
    for attempt in range(5):
        image, marks = disturbed(np.random.default_rng(attempt), square, truth, 0, (SIDE, SIDE), settings)
        rows, columns = np.indices((SIDE, SIDE)) + 0.5
        weight = image[..., 0] / image.sum()
        assert (columns * weight).sum() == pytest.approx(marks.x * SIDE, abs=0.1)
        assert (rows * weight).sum() == pytest.approx(marks.y * SIDE, abs=0.1)


def test_targets_read_back() -> None:
    pose = resting_poses(wedge(), [0, 1], bins_per_turn=36)
    for at in (0.0, 3.0, 181.7, 359.9):
        wanted = target(Marks(1, at, 0.3, 0.62), pose, 1.0)
        cells = (np.arange(CELLS) + 0.5) / CELLS
        axes = wanted[73:].reshape(2, CELLS) @ cells
        seen = read_planes(np.concatenate([wanted[:72], axes, [0]]), pose, (100, 100))
        assert seen.pose == pose[1].number
        assert angle_apart(seen.angle_deg, at, 360) < 1.2
        assert seen.centre_px == pytest.approx((30, 62), abs=0.3)


@pytest.mark.parametrize(
    ("mesh", "symmetry", "middle_mm"),
    [
        (trimesh.creation.cylinder(10, 4, sections=6), 6, 2.0),
        (trimesh.creation.cylinder(10, 4, sections=96), 0, 2.0),
        (trimesh.creation.box((30, 20, 4)), 2, 2.0),
        (trimesh.creation.box((30, 30, 4)), 4, 2.0),
    ],
)
def test_symmetry_and_height_come_from_the_shape(mesh: trimesh.Trimesh, symmetry: int, middle_mm: float) -> None:
    part = Part("p", (Component("p", (), np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int32)),))
    flat = resting_poses(part, [0], bins_per_turn=72)[0]
    assert (flat.symmetry, flat.middle_mm) == (symmetry, pytest.approx(middle_mm))
    assert flat.bins == (1 if not symmetry else max(72 // symmetry, 8))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", flat.period_deg, degrees=True).as_matrix()
    if symmetry:  # brute force: turned by a period, every corner lies on another
        corners = part.vertices @ flat.matrix[:3, :3].T + flat.matrix[:3, 3]
        again = corners @ turn[:3, :3].T
        assert np.linalg.norm(corners[:, None] - again[None], axis=2).min(0).max() < 1e-6


def test_truths_are_where_the_part_was_put(data: dict[str, Dataset], poses: tuple[RestingPose, ...]) -> None:
    truth = truths(data["test"], poses)
    for index in range(4):
        rng = np.random.default_rng([2, index])
        rng.choice((0,))
        seen = camera(rng)
        yaw, spot = rng.uniform(0, 2 * np.pi), rng.uniform(-8, 8, 2)
        assert angle_apart(truth.stage_deg[index], np.degrees(yaw), 360) < 1e-6
        np.testing.assert_allclose(truth.stage_xy_mm[index], spot, atol=1e-9)
        np.testing.assert_allclose(truth.cameras[index].camera_from_world, seen.camera_from_world)


def test_wrong_data_is_told(data: dict[str, Dataset], poses: tuple[RestingPose, ...], tmp_path: Path) -> None:
    plain = lying(tmp_path / "plain", 3)
    scene = (plain.root / SCENE).read_text()
    (plain.root / SCENE).unlink()
    good = pq.read_table(plain.root / RENDERS).to_pylist()
    with pytest.raises(DataError, match=r"no scene.resolved.yaml.*flawsmith generate"):
        Orienter(chosen()).fit(plain)
    (plain.root / SCENE).write_text(scene.replace("wedge.stl", "gone.stl"))
    with pytest.raises(DataError, match="is not here: name its CAD file with --part"):
        Orienter(chosen()).fit(plain)
    (plain.root / SCENE).write_text(yaml.safe_dump({"parts": [{}, {}]}))
    with pytest.raises(DataError, match="has 2 kinds of part"):
        Orienter(chosen()).fit(plain)
    other = resting_poses(Part("block", wedge(9.0).components), [0])
    with pytest.raises(DataError, match="does not lie in pose 0 of this CAD file"):
        truths(plain, tuple(p.model_copy(update={"stage_from_part": _tipped(p)}) for p in other))
    for changed, words in [
        ({"parts": []}, "shows 0 parts, wanted one"),
        ({"parts": good[0]["parts"] * 2}, "shows 2 parts, wanted one"),
        ({"parts": [{**good[0]["parts"][0], "pose": -1}]}, "in no stable pose"),
        ({"parts": [{**good[0]["parts"][0], "pose": 1}]}, r"shows pose 1; the model knows \[0\]"),
    ]:
        pq.write_table(pa.Table.from_pylist([{**good[0], **changed}, *good[1:]]), plain.root / RENDERS)
        with pytest.raises(DataError, match=words):
            truths(plain, poses)
    pq.write_table(pa.Table.from_pylist(good[1:]), plain.root / RENDERS)
    with pytest.raises(DataError, match="says nothing of image"):
        truths(plain, poses)
    (plain.root / RENDERS).unlink()
    with pytest.raises(DataError, match=r"no renders.parquet.*flawsmith generate"):
        truths(plain, poses)
    with pytest.raises(ConfigError, match="show another part"):
        Orienter(chosen().model_copy(update={"augment": OrientAugment(flip=True)}), poses).fit(data["train"])


def _tipped(pose: RestingPose) -> tuple[float, ...]:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", 90, degrees=True).as_matrix()
    return tuple(float(v) for v in (turn @ pose.matrix).ravel())


def test_a_run_folder_and_its_report(data: dict[str, Dataset], poses: tuple[RestingPose, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    model = train_into(run, Orienter(chosen(2), poses), data["train"], data["val"])
    assert {p.name for p in run.iterdir()} >= {"model.safetensors", "settings.yaml"}
    with pytest.raises(ConfigError, match="is not empty"):
        train_into(run, Orienter(chosen(2), poses), data["train"], data["val"])
    page, told = evaluate_to(model, data["test"], "test", tmp_path / "report", None, False, iter)
    text = page.read_text()
    assert "Green: true, orange: found" in text
    assert told.headline.split(";")[0] in text
    with pytest.raises(DataError, match="were trained on"):
        evaluate_to(model, data["train"], "train", tmp_path / "report2", None, False, iter)


def test_training_again_gives_the_same_model(data: dict[str, Dataset], poses: tuple[RestingPose, ...]) -> None:
    first, second = (Orienter(chosen(3), poses).fit(data["train"]).identity() for _ in range(2))
    assert first == second
    torch.manual_seed(5)
    assert Orienter(chosen(3), poses).fit(data["train"]).identity() == first


def test_the_command_line(tmp_path: Path) -> None:
    folder, run = tmp_path / "wedges", tmp_path / "run"
    data = lying(folder, 12)
    splits = pa.array(["train"] * 6 + ["val"] * 2 + ["test"] * 4)
    at = data.table.schema.get_field_index("split")
    replace_manifest(folder, data.table.set_column(at, "split", splits))
    few = ["backbone.side=48", "train.steps=2", "train.batch=4", "bins_per_turn=24", "train.threads=1"]
    settings = [word for text in few for word in ("--set", text)]
    ask = CliRunner().invoke
    done = ask(app, ["train", "orientation", str(folder), "--out", str(run), *settings, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["poses"] == [{"pose": 0, "symmetry": 1, "bins": 24}]
    told = ask(app, ["evaluate", str(run), str(folder), "--json"])
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout)["all"]
    assert (figures["images"], figures["pose"]["n"]) == (4, 4)
    assert figures["angle_deg"]["median"] <= figures["angle_deg"]["p95"] <= 180
    assert (run / "report-test" / "report.html").is_file()
    refused = ask(app, ["calibrate", str(run), str(folder), "--out", str(tmp_path / "d.json"), "--max-escape", "0.1"])
    assert isinstance(refused.exception, ConfigError) or "no escapes to calibrate" in refused.output
    other = ask(app, ["train", "orientation", str(folder), "--out", str(tmp_path / "r2"), "--part", "nothing"])
    assert other.exit_code != 0
    stl = [*settings, "--part", str(folder / "wedge.stl"), "--unit", "mm"]
    again = ask(app, ["train", "orientation", str(folder), "--out", str(tmp_path / "r3"), *stl])
    assert again.exit_code == 0, again.output
