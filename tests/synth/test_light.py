"""Lights: power, direction and colour against numerical integrals; IES files and HDRIs as they come."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from flawsmith.core.errors import DataError
from flawsmith.synth.distribution import Draw
from flawsmith.synth.environment import EnvironmentSpec, draw_environment, normalised, read_environment
from flawsmith.synth.ies import read_ies
from flawsmith.synth.irradiance import card_irradiance, environment_irradiance, falloff, mesh_irradiance
from flawsmith.synth.light import LightSpec, draw_light, kelvin_color
from flawsmith.synth.pose import aimed
from flawsmith.synth.scene import MeshLight, SpotLight

LIGHT: TypeAdapter[LightSpec] = TypeAdapter(LightSpec)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
MESHES = [
    {"kind": "area"},
    {"kind": "bar"},
    {"kind": "bar", "leds": 12},
    {"kind": "ring"},
    {"kind": "ring", "leds": 24},
    {"kind": "dark_field"},
    {"kind": "dome"},
    {"kind": "coaxial", "camera": "top"},
    {"kind": "bright_field", "camera": "top"},
]
IES = """IESNA:LM-63-2002
[TEST] made up
TILT=NONE
1 1000 2.0 4 1 1 2 0.1 0.1 0
1.0 1.0 40
0 30 60 90
0
100 80 20 0
"""


def made(values: dict, tilt: float = 0.0) -> MeshLight | SpotLight:
    cameras = {"top": aimed(math.radians(tilt), 0.3, 0, 300, np.zeros(3))}
    return draw_light(LIGHT.validate_python(values), "l", Draw(1, 0), cameras, {})


def mesh_light(values: dict, tilt: float = 0.0) -> MeshLight:
    light = made(values, tilt)
    assert isinstance(light, MeshLight)
    return light


def triangles(light: MeshLight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    corners = light.vertices.astype(float)[light.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1) / 2
    return corners, normal / (2 * area[:, None]), area


@pytest.mark.parametrize("values", MESHES, ids=lambda v: f"{v['kind']}-{v.get('leds', 0)}")
@pytest.mark.parametrize("tilt", [0, 40])
def test_a_lamp_emits_its_power_towards_the_stage(values: dict, tilt: float) -> None:
    light = mesh_light({**values, "power_w": 7}, tilt)
    corners, normals, area = triangles(light)
    flux = math.pi * (np.array(light.radiance) @ LUMINANCE) * area.sum() * 1e-6
    assert flux == pytest.approx(7, rel=1e-3)
    to_target = -corners.mean(axis=1)
    assert (np.einsum("ij,ij->i", normals, to_target) > 0).all()  # every lit side sees the target
    assert card_irradiance((light,), None, np.zeros(3)).min() > 0


@given(st.floats(-60, 60), st.floats(0, 360), st.floats(60, 500), st.floats(5, 200), st.floats(5, 200))
def test_irradiance_of_a_panel_is_its_integral(
    tilt: float, azimuth: float, distance: float, width: float, height: float
) -> None:
    """Oracle: the sum of L cosθ cosθ' dA / r² over 200 × 200 patches of the panel."""
    light = mesh_light(
        {"kind": "area", "size_mm": [width, height], "tilt_deg": tilt, "azimuth_deg": azimuth, "distance_mm": distance}
    )
    a, b, _, d = light.vertices.astype(float)
    ticks = (np.arange(200) + 0.5) / 200
    points = a + ticks[:, None, None] * (b - a) + ticks[None, :, None] * (d - a)
    normal = np.cross(b - a, d - a)
    patch = np.linalg.norm(normal) / 200**2
    normal /= np.linalg.norm(normal)
    r = np.linalg.norm(points, axis=2)
    integrand = np.clip(points[..., 2] / r, 0, None) * np.clip(-(points @ normal) / r, 0, None) / r**2
    oracle = np.array(light.radiance) * integrand.sum() * patch
    assert np.allclose(mesh_irradiance(light, np.zeros(3)), oracle, rtol=2e-3)


