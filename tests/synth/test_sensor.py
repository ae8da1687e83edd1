"""The sensor model against EMVA 1288's own measurements, the lens model against OpenCV's projection."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flawsmith.core.errors import DataError
from flawsmith.synth.lens import distort, ideal, sample_map
from flawsmith.synth.scene import Camera, Rendering, Sensor
from flawsmith.synth.sensor import blur, counted, expose, gain_dn_per_e

QUIET = Sensor(bit_depth=12, prnu=0, dsnu_e=0, black_level=0.02, full_well_e=8000, read_noise_e=12)


def camera(width: int = 160, height: int = 120, distortion: tuple = (0, 0, 0, 0, 0), exposure: float = 1.0) -> Camera:
    k = np.array([[150.0, 0, 78.5], [0, 150.0, 61.25], [0, 0, 1]])
    return Camera("top", width, height, k, np.eye(4), exposure, distortion)


def grey(level: float, size: int = 256, channels: int = 3) -> np.ndarray:
    return np.full((size, size, channels), level, np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_photon_transfer_gives_back_the_gain_and_the_read_noise():
    """EMVA 1288: temporal variance = K²·read² + quantisation + K·(mean - dark mean)."""
    means, variances = [], []
    for level in (0.0, 0.1, 0.2, 0.35, 0.5, 0.7):
        first, second = (expose(grey(level), camera(), QUIET, rng(s)).astype(float) for s in (1, 2))
        means.append((first.mean() + second.mean()) / 2)
        variances.append(((first - second) ** 2).mean() / 2 - (first.mean() - second.mean()) ** 2 / 2)
    slope, dark = np.polyfit(np.array(means) - means[0], variances, 1)
    gain = gain_dn_per_e(QUIET)
    assert slope == pytest.approx(gain, rel=0.02)
    assert dark == pytest.approx((gain * 12) ** 2 + 1 / 12, rel=0.06)


def test_the_response_is_linear_from_black_level_to_full_scale():
    levels = np.linspace(0, 0.9, 7)
    read = [expose(grey(level), camera(), QUIET, rng()).mean() for level in levels]
    assert np.allclose(read, 4095 * (0.02 + 0.98 * levels), rtol=0.002, atol=1)


def test_exposure_scales_light_and_saturates_at_full_scale():
    assert expose(grey(0.1), camera(exposure=5), QUIET, rng()).mean() == pytest.approx(4095 * 0.51, rel=0.005)
    assert (expose(grey(3.0), camera(), replace(QUIET, read_noise_e=0), rng()) == 4095).all()


def test_fixed_pattern_has_the_spatial_deviations_asked_for_and_stays_with_the_camera():
    sensor = replace(QUIET, bit_depth=16, prnu=0.02, dsnu_e=30, black_level=0.05)

    def mean_image(level: float, sensor: Sensor) -> np.ndarray:
        return np.mean([expose(grey(level, 96), camera(), sensor, rng(s)) for s in range(40)], axis=0)

    dark, half = (mean_image(level, sensor) / gain_dn_per_e(sensor) for level in (0.0, 0.5))
    assert dark.std() == pytest.approx(np.hypot(30, 12 / 40**0.5), rel=0.03)
    assert (half - dark).std() / (half - dark).mean() == pytest.approx(np.hypot(0.02, 1 / (4000 * 40) ** 0.5), rel=0.05)
    again = mean_image(0.0, sensor) / gain_dn_per_e(sensor)
    other = mean_image(0.0, replace(sensor, pattern_seed=7)) / gain_dn_per_e(sensor)
    assert np.corrcoef(dark.ravel(), again.ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(dark.ravel(), other.ravel())[0, 1]) < 0.05


def test_gamma_lifts_the_middle_and_leaves_the_ends():
    ends = replace(QUIET, gamma=2.2, black_level=0.0, read_noise_e=0, bit_depth=8)
    assert expose(grey(0.0), camera(), ends, rng()).max() == 0
    assert expose(grey(0.2), camera(), ends, rng()).mean() == pytest.approx(255 * 0.2 ** (1 / 2.2), abs=1)


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (12, np.uint16), (16, np.uint16)])
@pytest.mark.parametrize("mono", [True, False])
def test_depth_and_channels(bits: int, dtype: type, mono: bool):
    image = expose(grey(2.0, 8), camera(), replace(QUIET, bit_depth=bits, mono=mono), rng())
    assert image.dtype == dtype
    assert image.max() <= 2**bits - 1
    assert image.shape == ((8, 8) if mono else (8, 8, 3))


def test_a_colour_keeps_its_order_and_its_luminance():
    red = np.zeros((64, 64, 3), np.float32)
    red[..., 0] = 0.5
    colour = expose(red, camera(), replace(QUIET, mono=False, read_noise_e=0), rng())
    assert colour[..., 0].mean() > 10 * colour[..., 2].mean()
    mono = expose(red, camera(), QUIET, rng()).mean()
    assert mono == pytest.approx(4095 * (0.02 + 0.98 * 0.5 * 0.2126), rel=0.01)


def test_the_same_generator_gives_the_same_bytes_and_another_does_not():
    image = grey(0.3, 32)
    first, same, other = (expose(image, camera(), Sensor(), rng(s)) for s in (4, 4, 5))
    assert (first == same).all()
    assert (first != other).any()


def test_two_images_of_one_seed_have_the_same_noise_pixel_by_pixel():
    """A flaw in one corner, however bright, changes no pixel elsewhere: twins differ by their flaw alone."""
    plain, flawed = grey(0.3, 64), grey(0.3, 64)
    flawed[10:20, 10:20] = 0.9
    changed = expose(plain, camera(), QUIET, rng(3)) != expose(flawed, camera(), QUIET, rng(3))
    assert changed[10:20, 10:20].all()
    changed[10:20, 10:20] = False
    assert not changed.any()


@pytest.mark.parametrize("mean_e", [3, 10, 100, 5000])
def test_counts_have_the_moments_of_poisson(mean_e: float):
    """Oracle: SciPy's Poisson distribution; standard errors of a million draws are far below the tolerances."""
    counts = counted(np.full(1_000_000, mean_e, np.float32), rng().standard_normal(1_000_000, np.float32)).astype(float)
    mean, variance, skewness = (float(v) for v in stats.poisson.stats(mean_e, moments="mvs"))
    assert counts.mean() == pytest.approx(mean, abs=0.01 + 4 * (mean_e / 1e6) ** 0.5)
    assert counts.var() == pytest.approx(variance, rel=0.012)
    assert stats.skew(counts) == pytest.approx(skewness, abs=0.05)
    assert counts.min() >= 0


