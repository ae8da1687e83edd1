"""The whole run: the same bytes whatever happens to it, labels that hold, and what it says of itself."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault, GateError
from flawsmith.core.geometry import mask_box
from flawsmith.dataset import Dataset
from flawsmith.synth import draw
from flawsmith.synth.assets import load_assets
from flawsmith.synth.distribution import NoRoomError
from flawsmith.synth.generate import Limits, Plan, generate, images_of, run, shoot
from flawsmith.synth.generate.job import Outcome
from flawsmith.synth.generate.preview import preview
from flawsmith.synth.lens import ideal
from flawsmith.synth.material import pattern
from flawsmith.synth.scene import Camera

COUNT = 5
SCENE = """
parts: [{name: sheet, plate_mm: [50, 50, 1], material: sheet, yaw_deg: 30, position_mm: [3, 0]}]
stage: {preset: sheet, size_mm: [80, 80], surface: cheap, body: cheap, floor: cheap}
cameras: {line: {field_mm: 40, resolution_px: [64, 64], distortion: [0.05, 0, 0, 0, 0]}}
materials:
  sheet: {finish: plastic, color: grey, roughness: 0.5}
  cheap: {finish: plastic, color: black}
defects:
  - {kind: rust, diameter_mm: 8, where: {normal: {max_deg: 20}}}
  - {kind: hole, diameter_mm: 6, depth_mm: 3, probability: 0.5, where: {normal: {max_deg: 20}}}
healthy: 0.4
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.yaml"
    path.write_text(SCENE)
    return path


def make(scene: Path, out: Path, count: int = COUNT, workers: int = 1, **options) -> run.Report:
    return generate(scene, out, count, renderer="relief", plan=Plan(workers=workers), **options)