def test_what_is_below_the_horizon_gives_no_light() -> None:
    """A wall that goes as far down as up lights a card as its upper half alone does."""
    whole = np.array([[50.0, -20, -30], [50, -20, 30], [50, 20, 30], [50, 20, -30]])
    upper = whole.clip(min=[-np.inf, -np.inf, 0])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    lit = [mesh_irradiance(MeshLight("w", v, faces, (1, 1, 1)), np.zeros(3)) for v in (whole, upper)]
    assert np.allclose(*lit)
    assert lit[0][0] > 0
    behind = MeshLight("w", whole, faces[:, ::-1], (1, 1, 1))
    assert mesh_irradiance(behind, np.zeros(3)).max() == 0


@given(st.floats(0, 80), st.floats(1, 89))
def test_a_spot_emits_its_power(beam: float, cutoff: float) -> None:
    spot = made({"kind": "spot", "power_w": 5, "beam_deg": min(beam, cutoff), "cutoff_deg": cutoff})
    assert isinstance(spot, SpotLight)
    angle = np.linspace(0, math.pi / 2, 20_001)
    solid = 2 * math.pi * np.trapezoid(falloff(spot, angle) * np.sin(angle), angle)
    assert np.array(spot.intensity) @ LUMINANCE * 1e-6 * solid == pytest.approx(5, rel=2e-2)


def test_a_spot_obeys_the_inverse_square() -> None:
    near, far = (made({"kind": "spot", "distance_mm": d}) for d in (100, 200))
    lit = [card_irradiance((light,), None, np.zeros(3)) for light in (near, far)]
    assert np.allclose(lit[0], 4 * lit[1])


def test_coaxial_stands_behind_its_camera_and_bright_field_in_its_mirror() -> None:
    camera = aimed(math.radians(40), 0.3, 0, 300, np.zeros(3))
    axis = camera[:3, 3] / 300
    coaxial = mesh_light({"kind": "coaxial", "camera": "top"}, 40).vertices.mean(axis=0)
    assert np.allclose(coaxial, axis * 305, atol=1e-3)
    mirrored = mesh_light({"kind": "bright_field", "camera": "top", "distance_mm": 250}, 40).vertices.mean(axis=0)
    assert np.allclose(mirrored, axis * [-250, -250, 250], atol=1e-3)


def test_dark_field_grazes_and_bright_field_does_not() -> None:
    def least_angle(values: dict) -> float:
        rays = mesh_light(values).vertices.astype(float)
        return float(np.degrees(np.arcsin(rays[:, 2] / np.linalg.norm(rays, axis=1))).max())

    assert least_angle({"kind": "dark_field"}) < 25
    assert least_angle({"kind": "area"}) > 50


@pytest.mark.parametrize(("kelvin", "xy"), [(2856, (0.4476, 0.4074)), (6504, (0.3135, 0.3237))])
def test_colour_of_a_black_body(kelvin: float, xy: tuple[float, float]) -> None:
    """Oracle: CIE illuminant A, and the Planckian locus beside D65."""
    rgb = np.array(kelvin_color(kelvin))
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    big_x, big_y, big_z = matrix @ rgb
    assert (big_x / (big_x + big_y + big_z), big_y / (big_x + big_y + big_z)) == pytest.approx(xy, abs=3e-3)
    assert rgb @ LUMINANCE == pytest.approx(1, abs=1e-6)


@given(st.floats(1000, 40_000))
def test_every_colour_is_light(kelvin: float) -> None:
    assert min(kelvin_color(kelvin)) >= 0


def test_an_even_sky_is_pi_times_its_radiance() -> None:
    even = np.full((64, 128, 3), 2.0, np.float32)
    assert environment_irradiance(even) == pytest.approx([2 * math.pi] * 3, rel=1e-3)
    assert environment_irradiance(even[:1, :1]) == pytest.approx([2 * math.pi] * 3)
    even[32:] = 0  # the lower half counts for nothing
    assert environment_irradiance(even) == pytest.approx([2 * math.pi] * 3, rel=1e-3)