def test_no_light_gives_no_electrons():
    assert not counted(np.zeros(1000, np.float32), rng().standard_normal(1000, np.float32)).any()


@given(x=st.floats(-9, 9), y=st.floats(-9, 9))
def test_motion_blur_keeps_light_and_its_centre_and_has_the_width_of_an_even_motion(x: float, y: float):
    point = np.zeros((41, 41), np.float32)
    point[20, 20] = 1
    moved = blur(point, (x, y)).astype(float)
    row, column = np.mgrid[:41, :41] - 20
    assert moved.sum() == pytest.approx(1, abs=1e-4)
    assert (moved * column).sum() == pytest.approx(0, abs=1e-2)
    assert (moved * row).sum() == pytest.approx(0, abs=1e-2)
    # an even motion has variance length²/12; linear splatting adds at most 1/4 each way
    assert (moved * column**2).sum() == pytest.approx(x**2 / 12, abs=0.26)
    assert (moved * row**2).sum() == pytest.approx(y**2 / 12, abs=0.26)


def checked(width: int, height: int, period: float, k: np.ndarray, at: Camera) -> np.ndarray:
    """A plane with stripes along y, as the ideal camera `at` sees it: straight lines."""
    x = (np.arange(at.width) + 0.5 - at.k[0, 2]) / at.k[0, 0]
    return np.repeat((np.sin(x * period) * 0.5 + 0.5)[None, :, None], at.height, axis=0).repeat(3, 2).astype(np.float32)


def rendering(rgb: np.ndarray) -> Rendering:
    size = rgb.shape[:2]
    instance = np.zeros(size, np.int32)
    instance[:, size[1] // 2 :] = 1
    return Rendering(
        rgb,
        instance[None].astype(np.float32),
        instance,
        np.full(size, 100, np.float32),
        np.zeros((*size, 3), np.float32),
        np.ones(1),
    )


DISTORTIONS = [(-0.2, 0.05, 0.001, -0.002, 0.0), (0.15, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.003, 0.003, 0.0)]


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_points_land_where_opencv_projects_them(distortion: tuple):
    seen = camera(distortion=distortion)
    drawn = ideal(seen)
    world = np.array([[x, y, 100.0] for x in (-40, -10, 0, 25, 38) for y in (-30, -5, 0, 20, 29)])
    truth = cv2.projectPoints(world, np.zeros(3), np.zeros(3), seen.k, np.array(distortion, float))[0][:, 0]
    inside = ((truth > 6) & (truth < (seen.width - 6, seen.height - 6))).all(1)
    assert inside.sum() > 8
    row, column = np.mgrid[: drawn.height, : drawn.width] + 0.5
    for point, (x, y) in zip(world[inside], truth[inside], strict=True):
        at = drawn.k @ (point / point[2])
        dot = np.exp(-((column - at[0]) ** 2 + (row - at[1]) ** 2) / 8).astype(np.float32)
        image = distort(rendering(np.repeat(dot[..., None], 3, 2)), drawn, seen).rgb[..., 0].astype(float)
        r, c = np.mgrid[: seen.height, : seen.width] + 0.5
        found = (image * c).sum() / image.sum(), (image * r).sum() / image.sum()
        assert np.hypot(found[0] - x, found[1] - y) < 0.05


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_no_border_is_empty_and_labels_move_with_the_image(distortion: tuple):
    seen = camera(distortion=distortion)
    drawn = ideal(seen)
    x, y = sample_map(drawn, seen)
    assert x.min() >= 0
    assert y.min() >= 0
    assert x.max() <= drawn.width - 1
    assert y.max() <= drawn.height - 1
    truth = rendering(checked(0, 0, 60, seen.k, drawn))
    bent = distort(truth, drawn, seen)
    assert bent.rgb.shape == (seen.height, seen.width, 3)
    assert set(np.unique(bent.instance)) == {0, 1}
    assert np.array_equal(bent.coverage[0] > 0.5, bent.instance == 1)
    assert bent.rgb.min() >= truth.rgb.min()
    assert bent.rgb.max() <= truth.rgb.max()


def test_an_ideal_camera_is_left_alone_and_unequal_focal_lengths_are_made_square():
    plain = camera()
    truth = rendering(checked(0, 0, 60, plain.k, plain))
    assert ideal(plain) is plain
    assert distort(truth, plain, plain) is truth
    k = plain.k.copy()
    k[1, 1] = 140
    drawn = ideal(replace(plain, k=k))
    assert drawn.k[0, 0] == drawn.k[1, 1] == 150


def test_a_distortion_that_folds_or_explodes_is_refused():
    for distortion in ((-3.0, 0, 0, 0, 0), (-0.9, 0, 0, 0, 0), (-0.5, 0, 0, 0, 0)):
        with pytest.raises(DataError, match="distortion"):
            ideal(camera(distortion=distortion))
