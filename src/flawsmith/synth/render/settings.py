"""What a user can choose about rendering."""

from typing import Annotated, Literal

from pydantic import Field

from flawsmith.core.config import Settings

Variant = Literal["auto", "llvm_ad_rgb", "scalar_rgb", "cuda_ad_rgb"]


class RenderSettings(Settings):
    """How much light is traced, and what is done about the noise.

    spp:        paths per pixel
    bounces:    surfaces that light meets at most on its way from a lamp to the camera
    denoise:    Open Image Denoise with albedo and normal
    keep_flaws: round defects up to this many times `spp` paths are traced before denoising, for at most a quarter of
                the image's own paths, and what it washes out of them is put back; 1: neither. Only with `denoise`
    denoise_flaws: share of the denoised image there. 0 switches the denoiser off round flaws and keeps all of their
                contrast, but in noisy light the noise shows where they are, and a model learns that instead
    variant:    of Mitsuba. auto: a GPU if there is one, else LLVM, else scalar
    threads:    0: as many as there are cores
    """

    spp: Annotated[int, Field(ge=1, le=65_536)] = 16
    bounces: Annotated[int, Field(ge=1, le=64)] = 6
    denoise: bool = True
    keep_flaws: Annotated[int, Field(ge=1, le=64)] = 8
    denoise_flaws: Annotated[float, Field(ge=0, le=1)] = 1.0
    variant: Variant = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
