"""Materials of parts and stages: finishes made by us and PBR image sets, each drawn within its limits."""

from typing import Annotated

from pydantic import Field

from flawsmith.synth.material.coated import Glass, Painted, Plastic, Rubber
from flawsmith.synth.material.finish import COLORS, Finish, Textures
from flawsmith.synth.material.ground import Concrete, Paper, RubberBelt, WovenBelt
from flawsmith.synth.material.image_set import ImageSet, read_set
from flawsmith.synth.material.metal import (
    Anodised,
    Brushed,
    Cast,
    Ground,
    Machined,
    Rusty,
    SandBlasted,
    ZincPlated,
)
from flawsmith.synth.material.textured import laid, named

FINISHES: dict[str, type[Finish]] = {
    "brushed": Brushed,
    "machined": Machined,
    "ground": Ground,
    "cast": Cast,
    "sand_blasted": SandBlasted,
    "zinc_plated": ZincPlated,
    "rusty": Rusty,
    "anodised": Anodised,
    "painted": Painted,
    "plastic": Plastic,
    "rubber": Rubber,
    "glass": Glass,
    "woven_belt": WovenBelt,
    "rubber_belt": RubberBelt,
    "concrete": Concrete,
    "paper": Paper,
    "pbr": ImageSet,
}

MaterialSpec = Annotated[
    Brushed
    | Machined
    | Ground
    | Cast
    | SandBlasted
    | ZincPlated
    | Rusty
    | Anodised
    | Painted
    | Plastic
    | Rubber
    | Glass
    | WovenBelt
    | RubberBelt
    | Concrete
    | Paper
    | ImageSet,
    Field(discriminator="finish"),
]

__all__ = ["COLORS", "FINISHES", "Finish", "ImageSet", "MaterialSpec", "Textures", "laid", "named", "read_set"]
