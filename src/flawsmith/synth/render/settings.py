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
    keep_flaws: round defects this many times `spp` paths are traced before denoising, which else washes faint scratches
                out; 1 treats them as the rest. Only with `denoise`
    denoise_flaws: False leaves the surroundings of defects as they were traced: all contrast is kept, but their noise
                shows where the defects are
    variant:    of Mitsuba. auto: a GPU if there is one, else LLVM, else scalar
    threads:    0: as many as there are cores
    """

    spp: Annotated[int, Field(ge=1, le=65_536)] = 16
    bounces: Annotated[int, Field(ge=1, le=64)] = 6
    denoise: bool = True
    keep_flaws: Annotated[int, Field(ge=1, le=64)] = 8
    denoise_flaws: bool = True
    variant: Variant = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
