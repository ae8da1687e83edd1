"""Cameras: what a data sheet says is what K, pose and exposure do."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flawsmith.part import Component, Part
from flawsmith.synth.camera import (
    Arch,
    CameraSpec,
    Exposure,
    SensorSpec,
    bop_camera,
    bop_pose,
    camera_names,
    draw_camera,
    draw_sensor,
    exposure_for,
    project,
)
from flawsmith.synth.distribution import Draw, Uniform
from flawsmith.synth.pose import inverse
from flawsmith.synth.scene import Camera, Instance

angles = st.floats(-85, 85)


def drawn(spec: CameraSpec, name: str = "top", index: int = 0) -> Camera:
    return draw_camera({name.split("-")[0]: spec}, name, Draw(1, index))


@given(angles, st.floats(0, 360), st.floats(-180, 180), st.tuples(*[st.floats(-50, 50)] * 3))
def test_the_target_lands_in_the_middle_at_the_working_distance(
    tilt: float, azimuth: float, roll: float, target: tuple[float, float, float]
) -> None:
    camera = drawn(
        CameraSpec(tilt_deg=tilt, azimuth_deg=azimuth, roll_deg=roll, look_at_mm=target, working_distance_mm=300)
    )
    pixel = project(camera, np.array([target]))[0]
    assert np.allclose(pixel, [256, 256], atol=1e-6)
    local = camera.camera_from_world @ [*target, 1]
    assert local[2] == pytest.approx(300)
    turn = camera.camera_from_world[:3, :3]
    assert np.allclose(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1)


def test_field_of_view_follows_the_thin_lens() -> None:
    """Oracle: magnification f / (d - f), so the sensor's width covers width (d - f) / f of the sharp plane."""
    camera = drawn(CameraSpec(sensor_mm=(8, 6), resolution_px=(800, 600), focal_mm=25, working_distance_mm=200))
    seen_mm = 8 * (200 - 25) / 25
    edges = project(camera, np.array([[-seen_mm / 2, 0, 0], [seen_mm / 2, 0, 0]]))
    assert np.allclose(edges, [[0, 300], [800, 300]])


@given(st.floats(5, 500), st.floats(4, 75))
def test_the_field_that_is_asked_for_is_seen(field: float, focal: float) -> None:
    camera = drawn(CameraSpec(field_mm=field, focal_mm=focal, sensor_mm=(7, 7)))
    edges = project(camera, np.array([[-field / 2, 0, 0], [field / 2, 0, 0]]))
    assert np.allclose(edges[:, 0], [0, 512], atol=1e-6)


def test_projection_is_that_of_opencv() -> None:
    camera = drawn(CameraSpec(tilt_deg=30, azimuth_deg=200, roll_deg=12, field_mm=60))
    points = np.random.default_rng(0).uniform(-20, 20, (20, 3))
    turn, _ = cv2.Rodrigues(camera.camera_from_world[:3, :3])
    oracle, _ = cv2.projectPoints(points, turn, camera.camera_from_world[:3, 3], camera.k, None)
    assert np.allclose(project(camera, points), oracle[:, 0])


def test_straight_above_x_is_right_and_y_is_up() -> None:
    right, up = project(drawn(CameraSpec()), np.array([[10.0, 0, 0], [0, 10, 0]]))
    assert right[0] > 256
    assert right[1] == pytest.approx(256)
    assert up[1] < 256


def test_what_is_behind_the_camera_is_nowhere() -> None:
    assert np.isnan(project(drawn(CameraSpec(working_distance_mm=100)), np.array([[0.0, 0, 200]]))).all()


def test_nine_cameras_stand_on_an_arch() -> None:
    spec = CameraSpec(arch=Arch(count=9, tilt_deg=(-60, 60)), working_distance_mm=300)
    names = camera_names({"arch": spec})
    centres = np.array([inverse(drawn(spec, n).camera_from_world)[:3, 3] for n in names])
    assert np.allclose(np.linalg.norm(centres, axis=1), 300)
    tilt = np.degrees(np.arctan2(centres[:, 0], centres[:, 2]))
    assert np.allclose(tilt, np.linspace(-60, 60, 9))
    assert np.allclose(centres[:, 1], 0)


def test_aperture_and_focus() -> None:
    camera = drawn(CameraSpec(focal_mm=50, f_number=4, working_distance_mm=500, focus_error_mm=3))
    assert camera.lens_radius_mm == pytest.approx(50 / 4 / 2)
    assert camera.focus_mm == pytest.approx(503)


def test_jitter_moves_the_pose_and_nothing_else() -> None:
    still, shaken = CameraSpec(), CameraSpec(shift_mm=Uniform(uniform=(-2, 2)), turn_deg=Uniform(uniform=(-1, 1)))
    a, b, c = drawn(still), drawn(shaken), drawn(shaken, index=1)
    assert np.array_equal(a.k, b.k)
    assert not np.allclose(b.camera_from_world, c.camera_from_world)
    away = inverse(b.camera_from_world)[:3, 3] - inverse(a.camera_from_world)[:3, 3]
    assert (np.abs(away) <= 2).all()


def test_a_grey_card_lands_on_its_level() -> None:
    irradiance = 37.0
    gain = exposure_for(Exposure(grey_level=0.2), irradiance, Draw(1, 0), "c")
    assert 0.18 * irradiance / math.pi * gain == pytest.approx(0.2)
    assert exposure_for(Exposure(fixed=0.03), irradiance, Draw(1, 0), "c") == 0.03


def test_bop_counts_from_pixel_centres_and_keeps_the_pose() -> None:
    camera = drawn(CameraSpec(tilt_deg=20, resolution_px=(640, 640)))
    entry = bop_camera(camera)
    assert entry["cam_K"][2] == 319.5
    assert entry["cam_K"][0] == camera.k[0, 0]
    cube = Part("a", (Component("a", (), np.eye(3), np.array([[0, 1, 2]])),))
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    found = bop_pose(camera, Instance(cube, pose, {}), 7)
    turn, shift = np.reshape(found["cam_R_m2c"], (3, 3)), found["cam_t_m2c"]
    point = np.array([4.0, 5, 6])
    assert np.allclose(turn @ point + shift, (camera.camera_from_world @ [5, 7, 9, 1])[:3])
    assert found["obj_id"] == 7


def test_a_camera_keeps_its_fixed_pattern() -> None:
    first, later = (draw_sensor(SensorSpec(), "top", Draw(1, n)).pattern_seed for n in (0, 5))
    assert first == later
    assert draw_sensor(SensorSpec(), "side", Draw(1, 0)).pattern_seed != first


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sensor_mm": (8, 4)}, "are not square"),
        ({"sensor_mm": (0, 0)}, "above 0"),
        ({"resolution_px": (0, 5)}, "at least 1"),
        ({"resolution_px": (10_000, 10_000)}, "50 megapixels"),
        ({"field_mm": 5, "working_distance_mm": 100}, "give one of them"),
        ({"f_number": 0}, "above 0"),
    ],
)
def test_an_impossible_camera_is_refused(values: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CameraSpec(**values)
