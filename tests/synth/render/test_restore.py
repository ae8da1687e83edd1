"""What is put back after denoising: all of what was lost, and little of the noise."""

import numpy as np
import pytest

from flawsmith.synth.render.restore import restore

SIDE, NOISE = 44, 0.2
ALBEDO = np.full((SIDE, SIDE, 3), 0.5, np.float32)
UP = np.zeros((SIDE, SIDE, 3), np.float32) + np.float32([0, 0, 1])


def line(width: int = 1) -> np.ndarray:
    """Coverage of a scratch across the tile."""
    coverage = np.zeros((SIDE, SIDE), np.float32)
    rows = np.arange(6, 38)
    for shift in range(width):
        coverage[rows, rows + shift] = 0.7
    return coverage


def noisy(truth: np.ndarray, seed: int) -> np.ndarray:
    return (truth + np.random.default_rng(seed).normal(0, NOISE, truth.shape)).astype(np.float32)


def contrast(image: np.ndarray, pattern: np.ndarray) -> float:
    """Share of the pattern that the image holds, above an even grey."""
    return float(((image - 0.5) * pattern).sum() / (pattern**2).sum())


def test_a_scratch_that_was_wiped_out_comes_back_with_little_noise():
    coverage = line()
    pattern = 0.2 * coverage[..., None] * np.float32([1, 1, 0.5])
    clean = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    made = [restore(clean, noisy(clean + pattern, seed), ALBEDO, UP, coverage) for seed in range(20)]
    assert np.mean([contrast(image, pattern) for image in made]) == pytest.approx(1, abs=0.08)
    near = coverage > 0
    assert np.std(made, axis=0)[near].mean() < 0.5 * NOISE
    assert np.std(made, axis=0)[~near].mean() < 0.15 * NOISE
    assert contrast(clean, pattern) == 0  # what the denoiser had left of it


def test_a_groove_bright_on_one_side_and_dark_on_the_other_comes_back():
    coverage, normal = line(2), UP.copy()
    rows = np.arange(6, 38)
    normal[rows, rows, 0], normal[rows, rows + 1, 0] = 0.3, -0.3
    pattern = (0.5 * coverage * normal[..., 0])[..., None] * np.ones(3)
    clean = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    made = [restore(clean, noisy(clean + pattern, seed), ALBEDO, normal, coverage) for seed in range(20)]
    assert np.mean([contrast(image, pattern) for image in made]) == pytest.approx(1, abs=0.15)
    flat = [restore(clean, noisy(clean + pattern, seed), ALBEDO, UP, coverage) for seed in range(20)]
    assert np.mean([contrast(image, pattern) for image in flat]) < 0.2  # without its normals it could not be known


def test_what_was_not_lost_is_not_added_twice():
    coverage = line()
    truth = (0.5 + 0.2 * coverage[..., None] * np.ones(3)).astype(np.float32)
    made = [restore(truth, noisy(truth, seed), ALBEDO, UP, coverage) for seed in range(20)]
    assert np.abs(np.mean(made, axis=0) - truth).max() < 0.1 * NOISE * 5
    assert np.mean([contrast(image, truth - 0.5) for image in made]) == pytest.approx(1, abs=0.08)


def test_a_tile_without_a_flaw_stays_as_it_is():
    clean = np.random.default_rng(0).random((SIDE, SIDE, 3)).astype(np.float32)
    none = np.zeros((SIDE, SIDE), np.float32)
    assert restore(clean, noisy(clean, 1), ALBEDO, UP, none) is clean


def test_a_flaw_that_fills_the_tile_is_brought_to_its_traced_level():
    whole = np.ones((SIDE, SIDE), np.float32)
    clean = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    made = restore(clean, noisy(clean - 0.1, 3), ALBEDO, UP, whole)
    assert made[10:-10, 10:-10].mean() == pytest.approx(0.4, abs=0.02)
