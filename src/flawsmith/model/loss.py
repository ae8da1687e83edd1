"""Segmentation losses on logits and 0/1 targets, both (N, K, H, W): each kind is its own yes-or-no question."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy, scalar."""
    return functional.binary_cross_entropy_with_logits(logits, target)


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """1 − soft Dice over the batch, averaged over the kinds that occur in it (Milletari et al. 2016), in [0, 1].

    A kind that does not occur has nothing to overlap with: its Dice would be near 0 for the faintest score anywhere and
    drown the others, so it is left to cross-entropy (arXiv:1606.04797 has one kind, where the question does not arise).
    """
    scores = logits.sigmoid()
    axes = (0, 2, 3)
    overlap = (scores * target).sum(axes)
    total = (scores * scores).sum(axes) + (target * target).sum(axes)
    present = (target.sum(axes) > 0).to(logits.dtype)
    loss = 1 - (2 * overlap + smooth) / (total + smooth)
    return (loss * present).sum() / present.sum().clamp(min=1)


def adaptive(logits: Tensor, target: Tensor, switch: float = 0.3) -> Tensor:
    """Cross-entropy until Dice is learnable, then Dice: below a Dice loss of `switch` the Dice loss itself leads.

    The published rule of NVIDIA's DAGM U-Net. While nothing overlaps Dice has no slope to follow.
    """
    dice = dice_loss(logits, target)
    return torch.where(dice.detach() < switch, dice, cross_entropy(logits, target))


def both(logits: Tensor, target: Tensor) -> Tensor:
    """The plain sum of cross-entropy and Dice."""
    return cross_entropy(logits, target) + dice_loss(logits, target)


def classes(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits (N, K) with soft targets (N, K), a tenth of which is shared out to all classes."""
    return functional.cross_entropy(logits, target, label_smoothing=0.1)


Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {"adaptive": adaptive, "sum": both, "classes": classes}
