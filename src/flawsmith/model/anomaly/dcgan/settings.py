"""What a user may ask of `train anomaly --method dcgan`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from flawsmith.core.config import Settings

LATENT = 100  # Radford et al. 2016


class Stabilisers(Settings):
    """What is known to keep the two networks in balance; `benchmarks/anomaly/dcgan.py` measures each.

    resize:            enlarge by resizing, then convolve, in place of transposed convolution (Odena et al. 2016)
    truncated:         draw z from a normal of σ 0.6 cut off at ±1, in place of evenly from -1 to 1
    generator_steps:   for each step of the discriminator
    gate:              the discriminator learns only while at least this share of fakes passes for real; 0: always
    discriminator_sgd: it learns by plain gradient descent, a weaker optimiser than Adam
    flipped:           share of the discriminator's labels that are wrong on purpose
    soft:              real is labelled evenly between 1 - soft and 1
    noise:             standard deviation, pixels being -1 to 1, of what is added to real and fake; falls to 0
    noise_until:       share of the steps after which it is 0
    spectral:          spectral norm of the discriminator (Miyato et al. 2018), which then has no batch norm
    r1:                weight of the gradient penalty on real crops (Mescheder et al. 2018); without batch norm too
    """

    resize: bool = False
    truncated: bool = False
    generator_steps: int = Field(default=1, ge=1, le=10)
    gate: float = Field(default=0.0, ge=0, lt=1)
    discriminator_sgd: bool = False
    flipped: float = Field(default=0.0, ge=0, le=0.5)
    soft: float = Field(default=0.0, ge=0, le=0.5)
    noise: float = Field(default=0.0, ge=0, le=1)
    noise_until: float = Field(default=0.5, gt=0, le=1)
    spectral: bool = False
    r1: float = Field(default=0.0, ge=0)


class SearchSettings(Settings):
    """How the latent vector of a crop is found.

    mode:           encoder: in one pass, the only one that an exported network can do; published: 500 steps of
                    momentum 0.8 at rate 1e-4 from one random z; adam, lbfgs: better descents
    steps, rate:    of adam and lbfgs; None: 100 at 0.05, or 20 at 1
    starts:         of which the best is kept; the first is the encoder's with `start` encoder, the others are random
    feature_weight: of the discriminator's features beside the L1 of pixels (AnoGAN, Schlegl et al. 2017, took 0.1)
    """

    mode: Literal["encoder", "published", "adam", "lbfgs"] = "encoder"
    steps: int | None = Field(default=None, ge=1)
    rate: float | None = Field(default=None, gt=0)
    starts: int = Field(default=1, ge=1, le=64)
    start: Literal["random", "encoder"] = "random"
    feature_weight: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _published_is_as_published(self) -> "SearchSettings":
        fields = type(self).model_fields.items()
        changed = [name for name, field in fields if name != "mode" and getattr(self, name) != field.default]
        if self.mode in ("encoder", "published") and changed:
            raise ValueError(
                f"mode {self.mode} has no {', '.join(changed)} to set: leave that out, or take adam or lbfgs"
            )
        return self


class DcganSettings(Settings):
    """Of the generator, the discriminator and the encoder.

    side:          of the crops in pixels, a power of two
    filters:       of the generator's levels from the coarsest (4 x 4); published: [1024, 512, 256, 128]. Levels beyond
                   have half of the one before. The default is small enough for a processor
    steps, batch:  of the discriminator's training; rate: of Adam for both, β 0.5 and 0.999
    turned:        crops are mirrored and turned by quarters: for textures without direction
    encoder_steps: of the encoder, after the generator; encoder_rate: of its Adam
    smooth_px:     standard deviation of the blur of the residual
    look_every:    steps between two looks: losses to the log, a grid of samples, the measures of quality, a checkpoint
    work:          folder for those; training goes on from a checkpoint there. None keeps nothing
    """

    side: int = 64
    filters: tuple[int, ...] = Field(default=(128, 64, 32, 16), min_length=1)
    steps: int = Field(default=600, ge=1)
    batch: int = Field(default=32, ge=2)
    rate: float = Field(default=2e-4, gt=0)
    turned: bool = False
    stabilisers: Stabilisers = Stabilisers()
    encoder_steps: int = Field(default=300, ge=1)
    encoder_rate: float = Field(default=1e-3, gt=0)
    search: SearchSettings = SearchSettings()
    smooth_px: float = Field(default=6.0, ge=0, le=64)
    look_every: int = Field(default=200, ge=1)
    work: Path | None = Field(default=None, exclude=True)  # a path of this machine is no part of a model

    @field_validator("side")
    @classmethod
    def _power_of_two(cls, side: int) -> int:
        if side not in (64, 128, 256, 512):
            raise ValueError("the side of a crop is 64, 128, 256 or 512 pixels")
        return side

    @model_validator(mode="after")
    def _levels(self) -> "DcganSettings":
        if len(self.filters) > levels(self.side) or min(self.filters) < 1:
            raise ValueError(f"{self.side} px are {levels(self.side)} levels of at least 1 filter: leave some out")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of every level, from the coarsest."""
        found = list(self.filters)
        while len(found) < levels(self.side):
            found.append(max(found[-1] // 2, 1))
        return tuple(found)


def levels(side: int) -> int:
    """Enlargements by 2 from 4 x 4 to the side."""
    return side.bit_length() - 3
