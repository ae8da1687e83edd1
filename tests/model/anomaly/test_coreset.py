"""The greedy coreset against the plain algorithm, and the distances against SciPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from flawsmith.model.anomaly.coreset import coreset, nearest_square


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def plain(points: np.ndarray, count: int) -> list[int]:
    found = [int(np.square(points - points.mean(0)).sum(1).argmax())]
    while len(found) < count:
        found.append(int(cdist(points, points[found]).min(1).argmax()))
    return found


def test_it_is_the_plain_greedy_choice():
    points = rows(200, 8)
    assert coreset(points, 25).tolist() == plain(points.numpy().astype(np.float64), 25)


def test_it_covers_far_better_than_chance():
    points = torch.cat([rows(900, 64), rows(20, 64, 1) + 30])  # a rare cluster
    picked = coreset(points, 40)
    chance = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:40]
    assert (picked >= 900).any()
    covered, by_chance = (float(nearest_square(points, points[p]).max()) for p in (picked, chance))
    assert covered < 0.8 * by_chance


def test_equal_rows_are_chosen_once():
    assert len(coreset(torch.ones(50, 40), 10)) == 1
    assert len(coreset(torch.eye(3).repeat(5, 1), 10)) == 3


def test_more_than_there_are_gives_all():
    assert sorted(coreset(rows(7, 3), 100).tolist()) == list(range(7))


@pytest.mark.parametrize("dim", [3, 50])
def test_only_what_chosen_rows_leave_uncovered(dim):
    known = rows(100, dim)
    far = rows(5, dim, 1) + 50
    assert sorted(coreset(torch.cat([known, far]), 20, chosen=known, radius=0.5).tolist()) == list(range(100, 105))
    assert len(coreset(known, 20, chosen=known, radius=0.5)) == 0


def test_distances_are_those_of_scipy_and_do_not_depend_on_the_pieces():
    a, b = rows(500, 20), rows(30, 20, 2)
    wanted = cdist(a.numpy(), b.numpy()).min(1) ** 2
    np.testing.assert_allclose(nearest_square(a, b).numpy(), wanted, rtol=1e-4)
    np.testing.assert_allclose(nearest_square(a, b, 7).numpy(), wanted, rtol=1e-4)
