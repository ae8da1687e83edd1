"""What a user may ask of `train anomaly`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.model.anomaly.dcgan.settings import DcganSettings

Method = Literal["memory", "gaussian", "dcgan"]
Precision = Literal["fp32", "fp16", "int8"]


class FeatureSettings(Settings):
    """Which features describe a spot of the image.

    weights: file of the backbone's weights, where they are in no package
    stages:  of the backbone, counted from 1, whose maps are joined; None: those that were best in `benchmarks/anomaly`
    pool:    side of the square of neighbours, in cells of each map, that a spot's features are the mean of
    """

    backbone: str = "efficientnet-lite0"
    weights: Path | None = None
    hub: bool = False
    stages: tuple[int, ...] | None = Field(default=None, min_length=1)
    pool: Literal[1, 3, 5, 7] = 1


class MemorySettings(Settings):
    """Of the bank.

    rows:      spots that are kept of all healthy ones
    mirror:    learn each healthy image mirrored in both directions too: for textures, and parts that may lie so
    precision: of the rows, which are most of the model's size
    """

    rows: int = Field(default=1000, ge=1)
    mirror: bool = False
    precision: Precision = "fp32"


class GaussianSettings(Settings):
    """Of each position's Gaussian.

    directions: in which a position may vary more than the whole image does; the rest is what all positions share
    shrinkage:  share of its covariance that comes from all positions; None: falls with the number of images
    """

    directions: int = Field(default=8, ge=0, le=64)
    shrinkage: float | None = Field(default=None, gt=0, le=1)


class AnomalySettings(Settings):
    """Everything `flawsmith train anomaly` can be told.

    size:       longest side, in pixels, at which the network sees the largest training image; smaller images are
                never enlarged; None: their own
    smooth:     standard deviation of the blur of the distances, in cells of the finest map
    max_ram_mb: of the spots that are held while learning; more spots than fit are drawn evenly from all images
    """

    method: Method = "memory"
    features: FeatureSettings = FeatureSettings()
    memory: MemorySettings = MemorySettings()
    gaussian: GaussianSettings = GaussianSettings()
    dcgan: DcganSettings = DcganSettings()
    size: int | None = Field(default=512, ge=32)
    smooth: float = Field(default=0.5, ge=0, le=8)
    max_ram_mb: int = Field(default=512, ge=16)
    seed: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)
