"""The encoder: after the generator has learnt to draw, which latent vector draws this crop, in one pass.

The izi training of f-AnoGAN (Schlegl et al. 2019, doi:10.1016/j.media.2019.01.010): crop → z → crop, by the mean square
of pixels and, with the same weight, of the discriminator's features. Generator and discriminator stay as they are.
"""

from collections.abc import Callable

import torch

from flawsmith.model.anomaly.dcgan.crops import HealthyCrops
from flawsmith.model.anomaly.dcgan.nets import Nets
from flawsmith.model.anomaly.dcgan.settings import DcganSettings

_AFTER = 1_000_000_000  # steps of the generator that crops are not shared with


def train_encoder(
    nets: Nets,
    crops: HealthyCrops,
    settings: DcganSettings,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
) -> None:
    """Fit the encoder in place; ends with all networks in eval mode. on_step: told the step and the loss"""
    nets.eval()
    nets.generator.requires_grad_(False)
    nets.discriminator.requires_grad_(False)
    encoder, device = nets.encoder.train(), next(nets.parameters()).device
    optimizer = torch.optim.Adam(encoder.parameters(), settings.encoder_rate, (0.5, 0.999))
    for step in range(settings.encoder_steps):
        _fall(optimizer, settings.encoder_rate * (1 - step / settings.encoder_steps))
        real = crops.batch(_AFTER + step, settings.batch).to(device)
        found = nets.generator(encoder(real))
        pixels = (found - real).square().mean()
        trunk = nets.discriminator.trunk
        loss = pixels + (trunk(found) - trunk(real)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        on_step(step + 1, {"encoder": float(loss.detach())})
    nets.eval().requires_grad_(False)


def _fall(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
