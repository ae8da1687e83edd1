"""What a user can choose about rendering."""

from typing import Annotated, Literal

from pydantic import Field

from flawsmith.core.config import Settings

Variant = Literal["auto", "llvm_ad_rgb", "scalar_rgb", "cuda_ad_rgb"]


class RenderSettings(Settings):
    """How much light is traced, and what is done about the noise.

    spp:        paths per pixel
    bounces:    surfaces that a path meets before it reaches a light, beyond the first
    denoise:    Open Image Denoise with albedo and normal
    keep_flaws: round defects the denoiser is switched off and more paths are traced instead, this many times `spp`;
                1 denoises everything. Only with `denoise`
    variant:    of Mitsuba. auto: a GPU if there is one, else LLVM, else scalar
    threads:    0: as many as there are cores
    """

    spp: Annotated[int, Field(ge=1, le=65_536)] = 16
    bounces: Annotated[int, Field(ge=1, le=64)] = 6
    denoise: bool = True
    keep_flaws: Annotated[int, Field(ge=1, le=64)] = 1
    variant: Variant = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
