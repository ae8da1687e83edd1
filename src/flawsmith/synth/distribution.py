"""Numbers of a scene spec: a constant, or a distribution that is drawn once per image or once per data set.

In a file a number is written `3.5`, or as one of

    {uniform: [low, high]}            {log_uniform: [low, high]}
    {normal: [mean, sd]}              {normal: [mean, sd], within: [low, high]}      # truncated, not clipped
    {von_mises: [mean_deg, kappa]}    {choice: [a, b, c], weights: [2, 1, 1]}

each with `per: dataset` where all images share the draw. Units are in the names of the keys that hold them.
"""

import math
import zlib
from typing import Annotated, Any, Literal, TypeVar, cast

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError

Per = Literal["image", "dataset"]
Pair = tuple[float, float]


class Uniform(Settings):
    """Every value between low and high is as likely as any other."""

    uniform: Pair
    per: Per = "image"

    @model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        _ordered("uniform", self.uniform)
        return self

    @property
    def support(self) -> Pair:
        return self.uniform

    def sample(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(*self.uniform))


class LogUniform(Settings):
    """Uniform in the logarithm: each factor of ten is as likely as the next."""

    log_uniform: Pair
    per: Per = "image"

    @model_validator(mode="after")
    def _positive(self) -> "LogUniform":
        _ordered("log_uniform", self.log_uniform)
        if self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform {list(self.log_uniform)}: both ends must be above 0")
        return self

    @property
    def support(self) -> Pair:
        return self.log_uniform

    def sample(self, rng: np.random.Generator) -> float:
        low, high = self.log_uniform
        return float(np.clip(math.exp(rng.uniform(math.log(low), math.log(high))), low, high))


class Normal(Settings):
    """Mean and standard deviation; `within` truncates (draws again), so no value piles up at an end."""

    normal: Pair
    within: Pair | None = None
    per: Per = "image"

    @model_validator(mode="after")
    def _possible(self) -> "Normal":
        mean, sd = self.normal
        if sd < 0:
            raise ValueError(f"normal {list(self.normal)}: the standard deviation is negative; wanted [mean, sd]")
        if self.within is not None:
            low, high = self.within
            _ordered("within", self.within)
            if high < mean - 4 * sd or low > mean + 4 * sd:
                raise ValueError(f"within {list(self.within)} is more than 4 sd away from the mean {mean}")
        return self

    @property
    def support(self) -> Pair:
        return self.within or ((-math.inf, math.inf) if self.normal[1] else (self.normal[0], self.normal[0]))

    def sample(self, rng: np.random.Generator) -> float:
        mean, sd = self.normal
        if self.within is None or sd == 0:
            return float(rng.normal(mean, sd))
        from scipy.special import ndtr, ndtri  # scipy.stats takes over a second to import

        low, high = ((end - mean) / sd for end in self.within)
        mirrored = -1 if low > 0 else 1  # the lower tail, where probabilities keep their digits
        ends = sorted((mirrored * low, mirrored * high))
        z = mirrored * ndtri(ndtr(ends[0]) + rng.uniform() * (ndtr(ends[1]) - ndtr(ends[0])))
        return float(np.clip(mean + sd * z, *self.within))


class VonMises(Settings):
    """An angle in degrees round `mean_deg`; kappa 0 is any direction, large kappa is narrow."""

    von_mises: Pair
    per: Per = "image"

    @model_validator(mode="after")
    def _concentration(self) -> "VonMises":
        if self.von_mises[1] < 0:
            raise ValueError(f"von_mises {list(self.von_mises)}: kappa is negative; wanted [mean_deg, kappa]")
        return self

    @property
    def support(self) -> Pair:
        return -math.inf, math.inf

    def sample(self, rng: np.random.Generator) -> float:
        mean, kappa = self.von_mises
        return math.degrees(float(rng.vonmises(math.radians(mean), kappa)))


class Choice(Settings):
    """One of several values, with weights where they are not equally likely."""

    choice: tuple[Any, ...] = Field(min_length=1)
    weights: tuple[float, ...] | None = None
    per: Per = "image"

    @model_validator(mode="after")
    def _weights(self) -> "Choice":
        if self.weights is None:
            return self
        if len(self.weights) != len(self.choice):
            raise ValueError(f"{len(self.choice)} choices but {len(self.weights)} weights")
        if min(self.weights) < 0 or sum(self.weights) <= 0:
            raise ValueError(f"weights {list(self.weights)}: none may be negative, and one must be above 0")
        return self

    @property
    def support(self) -> Pair:
        numbers = [float(v) for v in self.choice]
        return min(numbers), max(numbers)

    def sample(self, rng: np.random.Generator) -> Any:
        shares = None if self.weights is None else np.asarray(self.weights) / sum(self.weights)
        return self.choice[int(rng.choice(len(self.choice), p=shares))]


