"""The generator and the discriminator against each other, step by step, going on after any kill."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from flawsmith.core.errors import ConfigError, GateError
from flawsmith.core.files import write_atomic
from flawsmith.core.image import encode_png
from flawsmith.model.anomaly.dcgan.crops import HealthyCrops
from flawsmith.model.anomaly.dcgan.look import Looks, grid
from flawsmith.model.anomaly.dcgan.nets import Discriminator, Generator, Nets, draw
from flawsmith.model.anomaly.dcgan.settings import DcganSettings
from flawsmith.model.checkpoint import (
    load_tensors,
    named,
    optimizer_tensors,
    restore_optimizer,
    save_tensors,
    under,
)
from flawsmith.model.train import CHECKPOINT, Logs, State

BETAS = (0.5, 0.999)
PLAIN_RATE = 0.01  # of the weaker optimiser
_LOOKED_AT = 256  # crops that are measured
_SHOWN = 64
_APART = 1_000_003


def train_gan(
    nets: Nets,
    crops: HealthyCrops,
    settings: DcganSettings,
    identity: dict[str, Any] | None = None,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
    looks: Looks | None = None,
) -> State:
    """Fit generator and discriminator in place; the history has losses and, with `looks`, the measures of quality.

    identity: JSON that must be equal for a checkpoint in `settings.work` to be gone on from
    on_step:  told the step and the losses

    Raises `ConfigError` when the checkpoint there belongs to another run, `GateError` when a loss stops being a number.
    """
    duel = Duel(nets, crops, settings)
    state, path = State(), settings.work / CHECKPOINT if settings.work else None
    if path and path.exists():
        state = duel.restored(path, identity or {})
    log = Logs(settings.work)
    while state.step < settings.steps:
        losses = duel.advance(state.step)
        state.step += 1
        if state.step % settings.look_every == 0 or state.step == settings.steps:
            state.history.append({"step": state.step, **losses, **(looks(duel.drawn(_LOOKED_AT)) if looks else {})})
            log(state)
            if path:
                duel.save(path, state, identity or {})
                write_atomic(path.parent / "samples" / f"{state.step:06}.png", encode_png(grid(duel.drawn(_SHOWN))))
        on_step(state.step, losses)
    nets.eval()
    return state


class Duel:
    """Both networks and their optimisers; `advance` hangs on the step and the weights alone."""

    def __init__(self, nets: Nets, crops: HealthyCrops, settings: DcganSettings) -> None:
        self.g, self.d, self.crops, self.settings = nets.generator, nets.discriminator, crops, settings
        self.device = next(nets.parameters()).device
        self.g_optimizer = torch.optim.Adam(self.g.parameters(), settings.rate, BETAS)
        self.d_optimizer: torch.optim.Optimizer = torch.optim.Adam(self.d.parameters(), settings.rate, BETAS)
        if settings.stabilisers.discriminator_sgd:
            self.d_optimizer = torch.optim.SGD(self.d.parameters(), PLAIN_RATE)

    def advance(self, step: int) -> dict[str, float]:
        """One step of the discriminator and its generator steps. Losses, and the share of fakes taken for real."""
        chosen, count = self.settings.stabilisers, self.settings.batch
        random = torch.Generator(self.device).manual_seed(self._seed(step))
        self.g.train()
        self.d.train()
        real = self._noisy(self.crops.batch(step, count).to(self.device), step, random)
        with torch.no_grad():
            fake = self._noisy(self.g(draw(count, chosen.truncated, random)), step, random)
        loss_d, success = self._discriminator(real, fake, random)
        loss_g = torch.zeros(())
        self.d.requires_grad_(False)
        for _ in range(chosen.generator_steps):
            loss_g = self._generator(count, step, random)
        self.d.requires_grad_(True)
        losses = {"discriminator": float(loss_d.detach()), "generator": float(loss_g.detach()), "success": success}
        if not all(map(torch.isfinite, (loss_d, loss_g))):
            raise GateError(
                f"the losses are {losses} at step {step}: lower dcgan.rate, or try stabilisers.spectral or r1"
            )
        return losses

    def _seed(self, step: int) -> int:
        return self.crops.seed * _APART + step

    def _discriminator(self, real: Tensor, fake: Tensor, random: torch.Generator) -> tuple[Tensor, float]:
        chosen = self.settings.stabilisers
        real.requires_grad_(chosen.r1 > 0)
        on_real, on_fake = self.d(real), self.d(fake)
        targets = _labels(on_real, True, chosen.soft, chosen.flipped, random)
        wrong = functional.binary_cross_entropy_with_logits
        loss = wrong(on_real, targets) + wrong(on_fake, _labels(on_fake, False, 0.0, chosen.flipped, random))
        if chosen.r1:
            loss = loss + chosen.r1 / 2 * _steepness(on_real, real)
        success = float((on_fake.detach() > 0).float().mean())
        if success >= chosen.gate:
            self.d_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.d_optimizer.step()
        return loss, success

    def _generator(self, count: int, step: int, random: torch.Generator) -> Tensor:
        fake = self._noisy(self.g(draw(count, self.settings.stabilisers.truncated, random)), step, random)
        loss = functional.softplus(-self.d(fake)).mean()  # that it is taken for real: the loss that does not saturate
        self.g_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.g_optimizer.step()
        return loss

    def _noisy(self, x: Tensor, step: int, random: torch.Generator) -> Tensor:
        sigma = noise_at(step, self.settings)
        return x + sigma * torch.randn(x.shape, generator=random, device=x.device) if sigma else x

    @torch.no_grad()
    def drawn(self, count: int) -> Tensor:
        """The same latent vectors each time, as crops."""
        self.g.eval()
        random = torch.Generator(self.device).manual_seed(0)
        parts = draw(count, self.settings.stabilisers.truncated, random).split(_SHOWN)
        return torch.cat([self.g(z) for z in parts])

    def save(self, path: Path, state: State, identity: dict[str, Any]) -> None:
        tensors: dict[str, Tensor] = {}
        for name, net, optimizer in self._both():
            tensors |= named(name, net.state_dict()) | named(f"{name}_optimizer", optimizer_tensors(optimizer, net))
        save_tensors(path, tensors, {"state": asdict(state), "identity": identity})

    def restored(self, path: Path, identity: dict[str, Any]) -> State:
        tensors, meta = load_tensors(path)
        if meta.get("identity") != identity:
            raise ConfigError(f"{path} belongs to other settings or data: use those, or choose another dcgan.work")
        for name, net, optimizer in self._both():
            net.load_state_dict(under(name, tensors))
            restore_optimizer(optimizer, net, under(f"{name}_optimizer", tensors))
        return State(**meta["state"])

    def _both(self) -> tuple[tuple[str, Generator | Discriminator, torch.optim.Optimizer], ...]:
        return ("generator", self.g, self.g_optimizer), ("discriminator", self.d, self.d_optimizer)


def noise_at(step: int, settings: DcganSettings) -> float:
    """Standard deviation of the noise on what the discriminator sees: falls evenly to 0."""
    chosen = settings.stabilisers
    return chosen.noise * max(1 - step / (chosen.noise_until * settings.steps), 0.0)


def _labels(like: Tensor, real: bool, soft: float, flipped: float, random: torch.Generator) -> Tensor:
    """Targets (N,): 1 for real, softened, and 0 for fake, some of them turned round."""
    labels = torch.full_like(like, float(real), requires_grad=False)
    if soft:
        labels = labels - soft * torch.rand(like.shape, generator=random, device=like.device)
    if flipped:
        turned = torch.rand(like.shape, generator=random, device=like.device) < flipped
        labels = torch.where(turned, 1 - labels, labels)
    return labels


def _steepness(logits: Tensor, x: Tensor) -> Tensor:
    """Mean of |d logit / d crop|² (Mescheder et al. 2018, arXiv:1801.04406)."""
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()
