"""Which latent vector draws a crop best, by descent, many crops at once (Schlegl et al. 2017, arXiv:1703.05921).

"published" is the setting of the literature on surface defects, kept as reference: it moves little. The better ones
search w with z = tanh(w): z stays where the generator has been trained.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flawsmith.model.anomaly.dcgan.nets import Nets, draw
from flawsmith.model.anomaly.dcgan.settings import SearchSettings

MOMENTUM, RATE, STEPS = 0.8, 1e-4, 500  # as published
BETTER = {"adam": (100, 0.05), "lbfgs": (20, 1.0)}  # steps, rate
_INSIDE = 0.999  # of a start: tanh never is 1


@dataclass(frozen=True, eq=False)
class Found:
    """Of N crops.

    z:        (N, 100)
    image:    the re-creation (N, C, side, side) in [-1, 1]
    residual: (N, side, side) mean over the channels of |crop - re-creation|, in 0 … 2
    loss:     (N,) sum of |crop - re-creation|
    """

    z: Tensor
    image: Tensor
    residual: Tensor
    loss: Tensor


def search(nets: Nets, crops: Tensor, settings: SearchSettings, truncated: bool = False, seed: int = 0) -> Found:
    """Of crops (N, C, side, side) in [-1, 1]; nets in eval mode, whose weights have no gradients.

    truncated: random starts are drawn so; seed: of them
    """
    if settings.mode == "encoder":
        return recreated(nets, crops, nets.encoder(crops))
    best: Found | None = None
    random = torch.Generator(crops.device).manual_seed(seed)
    target = nets.discriminator.trunk(crops) if settings.feature_weight else None
    for number in range(settings.starts):
        first = settings.start == "encoder" and number == 0
        start = nets.encoder(crops) if first else draw(len(crops), truncated, random)
        found = recreated(nets, crops, descended(nets, crops, start, settings, target))
        best = found if best is None else _better(best, found)
    assert best is not None
    return best


def descended(nets: Nets, crops: Tensor, start: Tensor, settings: SearchSettings, target: Tensor | None) -> Tensor:
    """z after the steps from `start` (N, 100). target: the discriminator's features of the crops where they count"""

    def loss_of(z: Tensor) -> Tensor:
        image = nets.generator(z)
        pixels = (image - crops).abs().sum()
        if target is None:
            return pixels
        unlike = (nets.discriminator.trunk(image) - target).abs().sum()
        return (1 - settings.feature_weight) * pixels + settings.feature_weight * unlike

    with torch.enable_grad():
        if settings.mode == "published":
            return _published(start, loss_of)
        w = torch.atanh(start.detach() * _INSIDE).requires_grad_()
        steps, rate = BETTER[settings.mode]
        _descend(w, lambda: loss_of(torch.tanh(w)), settings, settings.steps or steps, settings.rate or rate)
        return torch.tanh(w.detach())


def _published(start: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    z = start.detach().clone().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=RATE, momentum=MOMENTUM)
    for _ in range(STEPS):
        _step(optimizer, lambda: loss_of(z))
    return z.detach()


def _descend(w: Tensor, loss: Callable[[], Tensor], settings: SearchSettings, steps: int, rate: float) -> None:
    if settings.mode == "adam":
        adam = torch.optim.Adam([w], rate)
        for number in range(steps):
            adam.param_groups[0]["lr"] = rate * (1 - number / steps)
            _step(adam, loss)
        return
    # one descent for all crops: their losses do not touch each other, so only the step length is shared
    lbfgs = torch.optim.LBFGS([w], rate, max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> float:
        lbfgs.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        return float(value.detach())

    lbfgs.step(closure)


def _step(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss().backward()
    optimizer.step()


def recreated(nets: Nets, crops: Tensor, z: Tensor) -> Found:
    """What z draws, and how far it is from the crops."""
    image = nets.generator(z)
    apart = (crops - image).abs()
    return Found(z, image, apart.mean(1), apart.flatten(1).sum(1))


def _better(a: Found, b: Found) -> Found:
    """Of each crop the one with the lower loss."""
    wins = b.loss < a.loss

    def pick(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(wins.reshape(-1, *[1] * (x.ndim - 1)), y, x)

    return Found(pick(a.z, b.z), pick(a.image, b.image), pick(a.residual, b.residual), pick(a.loss, b.loss))