@given(st.floats(0.1, 50), st.floats(0, 1))
def test_a_map_is_brought_to_the_irradiance(level: float, balance: float) -> None:
    sky = np.random.default_rng(1).uniform(0, 5, (16, 32, 3)) * [1.0, 0.7, 0.3]
    card = environment_irradiance(normalised(sky, level, balance))
    assert card @ LUMINANCE == pytest.approx(level, rel=1e-3)
    before = environment_irradiance(sky)
    assert np.ptp(card / card.mean()) <= np.ptp(before / before.mean()) + 1e-6
    if balance == 1:
        assert np.ptp(card / level) < 1e-3


def test_real_maps_are_read(real_data) -> None:
    folder = real_data("hdri")
    for path in sorted(folder.glob("*.hdr")):
        spec = EnvironmentSpec(files=(path,), irradiance_w_m2=4.0)
        sky = draw_environment(spec, Draw(1, 0), {path: read_environment(path)})
        assert sky is not None
        assert sky.radiance.shape == (256, 512, 3)
        assert environment_irradiance(sky.radiance) @ LUMINANCE == pytest.approx(4, rel=1e-3)


def test_a_map_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.hdr").write_bytes(b"#?RADIANCE\nbroken")
    with pytest.raises(DataError, match=r"damaged or no \.hdr"):
        read_environment(tmp_path / "a.hdr")
    with pytest.raises(DataError, match="wanted a Radiance map"):
        read_environment(tmp_path / "a.exr")
    cv2.imwrite(str(tmp_path / "b.hdr"), np.ones((8, 8, 3), np.float32))
    with pytest.raises(DataError, match="twice as wide as high"):
        read_environment(tmp_path / "b.hdr")


def test_no_irradiance_is_no_environment() -> None:
    assert draw_environment(EnvironmentSpec(irradiance_w_m2=0), Draw(1, 0), {}) is None


def test_an_ies_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lamp.ies"
    path.write_text(IES)
    lamp = read_ies(path)
    assert lamp.candela.tolist() == [[200, 160, 40, 0]]
    profile, cutoff = lamp.profile()
    assert cutoff == pytest.approx(math.radians(89))
    assert np.interp(math.radians(45), np.linspace(0, cutoff, len(profile)), profile) == pytest.approx(0.5, abs=1e-3)
    spec = LIGHT.validate_python({"kind": "ies", "file": str(path), "power_w": 3})
    spot = draw_light(spec, "l", Draw(1, 0), {}, {"l": lamp})
    assert isinstance(spot, SpotLight)
    assert spot.profile is not None


def test_candela_round_the_axis_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "lamp.ies"
    path.write_text(
        "TILT=NONE\n1 -1 1 2 3 1 2 0 0 0\n1 1 1\n0 90\n0 45 90\n100 10\n100 20\n100 60\n".replace(
            "90\n0 45", "80\n0 45"
        )
    )
    profile, cutoff = read_ies(path).profile()
    assert profile[-1] == pytest.approx((10 + 2 * 20 + 60) / 4 / 100)
    assert cutoff == pytest.approx(math.radians(80))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("TILT=NONE", "tilted", "no TILT= line"),
        ("TILT=NONE", "TILT=INCLUDE", "lamp.ies:3: TILT=INCLUDE is not read"),
        ("0 30 60 90", "0 30 x 90", "lamp.ies:6: 'x' among the vertical angles"),
        ("0 30 60 90", "0 30 30 90", "must rise"),
        ("0 30 60 90", "90 110 130 180", "start at 90, wanted 0"),
        ("100 80 20 0", "100 80", "lamp.ies:8: the file ends after 2 of 4 candela values"),
        ("100 80 20 0", "0 0 0 0", "one above 0"),
        ("4 1 1 2", "4 1 2 2", "photometric type 2"),
        ("4 1 1 2", "1 1 1 2", "2 or more vertical"),
    ],
)
def test_a_bad_ies_file_is_named_by_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "lamp.ies"
    path.write_text(IES.replace(old, new))
    with pytest.raises(DataError, match=said):
        read_ies(path)
