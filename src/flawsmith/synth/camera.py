"""Cameras: from what stands on a data sheet (sensor, lens, distance) to K, pose, distortion, aperture and exposure."""

import math
import zlib
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator
from scipy.spatial.transform import Rotation

from flawsmith.core.config import Settings
from flawsmith.synth.distribution import Draw, NotNegative, Number, Positive, Share, within
from flawsmith.synth.pose import Aim, draw_aim, inverse
from flawsmith.synth.scene import Camera, Instance, Sensor

MAX_PIXELS = 50_000_000
SQUARENESS = 0.02


class Exposure(Settings):
    """`grey_level`: share of full scale at which an 18 % grey card in the stage's centre lands; or a `fixed` gain.

    fixed: full scales per unit of radiance (W/(m² sr)); the image then gets brighter with the lights.
    """

    grey_level: Annotated[Number, within(above=0, high=1)] = 0.18
    fixed: Positive | None = None


class Arch(Settings):
    """Several cameras on one arch: `count` of them at even steps between two tilts."""

    count: int = Field(default=9, ge=1, le=64)
    tilt_deg: tuple[float, float] = (-60.0, 60.0)


class CameraSpec(Aim):
    """One camera, or an arch of them. The lens is focused on the target point.

    The field of view follows the thin lens: image distance f·d / (d - f): a close camera sees less than f says.
    """

    sensor_mm: tuple[float, float] = Field(
        default=(7.07, 7.07), description="width and height of the sensor's used area"
    )
    resolution_px: tuple[int, int] = (512, 512)
    focal_mm: Positive = 25.0
    working_distance_mm: Positive | None = Field(default=None, description="lens to target; give this or field_mm")
    field_mm: Positive | None = Field(default=None, description="width of the sharp plane that is seen; default 80")
    f_number: Positive = 8.0
    focus_error_mm: Number = Field(default=0.0, description="the sharp plane lies this much behind the target")
    shift_mm: Number = Field(default=0.0, description="pose jitter: drawn for each of x, y, z")
    turn_deg: Number = Field(default=0.0, description="pose jitter: drawn about each of the camera's axes")
    distortion: tuple[Number, Number, Number, Number, Number] = Field(
        default=(0.0, 0.0, 0.0, 0.0, 0.0), description="k1, k2, p1, p2, k3 of OpenCV"
    )
    exposure: Exposure = Exposure()
    white_balance: Share = Field(
        default=1.0, description="how far the light's own colour is balanced away, 1 is neutral"
    )
    arch: Arch | None = None

    @model_validator(mode="after")
    def _possible(self) -> "CameraSpec":
        width, height = self.resolution_px
        if min(width, height) < 1 or width * height > MAX_PIXELS:
            raise ValueError(f"resolution_px [{width}, {height}]: wanted at least 1 × 1 and at most 50 megapixels")
        if min(self.sensor_mm) <= 0:
            raise ValueError(f"sensor_mm {list(self.sensor_mm)}: wanted a width and a height above 0")
        across, down = self.sensor_mm[0] / width, self.sensor_mm[1] / height
        if abs(across / down - 1) > SQUARENESS:
            fit = self.sensor_mm[0] * height / width
            raise ValueError(
                f"pixels of {across * 1000:.2f} × {down * 1000:.2f} µm are not square; sensor_mm: "
                f"[{self.sensor_mm[0]:g}, {fit:.4g}] would fit {width} × {height} pixels"
            )
        if self.working_distance_mm is not None and self.field_mm is not None:
            raise ValueError("working_distance_mm and field_mm each settle the other; give one of them")
        return self


class SensorSpec(Settings):
    """What the light meets (EMVA 1288). `motion_px`: how far the image moves during the exposure."""

    mono: bool = True
    bit_depth: int = Field(default=8, ge=8, le=16)
    gamma: Positive = 1.0
    full_well_e: Positive = 10_000.0
    read_noise_e: NotNegative = 8.0
    prnu: Share = 0.005
    dsnu_e: NotNegative = 2.0
    black_level: Share = 0.01
    motion_px: tuple[Number, Number] = (0.0, 0.0)


def camera_names(cameras: dict[str, CameraSpec]) -> list[str]:
    """One name per real camera: an arch's are numbered from 0.

    >>> camera_names({"top": CameraSpec(), "arch": CameraSpec(arch=Arch(count=2))})
    ['top', 'arch-0', 'arch-1']
    """
    return [name for key, spec in cameras.items() for name in _names_of(key, spec)]


def _names_of(key: str, spec: CameraSpec) -> list[str]:
    return [key] if spec.arch is None else [f"{key}-{n}" for n in range(spec.arch.count)]


def camera_spec(cameras: dict[str, CameraSpec], name: str) -> tuple[CameraSpec, float]:
    """The spec that a real camera comes from, and what its place on an arch adds to its tilt, in degrees."""
    for key, spec in cameras.items():
        if name in (names := _names_of(key, spec)):
            steps = np.linspace(*spec.arch.tilt_deg, len(names)) if spec.arch else [0.0]
            return spec, float(steps[names.index(name)])
    raise KeyError(name)


