"""Losses against plain loops."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from flawsmith.model.loss import LOSSES, adaptive, both, classes, cross_entropy, dice_loss


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal((2, 3, 8, 8))), torch.from_numpy((rng.random((2, 3, 8, 8)) < 0.2) * 1.0)


def test_cross_entropy_is_the_mean_over_all_pixels(case: tuple) -> None:
    logits, target = case
    p = 1 / (1 + np.exp(-logits.numpy()))
    t = target.numpy()
    wanted = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    assert math.isclose(float(cross_entropy(logits, target)), wanted, rel_tol=1e-9)


def test_dice_is_taken_per_kind_over_the_batch(case: tuple) -> None:
    logits, target = case
    p, t = 1 / (1 + np.exp(-logits.numpy())), target.numpy()
    kinds = [(2 * (p[:, k] * t[:, k]).sum() + 1) / ((p[:, k] ** 2).sum() + (t[:, k] ** 2).sum() + 1) for k in range(3)]
    assert math.isclose(float(dice_loss(logits, target)), 1 - np.mean(kinds), rel_tol=1e-9)


def test_a_kind_that_does_not_occur_is_left_to_cross_entropy(case: tuple) -> None:
    logits, target = case
    target = target.clone()
    target[:, 1] = 0
    others = dice_loss(logits[:, [0, 2]], target[:, [0, 2]])
    assert float(dice_loss(logits, target)) == pytest.approx(float(others))
    assert float(cross_entropy(logits[:, [0, 2]], target[:, [0, 2]])) != pytest.approx(
        float(cross_entropy(logits, target))
    )


def test_perfect_scores_lose_nothing_and_empty_targets_are_no_division_by_zero() -> None:
    target = torch.zeros(1, 1, 4, 4)
    assert float(dice_loss(torch.full_like(target, -40.0), target)) == pytest.approx(0, abs=1e-6)
    target[0, 0, 1, 1] = 1
    assert float(both(torch.where(target > 0, 40.0, -40.0), target)) == pytest.approx(0, abs=1e-6)


def test_adaptive_switches_from_cross_entropy_to_dice_at_the_published_point() -> None:
    target = torch.zeros(1, 1, 16, 16)
    target[..., 4:12, 4:12] = 1
    far = torch.zeros_like(target)
    near = torch.where(target > 0, 4.0, -4.0)
    assert float(dice_loss(far, target)) > 0.3
    assert float(adaptive(far, target)) == float(cross_entropy(far, target))
    assert float(dice_loss(near, target)) < 0.3
    assert float(adaptive(near, target)) == float(dice_loss(near, target))


def test_soft_labels_of_classes_are_followed_to_their_shares() -> None:
    target = torch.tensor([[0.7, 0.3, 0.0]])
    logits = torch.zeros_like(target).requires_grad_()
    optimizer = torch.optim.Adam([logits], 0.1)
    for _ in range(500):
        optimizer.zero_grad()
        classes(logits, target).backward()
        optimizer.step()
    found = torch.softmax(logits.detach(), dim=1)
    assert torch.allclose(found, 0.9 * target + 0.1 / 3, atol=0.01)


@pytest.mark.parametrize("name", ["adaptive", "sum"])
def test_following_the_loss_finds_the_mask(name: str) -> None:
    target = torch.zeros(1, 1, 16, 16)
    target[..., 3:9, 5:12] = 1
    logits = torch.full_like(target, -2.0).requires_grad_()
    optimizer = torch.optim.Adam([logits], 0.3)
    for _ in range(80):
        optimizer.zero_grad()
        LOSSES[name](logits, target).backward()
        optimizer.step()
    assert torch.equal(functional.sigmoid(logits.detach()) > 0.5, target > 0)