class NumberChoice(Choice):
    """A choice among numbers."""

    choice: tuple[float, ...] = Field(min_length=1)


Distribution = Uniform | LogUniform | Normal | VonMises | NumberChoice
KINDS: dict[str, type[Settings]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "normal": Normal,
    "von_mises": VonMises,
    "choice": NumberChoice,
}


def _kind(value: Any) -> str | None:
    """Which of the kinds a written value is, so that an error speaks of that one alone."""
    if isinstance(value, dict):
        return next((kind for kind in KINDS if kind in value), None)
    return next((kind for kind, model in KINDS.items() if isinstance(value, model)), "constant")


Number = Annotated[
    Annotated[float, Tag("constant")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("log_uniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[VonMises, Tag("von_mises")]
    | Annotated[NumberChoice, Tag("choice")],
    Discriminator(
        _kind,
        custom_error_type="no_number",
        custom_error_message="wanted a number, or one of {uniform: [low, high]}, {log_uniform: [low, high]}, "
        "{normal: [mean, sd], within: [low, high]}, {von_mises: [mean_deg, kappa]}, {choice: [a, b]}",
    ),
]
T = TypeVar("T")


def _ordered(name: str, pair: Pair) -> None:
    if pair[0] > pair[1]:
        raise ValueError(f"{name} [{pair[0]:g}, {pair[1]:g}]: the low end is above the high one")


def support(number: Number) -> Pair:
    """The least and the greatest value that can be drawn."""
    return (number, number) if isinstance(number, int | float) else number.support


def within(low: float = -math.inf, high: float = math.inf, above: float = -math.inf) -> AfterValidator:
    """For `Annotated[Number, within(...)]`: refuses a distribution that can leave [low, high] or reach `above`."""

    def check(number: Number) -> Number:
        least, most = support(number)
        if least < low or most > high or least <= above:
            bounds = f"above {above:g}" if above > -math.inf else f"at least {low:g}"
            bounds += f" and at most {high:g}" if high < math.inf else ""
            raise ValueError(f"can be {least:g} … {most:g}, must be {bounds}; a normal needs `within: [low, high]`")
        return number

    return AfterValidator(check)


Positive = Annotated[Number, within(above=0)]
NotNegative = Annotated[Number, within(low=0)]
Share = Annotated[Number, within(low=0, high=1)]


class NoRoomError(ConfigError):
    """A draw that found no place for something; another draw may, so `generate` tries a few before it believes it."""


class Draw:
    """All draws of one image. Each name has a generator of its own, seeded by (seed, index, name) alone.

    So a value does not depend on what else is drawn or in which order: the healthy twin of a flawed image is the same
    scene, and a spec with one more defect kind keeps its cameras. `values` collects what was drawn.

    >>> draw = Draw(seed=1, index=0)
    >>> draw.number(2.5, "camera.f_number")
    2.5
    >>> 1 <= draw.number(Uniform(uniform=(1, 3)), "light.power") <= 3
    True
    """

    def __init__(self, seed: int, index: int) -> None:
        self.seed, self.index = seed, index
        self.values: dict[str, float | str] = {}

    def rng(self, name: str, per: Per = "image") -> np.random.Generator:
        """The generator for `name`; `per` "dataset" gives every image the same one."""
        place = [self.index + 1] if per == "image" else [0]
        return np.random.default_rng([self.seed, *place, zlib.crc32(name.encode())])

    def number(self, number: Number, name: str) -> float:
        """A constant as it is, or a draw; recorded under `name`."""
        value = float(number) if isinstance(number, int | float) else float(number.sample(self.rng(name, number.per)))
        self.values[name] = value
        return value

    def choice(self, options: T | Choice, name: str) -> T:
        """A constant as it is, or one of a `Choice`; recorded under `name`."""
        value = options.sample(self.rng(name, options.per)) if isinstance(options, Choice) else options
        self.values[name] = value if isinstance(value, int | float) else str(value)
        return cast(T, value)