def draw_camera(cameras: dict[str, CameraSpec], name: str, draw: Draw) -> Camera:
    """The camera with its pose drawn, `exposure` 1 (see `exposure_for`)."""
    spec, extra_tilt = camera_spec(cameras, name)
    key = f"cameras.{name}"
    focal = draw.number(spec.focal_mm, f"{key}.focal_mm")
    distance = _distance(spec, focal, draw, key)
    pose = _jittered(draw_aim(spec, distance, draw, key, extra_tilt), spec, draw, key)
    width, height = spec.resolution_px
    image_distance = focal * distance / (distance - focal)
    k = np.array(
        [
            [image_distance * width / spec.sensor_mm[0], 0, width / 2],
            [0, image_distance * height / spec.sensor_mm[1], height / 2],
            [0, 0, 1],
        ]
    )
    terms = [draw.number(v, f"{key}.distortion.{t}") for t, v in zip(TERMS, spec.distortion, strict=True)]
    focus = distance + draw.number(spec.focus_error_mm, f"{key}.focus_error_mm")
    return Camera(
        name=name,
        width=width,
        height=height,
        k=k,
        camera_from_world=inverse(pose),
        exposure=1.0,
        distortion=(terms[0], terms[1], terms[2], terms[3], terms[4]),
        lens_radius_mm=focal / (2 * draw.number(spec.f_number, f"{key}.f_number")),
        focus_mm=max(focus, 2 * focal),
    )


TERMS = ("k1", "k2", "p1", "p2", "k3")


def _distance(spec: CameraSpec, focal_mm: float, draw: Draw, key: str) -> float:
    """The working distance: as given, or the one at which the sensor sees `field_mm`."""
    if spec.working_distance_mm is not None:
        return max(draw.number(spec.working_distance_mm, f"{key}.working_distance_mm"), 1.5 * focal_mm)
    field = draw.number(spec.field_mm or 80.0, f"{key}.field_mm")
    return focal_mm * (1 + field / spec.sensor_mm[0])


def _jittered(pose: np.ndarray, spec: CameraSpec, draw: Draw, key: str) -> np.ndarray:
    shift = [draw.number(spec.shift_mm, f"{key}.shift_mm.{a}") for a in "xyz"]
    turn = [draw.number(spec.turn_deg, f"{key}.turn_deg.{a}") for a in "xyz"]
    wobble = np.eye(4)
    wobble[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    pose = pose @ wobble
    pose[:3, 3] += shift
    return pose


def exposure_for(spec: Exposure, irradiance: float, draw: Draw, key: str) -> float:
    """Gain for an even `irradiance` (W/m²) on the stage: a card of 18 % then has radiance 0.18 E / π."""
    if spec.fixed is not None:
        return draw.number(spec.fixed, f"{key}.exposure.fixed")
    return draw.number(spec.grey_level, f"{key}.exposure.grey_level") * math.pi / (0.18 * irradiance)


def draw_sensor(spec: SensorSpec, camera: str, draw: Draw) -> Sensor:
    """A camera keeps its fixed pattern over a data set, so its seed comes from the seed and the name alone."""

    def number(value: Number, name: str) -> float:
        return draw.number(value, f"sensor.{camera}.{name}")

    return Sensor(
        mono=spec.mono,
        bit_depth=spec.bit_depth,
        gamma=number(spec.gamma, "gamma"),
        full_well_e=number(spec.full_well_e, "full_well_e"),
        read_noise_e=number(spec.read_noise_e, "read_noise_e"),
        prnu=number(spec.prnu, "prnu"),
        dsnu_e=number(spec.dsnu_e, "dsnu_e"),
        black_level=number(spec.black_level, "black_level"),
        motion_px=(number(spec.motion_px[0], "motion_px.x"), number(spec.motion_px[1], "motion_px.y")),
        pattern_seed=zlib.crc32(f"{draw.seed}/{camera}".encode()),
    )


def bop_camera(camera: Camera) -> dict[str, Any]:
    """One entry of BOP's `scene_camera.json` in mm. BOP counts pixels from their centres: cx and cy lose a half.

    Source: Hodaň et al., BOP: Benchmark for 6D Object Pose Estimation, ECCV 2018; docs/bop_datasets_format.md.
    """
    k = camera.k - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return {
        "cam_K": k.ravel().tolist(),
        "cam_R_w2c": camera.camera_from_world[:3, :3].ravel().tolist(),
        "cam_t_w2c": camera.camera_from_world[:3, 3].tolist(),
        "depth_scale": 1.0,
    }


def bop_pose(camera: Camera, instance: Instance, object_id: int) -> dict[str, Any]:
    """One entry of BOP's `scene_gt.json`: the part's 6-DoF pose in the camera, mm."""
    pose = camera.camera_from_world @ instance.world_from_part
    return {"obj_id": object_id, "cam_R_m2c": pose[:3, :3].ravel().tolist(), "cam_t_m2c": pose[:3, 3].tolist()}


def project(camera: Camera, points: np.ndarray) -> np.ndarray:
    """(N, 3) world mm to (N, 2) pixels of the undistorted image; nan behind the camera."""
    local = points @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = (local @ camera.k.T)[:, :2] / local[:, 2:]
    return np.where(local[:, 2:] > 0, pixels, np.nan)
