"""`memory`: a bank of healthy spots; what is far from the nearest of them is not healthy.

PatchCore (Roth et al. 2022, arXiv:2106.08265). Every row knows the image it came from, so that images can be added and
taken away later without learning anew.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.core.errors import DataError
from flawsmith.model.anomaly.coreset import coreset, nearest_square
from flawsmith.model.anomaly.learn import Held
from flawsmith.model.anomaly.settings import AnomalySettings, Precision

_AT_ONCE = 1024  # rows that are compared at a time: bounds the memory of the graph


class MemoryBank(nn.Module):
    """bank: (M, D) whitened spots; owners: int64 (M,) the fingerprint of the image that each is of."""

    def __init__(self, bank: Tensor, owners: Tensor) -> None:
        super().__init__()
        self.bank, self.owners = nn.Buffer(bank), nn.Buffer(owners)
        # constants of the graph: what quantises it wants weights, not what weights are computed from
        self.twice = nn.Buffer(-2 * bank[:, :, None, None], persistent=False)
        self.norms = nn.Buffer(bank.square().sum(1), persistent=False)

    def __len__(self) -> int:
        return len(self.bank)

    def forward(self, spots: Tensor) -> Tensor:
        """Exact distance to the nearest row: |x|² + min(|b|² - 2 x·b), a product of matrices."""
        nearest = None
        for start in range(0, len(self.bank), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            apart = functional.conv2d(spots, self.twice[part], self.norms[part])
            least = apart.amin(1, keepdim=True)
            nearest = least if nearest is None else torch.minimum(nearest, least)
        assert nearest is not None
        return (nearest + spots.square().sum(1, keepdim=True)).clamp(min=0).sqrt()

    def without(self, images: Tensor) -> "MemoryBank":
        """Without the rows of these images, given by fingerprint. Raises `DataError` when nothing would be left."""
        keep = ~torch.isin(self.owners, images)
        if not keep.any():
            raise DataError("no row of the bank would be left: train anew on other healthy images")
        return MemoryBank(self.bank[keep], self.owners[keep])

    def joined(self, spots: Tensor, owners: Tensor, seed: int = 0) -> "MemoryBank":
        """With the spots (n, D) that the bank does not cover as closely as it covers itself."""
        picked = coreset(spots, len(spots), seed, self.bank, spacing(self.bank))
        return MemoryBank(torch.cat([self.bank, spots[picked]]), torch.cat([self.owners, owners[picked]]))


def learn_memory(held: Held, groups: np.ndarray, settings: AnomalySettings) -> tuple[MemoryBank, np.ndarray]:
    """The bank, and how far each image's farthest spot is from the rows of other groups. groups: int (N,) of images."""
    picked = coreset(held.spots, settings.memory.rows, settings.seed)
    bank = rounded(held.spots[picked], settings.memory.precision)
    owners = held.owners[picked]
    return MemoryBank(bank, owners), _apart(held, bank, torch.from_numpy(groups)[owners], groups)


def _apart(held: Held, bank: Tensor, of: Tensor, groups: np.ndarray) -> np.ndarray:
    """of: the group of each row of the bank. Images without rows of another group to compare with are left out."""
    found = []
    for group in np.unique(groups):
        others = bank[of != int(group)]
        for row in np.flatnonzero(groups == group) if len(others) else ():
            found.append(float(nearest_square(held.spots[held.owners == int(row)], others).max().sqrt()))
    return np.array(found)


def load_memory(tensors: Mapping[str, Tensor]) -> MemoryBank:
    """From the state of another one, packed or not."""
    bank = tensors["bank"].float()
    return MemoryBank(bank * tensors["steps"] if "steps" in tensors else bank, tensors["owners"])


def packed(bank: MemoryBank, precision: Precision) -> dict[str, Tensor]:
    """Its state in as few bytes as its precision needs; `load_memory` gives the same numbers back."""
    if precision == "int8":
        numbers, steps = to_int8(bank.bank)
        return {"bank": numbers, "steps": steps, "owners": bank.owners}
    return {"bank": bank.bank.half() if precision == "fp16" else bank.bank, "owners": bank.owners}


def spacing(bank: Tensor) -> float:
    """How far rows lie from their nearest other row, the median."""
    if len(bank) < 2:
        return 0.0
    squares = torch.cdist(bank, bank)
    squares.fill_diagonal_(float("inf"))
    return float(squares.amin(1).median())


def rounded(bank: Tensor, precision: Precision) -> Tensor:
    """The bank as it is after storing it with fewer bits; int8 has one step for each dimension."""
    if precision == "fp32":
        return bank
    if precision == "fp16":
        return bank.half().float()
    numbers, steps = to_int8(bank)
    return numbers.float() * steps


def to_int8(bank: Tensor) -> tuple[Tensor, Tensor]:
    """int8 (M, D) and the step of each dimension (D,)."""
    steps = (bank.abs().amax(0) / 127).clamp(min=1e-12)
    return (bank / steps).round().clamp(-127, 127).to(torch.int8), steps