@pytest.fixture(scope="module")
def undisturbed(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "data"
    make(scene, out, labels=("depth", "normal", "instance"))
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_workers_give_the_bytes_of_one(scene: Path, undisturbed: Path, tmp_path: Path) -> None:
    make(scene, tmp_path / "data", workers=2, labels=("instance", "depth", "normal"))
    assert contents(tmp_path / "data") == contents(undisturbed)


def test_one_image_alone_is_the_one_among_all(scene: Path, undisturbed: Path, tmp_path: Path) -> None:
    report = make(scene, tmp_path / "one", only=[3], labels=("depth", "normal", "instance"))
    assert report.images == 1
    alone, all_ = contents(tmp_path / "one"), contents(undisturbed)
    mine = [name for name in all_ if "000003" in name]
    assert len(mine) >= 4
    assert all(alone[name] == all_[name] for name in mine)
    assert not [name for name in alone if "000002" in name]


def test_what_was_made_before_does_not_matter(scene: Path) -> None:
    """Warm stores of textures or cold ones, forwards or backwards: the same bytes."""
    job = images_of(scene, 0, "relief")
    forwards = [job.open()(index).files for index in range(4)]
    make = job.open()
    backwards = [make(index).files for index in (3, 2, 1, 0)]
    assert backwards[::-1] == forwards
    for kept in (pattern._kept, pattern._ranks, pattern._two, draw._made):
        kept.cache_clear()
    assert make(2).files == forwards[2]


def test_another_seed_gives_other_images(scene: Path, undisturbed: Path, tmp_path: Path) -> None:
    make(scene, tmp_path / "data", 1, seed=1)
    assert contents(tmp_path / "data")["images/000000.png"] != contents(undisturbed)["images/000000.png"]


def test_labels_hold(undisturbed: Path) -> None:
    data = Dataset.open(undisturbed)
    assert data.classes == ("rust", "hole")
    assert [s.healthy for s in data].count(True) == 2
    for sample in data:
        assert sample.healthy == (not sample.defects)
        assert sample.provenance == "relief"
        assert sample.pixel_mm == pytest.approx(40 / 64, rel=0.05)
        instance = np.asarray(read_png(undisturbed / f"instance/{sample.id}.png"))
        for defect in sample.defects:
            assert defect.mask is not None
            assert (instance[defect.full_mask((64, 64))] == 1).all()
            assert defect.area_px >= 12


def test_the_sidecar_says_how_each_image_was_made(undisturbed: Path) -> None:
    table = pq.read_table(undisturbed / "renders.parquet").to_pylist()
    assert [row["index"] for row in table] == list(range(COUNT))
    assert len({row["drawn.environment.irradiance_w_m2"] for row in table}) == COUNT
    for row, sample in zip(table, Dataset.open(undisturbed), strict=True):
        assert [d["kind"] for d in row["defects"]] == [d.kind for d in sample.defects]
        assert all(d["contrast"] >= 0.02 and 0.3 <= d["visible"] <= 1 for d in row["defects"])
        assert row["parts"][0]["rotation_class"] == 1  # 30°, the second of twelve sectors
    resolved = (undisturbed / "scene.resolved.yaml").read_text()
    assert "least_contrast: 0.02" in resolved


def test_bops_files_project_the_part_to_where_it_is_seen(undisturbed: Path) -> None:
    """OpenCV's projection by BOP's numbers alone, distortion left out: the sheet's centre falls on the part."""
    cameras = json.loads((undisturbed / "scene_camera.json").read_text())
    poses = json.loads((undisturbed / "scene_gt.json").read_text())
    info = json.loads((undisturbed / "scene_gt_info.json").read_text())
    for index in map(str, range(COUNT)):
        k = np.reshape(cameras[index]["cam_K"], (3, 3))
        pixel = k @ poses[index][0]["cam_t_m2c"]
        pixel = pixel[:2] / pixel[2]
        x, y, width, height = info[index][0]["bbox_visib"]
        assert x <= pixel[0] <= x + width
        assert y <= pixel[1] <= y + height
        depth = read_png(undisturbed / f"depth/{int(index):06d}.png")[32, 32] * cameras[index]["depth_scale"]
        assert depth == pytest.approx(poses[index][0]["cam_t_m2c"][2], abs=12)
        assert poses[index][0]["obj_id"] == 1


def read_png(path: Path) -> np.ndarray:
    from flawsmith.core.image import decode

    return decode(path)


def test_pairs_are_the_same_scene_with_and_without(scene: Path, tmp_path: Path) -> None:
    report = make(scene, tmp_path / "pairs", 4, overrides=["pairs=true"])
    for flawed, twin in zip(report.dataset[::2], report.dataset[1::2], strict=True):
        assert not flawed.healthy
        assert twin.healthy
        assert flawed.groups == twin.groups
        change = np.abs(flawed.image().astype(float) - twin.image())
        labelled = np.any([d.full_mask((64, 64)) for d in flawed.defects], axis=0)
        near = cv2.dilate(labelled.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
        assert change[labelled].mean() > 3
        assert not change[~near].any()  # not even the noise differs


@pytest.fixture
def killed(scene: Path, tmp_path: Path) -> Path:
    """A run that was ended by SIGKILL after its second image."""
    out = tmp_path / "data"
    program = [str(Path(sys.executable).with_name("flawsmith")), "generate", str(scene), "--out", str(out)]
    options = ["--count", str(COUNT), "--renderer", "relief", "--labels", "depth,normal,instance", "--workers", "2"]
    child = subprocess.Popen(
        [*program, *options], stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    rows = tmp_path / ".data.generating" / ".rows"
    deadline = time.monotonic() + 120
    while len(list(rows.rglob("0*.json"))) < 2:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not out.exists()
    return out


def test_a_killed_run_is_gone_on_with_to_the_same_bytes(scene: Path, undisturbed: Path, killed: Path) -> None:
    labels = ("depth", "normal", "instance")
    with pytest.raises(ConfigError, match="--resume goes on"):
        make(scene, killed, labels=labels)
    with pytest.raises(ConfigError, match=r"has seed 0, this one 1: .* --overwrite"):
        make(scene, killed, labels=labels, seed=1, resume=True)
    with pytest.raises(ConfigError, match="spec_hash"):
        make(scene, killed, labels=labels, overrides=["healthy=0.2"], resume=True)
    image = next((killed.parent / ".data.generating" / "images").glob("*.png"))
    image.write_bytes(b"half")  # what a power failure leaves
    begun: list[int] = []
    make(scene, killed, labels=labels, resume=True, on_progress=lambda p: begun.append(p.begun_with))
    assert begun[0] >= 1
    assert contents(killed) == contents(undisturbed)
    assert not (killed.parent / ".data.generating").exists()


def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(scene: Path, undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        labels = ("depth", "normal", "instance")
        (folder / "ballast").write_bytes(bytes(110 << 10))
        with pytest.raises(EnvironmentFault, match=r"disk is full|GB free"):
            make(scene, folder / "data", labels=labels)
        assert not (folder / "data").exists()
        subprocess.run([*mount[:4], "remount,size=8m", *mount[5:]], check=True)
        make(scene, folder / "data", labels=labels, resume=True)
        assert contents(folder / "data") == contents(undisturbed)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_an_item_given_up_is_listed_and_the_rest_is_kept(
    scene: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = run.supervise

    def without_item_2(site, indices, workers, limits):
        yield from real(site, [i for i in indices if i != 2], workers, limits)
        yield Outcome(2, error="its process was ended by SIGSEGV (3 tries)")

    monkeypatch.setattr(run, "supervise", without_item_2)
    report = make(scene, tmp_path / "data", labels=("depth", "normal", "instance"))
    assert report.quarantined == {2: "its process was ended by SIGSEGV (3 tries)"}
    listed = json.loads((tmp_path / "data" / "quarantine.json").read_text())
    assert listed == [{"item": 2, "reason": "its process was ended by SIGSEGV (3 tries)"}]
    assert [s.id for s in report.dataset] == ["000000", "000001", "000003", "000004"]
    all_ = contents(undisturbed)
    assert all(
        data == all_[name] for name, data in contents(tmp_path / "data").items() if name.startswith(("images", "masks"))
    )


def test_a_run_that_makes_nothing_says_why(scene: Path, tmp_path: Path) -> None:
    plan = Plan(limits=Limits(item_seconds=0.01, strikes=1))
    with pytest.raises(GateError, match=r"longer than 0\.01 s"):
        generate(scene, tmp_path / "data", 2, renderer="relief", plan=plan)
    assert not any(tmp_path.iterdir())


def test_a_spec_whose_defects_cannot_be_seen_is_named(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shoot, "TRIES", 2)
    item = images_of(scene, 0, "relief", overrides=["visible.least_contrast=1", "healthy=0"]).open()
    with pytest.raises(DataError, match="none of 2 views shows a defect well enough"):
        item(0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ("depht",)}, "Did you mean 'depth'"),
        ({"overrides": ["cameras.line.resolution=[64, 64]"]}, "resolution_px"),
        ({"overrides": ["parts=[]"]}, "parts"),
    ],
)
def test_a_mistake_is_named_before_anything_is_made(scene: Path, tmp_path: Path, options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(scene, tmp_path / "data", **options)
    assert not any(tmp_path.iterdir())


def test_a_finished_data_set_is_not_written_over_unasked(scene: Path, tmp_path: Path) -> None:
    make(scene, tmp_path / "data", 1)
    before = contents(tmp_path / "data")
    with pytest.raises(ConfigError, match="--overwrite"):
        make(scene, tmp_path / "data", 1)
    assert contents(tmp_path / "data") == before
    make(scene, tmp_path / "data", 1, seed=2, overwrite=True)
    assert contents(tmp_path / "data") != before


def test_the_preview_is_three_by_four(scene: Path) -> None:
    sheet = preview(replace(images_of(scene, 0, "relief"), spp=1), Plan())
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] > sheet.shape[0] * 0.9
    assert sheet.std() > 10


def test_a_part_that_is_wrong_as_a_whole_is_labelled_without_a_region(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shoot.draw_scene

    def faulty(*arguments):
        drawn = real(*arguments)
        wrong = (replace(i, defects=(), faults=(("missing nut", None),)) for i in drawn.instances)
        return replace(drawn, instances=tuple(wrong))

    monkeypatch.setattr(shoot, "draw_scene", faulty)
    row = images_of(scene, 0, "relief", overrides=["healthy=0"]).open()(0).row["images"][0]
    assert row["manifest"]["label"] == "missing nut"
    assert not row["manifest"]["healthy"]
    assert not row["manifest"]["defects"]
    assert row["parts"][0]["faults"] == ["missing nut"]


def test_a_draw_without_room_is_drawn_again_unless_none_has_any(scene: Path) -> None:
    def attempts(count: str) -> set[int]:
        rust = f"defects=[{{kind: rust, count: {count}, diameter_mm: 16, where: {{normal: {{max_deg: 20}}}}}}]"
        job = images_of(scene, 0, "relief", overrides=[rust, "healthy=0"])
        studio = shoot.Studio(job.spec, load_assets(job.spec, job.base), 0, "relief", job.spec.render)
        return {shoot.flawed_view(studio, index).attempt for index in range(8)}

    assert attempts("{choice: [1, 12]}") > {0}  # some at once, some only on another try
    with pytest.raises(NoRoomError, match="no place"):
        attempts("12")


@pytest.fixture(scope="module")
def studio(scene: Path) -> shoot.Studio:
    job = images_of(scene, 0, "relief", overrides=["cameras.line.resolution_px=[512, 512]", "healthy=0"])
    return shoot.Studio(job.spec, load_assets(job.spec, job.base), 0, "relief", job.spec.render)


def test_small_windows_find_what_the_whole_image_shows(studio: shoot.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the same comparison over the whole image at once."""
    for index in range(3):
        drawn = studio.draw(index, 0, healthy=False)
        scene = replace(drawn, camera=ideal(drawn.camera))
        coverage = studio.render(scene, None).coverage
        numbers = [k for k in range(len(coverage)) if (coverage[k] >= 0.5).any()]
        contrast, area, _ = shoot._compared(studio, scene, None, coverage, numbers)
        with monkeypatch.context() as patch:
            patch.setattr(shoot, "_WINDOW_PX", 1000)
            true_contrast, true_area, _ = shoot._compared(studio, scene, None, coverage, numbers)
        assert numbers
        np.testing.assert_allclose(contrast, true_contrast, rtol=0.15, atol=0.005)
        np.testing.assert_allclose(area, true_area, rtol=0.1, atol=5)


def test_a_long_thin_defect_is_judged_where_it_is_thickest() -> None:
    plane = np.zeros((256, 256), np.float32)
    plane[100, 10:240] = 0.6
    plane[101, 60:100] = 0.6
    (frame, shares), *rest = shoot._frames({0: plane}, 0.5)
    assert not rest
    np.testing.assert_allclose(np.ptp(frame.reshape(2, 2), axis=0), 96)
    assert frame[0] <= 120 < 200 <= frame[2]
    assert frame[1] < 202 < frame[3]
    assert shares[0] == pytest.approx((48 + 40) / (230 + 40), abs=0.01)


def test_frames_hold_every_defect_and_small_neighbours_share_one() -> None:
    planes = {k: np.zeros((256, 256), np.float32) for k in range(4)}
    for k, (y, x, size) in enumerate([(20, 20, 6), (30, 35, 6), (200, 30, 6), (100, 100, 120)]):
        planes[k][y : y + size, x : x + size] = 1
    frames = list(shoot._frames(planes, 0.5))
    assert [sorted(shares) for _, shares in frames] == [[0, 1], [2], [3]]
    for frame, shares in frames:
        for k in shares:
            box = mask_box(planes[k] > 0)
            assert box is not None
            x0, y0, x1, y1 = np.array(box) * 2
            assert frame[0] <= x0
            assert frame[1] <= y0
            assert frame[2] >= x1
            assert frame[3] >= y1


def test_a_cut_out_is_the_image_there() -> None:
    """Through the shader: pixels of the window are those of the image; a shrunk one holds its whole frame."""
    k = np.array([[900.0, 0, 256], [0, 900, 256], [0, 0, 1]])
    whole = Camera("c", 512, 512, k, np.eye(4), 1.0)
    window = shoot.cut_out(whole, np.array([480.0, 100, 520, 140]), 96)
    assert (window.width, window.height) == (96, 96)
    point = np.array([0.26, -0.15, 1.0])
    np.testing.assert_allclose(window.k @ point + [512 - 96, 72, 0], whole.k @ point)
    shrunk = shoot.cut_out(whole, np.array([0.0, 100, 384, 200]), 96)
    assert shrunk.k[0, 0] == pytest.approx(225)
    assert 0 <= (shrunk.k @ [(0 - 256) / 900, (150 - 256) / 900, 1])[0] <= 96
