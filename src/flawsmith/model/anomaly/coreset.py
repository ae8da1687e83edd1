"""Greedy coreset: few rows that no other row is far from (k-centre greedy, Gonzalez 1985, as PatchCore uses it)."""

import math

import torch
from torch import Tensor

PROJECTED = 32  # dimensions: distances survive a random projection (Johnson and Lindenstrauss 1984)


def coreset(rows: Tensor, count: int, seed: int = 0, chosen: Tensor | None = None, radius: float = 0.0) -> Tensor:
    """Positions of `count` rows of (n, D), each the farthest from those before it; all where there are no more.

    chosen: (m, D) rows that are kept already, so that only what they leave uncovered is chosen
    radius: ends when no row is farther than this from its nearest

    One distance to each new row keeps the smallest one known: no n x n matrix. Rows that are equal to a chosen one are
    never chosen, so fewer may come back.
    """
    generator = torch.Generator().manual_seed(seed)
    points = _projected(rows, generator) if rows.shape[1] > PROJECTED else rows
    norms = points.square().sum(1)
    if chosen is not None and len(chosen):
        generator.manual_seed(seed)
        before = _projected(chosen, generator) if rows.shape[1] > PROJECTED else chosen
        nearest = nearest_square(points, before)
    else:
        nearest = (points - points.mean(0)).square().sum(1)  # the first: the farthest from the mean
    found: list[int] = []
    taken = torch.zeros(len(rows), dtype=torch.bool)
    for _ in range(min(count, len(rows))):
        position = int(nearest.argmax())
        first = not found and chosen is None
        if not first and (taken[position] or float(nearest[position]) <= radius**2):
            break
        found.append(position)
        taken[position] = True
        apart = torch.addmv(norms, points, points[position], alpha=-2).add_(norms[position]).clamp_(min=0)
        apart[position] = 0
        nearest = apart if first else torch.minimum(nearest, apart)
    return torch.tensor(found, dtype=torch.int64)


def nearest_square(points: Tensor, bank: Tensor, at_once: int = 4096) -> Tensor:
    """(n,) squared distance of each of (n, D) to the nearest of (m, D), by matrix products of bounded size."""
    norms = bank.square().sum(1)
    parts = [
        torch.addmm(norms, part, bank.T, alpha=-2).amin(1) + part.square().sum(1) for part in points.split(at_once)
    ]
    return torch.cat(parts).clamp(min=0)


def _projected(rows: Tensor, generator: torch.Generator) -> Tensor:
    matrix = torch.randn(rows.shape[1], PROJECTED, generator=generator) / math.sqrt(PROJECTED)
    return rows @ matrix
