"""Planes to angles, pixels to the stage: against OpenCV's projection and against poses that are known."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flawsmith.core.errors import DataError
from flawsmith.core.orientation import (
    CameraPose,
    Orientation,
    RestingPose,
    angle_apart,
    camera_turn_deg,
    fine_angle,
    kinds_of,
    on_stage,
    placed,
    project,
    read_planes,
    turned,
)
from flawsmith.core.spec import ModelSpec
from flawsmith.synth.pose import aimed, inverse

K = np.array([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])
LENS = np.array([-0.12, 0.05, 0.001, -0.002, 0.01])


def lying(number: int = 0, symmetry: int = 1, bins: int = 36, middle_mm: float = 6.0) -> RestingPose:
    flat = tuple(np.vstack([np.eye(4)[:3], [0, 0, 0, 1]]).ravel())
    return RestingPose(number=number, symmetry=symmetry, bins=bins, middle_mm=middle_mm, stage_from_part=flat)


def camera(
    tilt_deg: float = 0.0, azimuth_deg: float = 0.0, roll_deg: float = 0.0, lens: np.ndarray = LENS
) -> CameraPose:
    tilt, azimuth, roll = np.radians([tilt_deg, azimuth_deg, roll_deg])
    stand = aimed(tilt, azimuth, roll, 400.0, np.zeros(3))
    return CameraPose(K, lens, inverse(stand))


def bell(at: float, count: int, deviation: float = 1.0) -> np.ndarray:
    """A wrapped normal distribution over bins, by summing its copies."""
    steps = np.arange(count)[:, None] - at + count * np.arange(-4, 5)
    weights = np.exp(-0.5 * (steps / deviation) ** 2).sum(1)
    return weights / weights.sum()


@given(st.floats(0, 50), st.floats(0, 360), st.floats(0, 360), st.floats(-60, 60), st.floats(-60, 60), st.floats(0, 30))
def test_pixels_are_opencvs_and_the_way_back_is_exact(
    tilt: float, azimuth: float, roll: float, x: float, y: float, z: float
) -> None:
    seen = camera(tilt, azimuth, roll)
    turn, _ = cv2.Rodrigues(seen.camera_from_world[:3, :3])
    theirs, _ = cv2.projectPoints(np.array([[x, y, z]]), turn, seen.camera_from_world[:3, 3], K, LENS)
    ours = project(seen, np.array([[x, y, z]]))
    np.testing.assert_allclose(ours, theirs.reshape(1, 2), atol=1e-3)  # Rodrigues rounds near half a turn
    np.testing.assert_allclose(on_stage(seen, (ours[0, 0], ours[0, 1]), z), (x, y), atol=1e-4)


def test_the_height_of_the_plane_matters() -> None:
    """A negative control: what is found at another height is another place, by similar triangles."""
    seen = camera(lens=np.zeros(5))
    x, y = project(seen, np.array([[30.0, 0, 20]]))[0]
    assert on_stage(seen, (x, y), 0.0) == pytest.approx((30 * 400 / 380, 0))


def test_a_camera_that_does_not_look_at_the_stage_is_an_error() -> None:
    level = camera(tilt_deg=90.0, lens=np.zeros(5))
    with pytest.raises(DataError, match="does not look at the stage"):
        on_stage(level, (320.0, 240.0), 0.0)
    behind = CameraPose(K, np.zeros(5), np.diag([1.0, -1, -1, 1]) @ np.diag([1.0, -1, -1, 1]))
    with pytest.raises(DataError, match="does not look at the stage"):
        on_stage(behind, (320.0, 240.0), -5.0)


def test_what_is_behind_the_camera_has_no_picture() -> None:
    assert np.isnan(project(camera(), np.array([[0.0, 0, 500]]))).all()


def test_straight_above_an_angle_in_the_picture_is_the_pictures_own() -> None:
    """Counter-clockwise in the picture: its y axis points down."""
    for roll in (0.0, 30.0, 200.0):
        seen = camera(roll_deg=roll, lens=np.zeros(5))
        for yaw in (0.0, 40.0, 310.0):
            ends = np.array([[0, 0, 0], [np.cos(np.radians(yaw)), np.sin(np.radians(yaw)), 0]])
            from_, to = project(seen, ends)
            drawn = np.degrees(np.arctan2(-(to - from_)[1], (to - from_)[0]))
            assert angle_apart(drawn, yaw - camera_turn_deg(seen.camera_from_world), 360) < 1e-6


@given(
    st.floats(0, 35), st.floats(0, 360), st.floats(0, 360), st.floats(-40, 40), st.floats(-40, 40), st.floats(0, 360)
)
def test_the_pose_that_was_drawn_is_found_again(
    tilt: float, azimuth: float, roll: float, x: float, y: float, yaw: float
) -> None:
    seen, pose = camera(tilt, azimuth, roll), lying()
    centre = project(seen, np.array([[x, y, pose.middle_mm]]))[0]
    angle = (yaw - camera_turn_deg(seen.camera_from_world)) % 360
    found = placed(Orientation(0, angle, (centre[0], centre[1]), 1.0), [pose], seen)
    assert found.stage_xy_mm == pytest.approx((x, y), abs=1e-4)
    assert angle_apart(found.stage_angle_deg, yaw, 360) < 1e-6
    assert found.camera_from_part is not None
    np.testing.assert_allclose(
        found.camera_from_part, seen.camera_from_world @ turned(np.radians(yaw), x, y) @ pose.matrix, atol=1e-3
    )


def test_a_round_part_has_a_place_and_no_angle() -> None:
    found = placed(Orientation(0, None, (320.0, 240.0), 1.0), [lying(symmetry=0, bins=1)], camera())
    assert found.stage_angle_deg is None
    assert found.stage_xy_mm == pytest.approx((0, 0), abs=1e-6)


@given(st.floats(0, 359.9), st.sampled_from([1, 2, 6, 12]), st.sampled_from([8, 12, 36, 72]))
def test_the_mean_of_bins_is_finer_than_a_bin(angle: float, symmetry: int, bins: int) -> None:
    period = 360 / symmetry
    found, probability = fine_angle(bell(angle % period / period * bins, bins), period)
    # the five bins round the best one are cut off unevenly, which costs up to a tenth of a bin
    assert angle_apart(found, angle, period) < 0.12 * period / bins
    assert 0.9 < probability <= 1
    assert found is not None
    assert 0 <= found < period


def test_far_bins_do_not_pull_the_angle() -> None:
    shares = 0.7 * bell(10, 72) + 0.3 * bell(46, 72)  # the part the wrong way round is the usual doubt
    found, probability = fine_angle(shares, 360.0)
    assert found == pytest.approx(50, abs=0.01)
    assert probability == pytest.approx(0.7, abs=0.02)


def test_angles_differ_modulo_the_period() -> None:
    for a, b, period, wanted in [(359, 1, 360, 2), (1, 59, 60, 2), (10, 190, 360, 180), (30, 0, 60, 30), (5, 90, 0, 0)]:
        assert angle_apart(a, b, period) == pytest.approx(wanted)
        brute = min(abs(a - b + k * period) for k in range(-9, 10))
        assert not period or angle_apart(a, b, period) == pytest.approx(brute)


def test_planes_say_pose_angle_and_centre() -> None:
    poses = (lying(0), lying(2, symmetry=6, bins=12), lying(5, symmetry=0, bins=1))
    kinds = kinds_of(poses)
    assert len(kinds) == 36 + 12 + 1 + 2 == len(set(kinds))
    assert kinds[1], kinds[-3:] == ("pose 0 at 10", ("pose 5", "x", "y"))
    planes = np.concatenate([0.2 * bell(3, 36), 0.7 * bell(4.5, 12), [0.1], [0.25, 0.5, 0.03]]).astype(np.float32)
    seen = read_planes(planes, poses, (200, 100), (10, 20))
    assert (seen.pose, seen.centre_px) == (2, (60.0, 70.0))
    assert seen.angle_deg == pytest.approx(22.5, abs=0.5)
    assert seen.unknown == pytest.approx(0.03)
    planes[:49] = 0
    planes[48] = 1
    assert read_planes(planes, poses, (200, 100)).angle_deg is None


def test_specs_of_other_models_are_written_as_before() -> None:
    """A calibration holds for the text of the spec: a field for orientation must not change those of others."""
    assert "poses" not in ModelSpec(kinds=("scratch",)).model_dump(mode="json")
    assert "poses" not in ModelSpec(kinds=("scratch",)).model_dump_json()
    poses = (lying(),)
    spec = ModelSpec(task="orient", kinds=(*kinds_of(poses), "unknown"), side=64, poses=poses)
    assert ModelSpec.model_validate(spec.model_dump(mode="json")) == spec
    with pytest.raises(ValidationError, match="has poses"):
        ModelSpec(task="orient", kinds=("x",), side=64)
    with pytest.raises(ValidationError, match="has poses"):
        ModelSpec(kinds=("x",), poses=poses)
